//! What is collected, by whom, and what the lock table gives back.

use super::*;

/// Processes an offer of `peer`.
fn process(gate: &Arc<Gate>, peer: &str) {
    let offer = Offer::new(peer, Fingerprint::exact(b"f"));
    let Verdict::Admitted(claim) = gate.admit(offer, treatment(Duplicates::Refuse)) else {
        panic!("the peer is free")
    };
    claim.complete(gate::Result::Success, None);
}

#[test]
fn what_is_past_its_window_is_collected_without_a_call_or_a_runtime() {
    let gate = Arc::new(Gate::new(Settings {
        window: Duration::from_millis(10),
        cooldown: Duration::from_millis(10),
        ..gate(WhenBusy::Refuse).settings
    }));
    for peer in ["p", "q"] {
        process(&gate, peer);
        assert_eq!(gate.stats().memories, 1);
        let start = std::time::Instant::now();
        while gate.is_collecting.load(Relaxed) {
            assert!(start.elapsed() < 60 * SECOND, "somebody collects");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(gate.stats().memories, 0);
        assert!(gate.shards.iter().all(|shard| shard.with(|peers| peers.is_empty())));
    }
}

#[test]
fn the_more_comes_the_sooner_it_is_collected() {
    let [second, millis] = [SECOND, Duration::from_millis(1)];
    for (time, new, expected) in [
        (second, 0, 50),
        (second, 320, 50),
        (second, 1600, 20),
        (second, 3200, 10),
        (second, 320_000, 1),
        (10 * millis, 64, 5),
        (second, Number::MAX, 1),
        (Duration::MAX, 1, 50),
    ] {
        assert_eq!(collect::until_more(time, new), expected * millis, "{new} in {time:?}");
    }
}

#[test]
fn what_comes_while_collecting_ends_is_collected() {
    for (window, cooldown) in [(SECOND, Duration::ZERO), (Duration::ZERO, SECOND)] {
        let gate = Arc::new(Gate::new(Settings {
            window,
            cooldown,
            ..gate(WhenBusy::Refuse).settings
        }));
        gate.is_collecting.store(true, Relaxed);
        assert!(gate.stop_collecting() && !gate.is_collecting.load(Relaxed));
        gate.is_collecting.store(true, Relaxed);
        process(&gate, "p");
        assert!(!gate.stop_collecting() && gate.is_collecting.load(Relaxed));
    }
}

#[test]
fn after_a_collector_that_panics_there_is_another() {
    let gate = gate(WhenBusy::Refuse);
    gate.is_collecting.store(true, Relaxed);
    let collector = collect::Collector(Arc::downgrade(&gate));
    let panics = std::thread::spawn(move || {
        let _collector = collector;
        panic!("an answer panics");
    });
    assert!(panics.join().is_err() && !gate.is_collecting.load(Relaxed));
}

#[tokio::test(start_paused = true)]
async fn after_a_crowd_its_memory_is_given_back() {
    let gate = gate(WhenBusy::Refuse);
    let room = |gate: &Gate| {
        let capacities = gate.shards.iter();
        let capacities =
            capacities.map(|shard| shard.with(|peers| (peers.entries.capacity(), peers.cooling.capacity())));
        capacities.collect::<Vec<_>>()
    };
    let peers: Vec<_> = (0..40_000).map(|n| n.to_string()).collect();
    peers.iter().for_each(|peer| process(&gate, peer));
    let is_roomy = |gate: &Gate| {
        room(gate)
            .iter()
            .all(|(entries, cooling)| *entries > 200 && *cooling > 200)
    };
    assert!(is_roomy(&gate));
    gate.forget(peers[0].as_str().into());
    assert!(is_roomy(&gate), "one that goes is no reason");
    advance(SECOND).await;
    gate.collect();
    assert!(
        room(&gate)
            .iter()
            .all(|(entries, cooling)| *entries <= 64 && *cooling <= 64)
    );
}

#[test]
fn without_a_cooldown_nobody_cools() {
    let gate = Arc::new(Gate::new(Settings {
        cooldown: Duration::ZERO,
        ..gate(WhenBusy::Refuse).settings
    }));
    process(&gate, "p");
    gate.shard("p".into())
        .with(|peers| assert!(peers.is_empty() && peers.cooling.is_empty()));
}

#[test]
fn forgotten_peers_do_not_add_up_however_long_they_would_have_cooled() {
    for window in [Duration::ZERO, Duration::MAX] {
        let gate = Arc::new(Gate::new(Settings {
            window,
            cooldown: Duration::MAX,
            ..gate(WhenBusy::Refuse).settings
        }));
        let cooling = || gate.shard("p".into()).with(|peers| peers.cooling.len());
        for _ in 0..1000 {
            process(&gate, "p");
            assert!(gate.forget("p".into()));
        }
        assert!(cooling() < 100, "{}", cooling());
        process(&gate, "p");
        for _ in 0..1000 {
            gate.forget("q".into());
        }
        assert!(cooling() > 0, "who cools is kept");
    }
}

#[tokio::test(start_paused = true)]
async fn while_time_is_paused_nobody_cools_down() {
    let gate = Arc::new(Gate::new(Settings {
        cooldown: Duration::from_millis(1),
        ..gate(WhenBusy::Refuse).settings
    }));
    let is_empty = |gate: &Gate| gate.shards.iter().all(|shard| shard.with(|peers| peers.is_empty()));
    process(&gate, "p");
    std::thread::sleep(Duration::from_millis(200));
    assert!(!is_empty(&gate));
    advance(Duration::from_millis(1)).await;
    gate.collect();
    assert!(is_empty(&gate));
}

#[test]
fn whoever_collects_does_not_keep_the_gate() {
    let gate = gate(WhenBusy::Refuse);
    process(&gate, "p");
    let (weak, start) = (Arc::downgrade(&gate), std::time::Instant::now());
    drop(gate);
    while weak.strong_count() > 0 {
        assert!(start.elapsed() < 60 * SECOND, "nobody keeps it");
        std::thread::sleep(Duration::from_millis(1));
    }
}
