//! Tests of the collector and of the room that the lock table gives back.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    task::{Context, Wake, Waker},
};

use super::{
    super::collector::{Collect as _, until_more},
    *,
};

/// Processes an offer of `peer`.
fn process(gate: &Arc<Gate>, peer: &str) {
    claim(admit(gate, &offer(peer, "f"))).complete(Outcome::Success, None, false);
}

#[test]
fn expired_memories_are_collected_without_a_runtime() {
    let gate = gate_with(Settings {
        window: Duration::from_millis(10),
        cooldown: Duration::from_millis(10),
        ..settings(WhenBusy::Refuse)
    });
    for peer in ["p", "q"] {
        process(&gate, peer);
        assert_eq!(gate.stats().memories, 1);
        let start = std::time::Instant::now();
        while gate.collecting.0.load(Relaxed) {
            assert!(start.elapsed() < 60 * SECOND, "nothing collects");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(gate.stats().memories, 0);
        assert!(is_empty(&gate));
    }
}

#[test]
fn busy_layers_are_collected_sooner() {
    let [second, millis] = [SECOND, Duration::from_millis(1)];
    for (time, new, expected) in [
        (second, 0, 50),
        (second, 320, 50),
        (second, 1600, 20),
        (second, 3200, 10),
        (second, 320_000, 1),
        (10 * millis, 64, 5),
        (second, u64::MAX, 1),
        (Duration::MAX, 1, 50),
    ] {
        assert_eq!(until_more(time, new), expected * millis, "{new} in {time:?}");
    }
}

#[test]
fn change_while_collecting_ends_is_collected() {
    for (window, cooldown) in [(SECOND, Duration::ZERO), (Duration::ZERO, SECOND)] {
        let gate = gate_with(Settings {
            window,
            cooldown,
            ..settings(WhenBusy::Refuse)
        });
        gate.collecting.0.store(true, Relaxed);
        assert!(gate.collecting.clear_if(|| gate.is_empty()) && !gate.collecting.0.load(Relaxed));
        gate.collecting.0.store(true, Relaxed);
        process(&gate, "p");
        assert!(!gate.collecting.clear_if(|| gate.is_empty()) && gate.collecting.0.load(Relaxed));
    }
}

struct PanickingWaker;

impl Wake for PanickingWaker {
    fn wake(self: Arc<Self>) {
        resume_unwind(Box::new("a waker panics"));
    }
}

#[tokio::test(start_paused = true)]
async fn change_is_collected_although_waker_panics() {
    let gate = gate(WhenBusy::Refuse);
    let offer = offer("p", "f");
    let first = claim(admit(&gate, &offer));
    let mut follower = waiter(gate.admit(Arrival::new(&offer, policy(Duplicates::WAIT), false)));
    let waker = Waker::from(Arc::new(PanickingWaker));
    assert!(follower.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(!gate.collecting.0.load(Relaxed));
    let completion = AssertUnwindSafe(|| first.complete(Outcome::Success, None, false));
    assert!(catch_unwind(completion).is_err());
    assert!(gate.collecting.0.load(Relaxed));
}

#[tokio::test(start_paused = true)]
async fn room_is_given_back_after_a_crowd() {
    let gate = gate_with(Settings {
        max_memory: 1 << 30,
        ..settings(WhenBusy::Refuse)
    });
    let room = |gate: &Gate| {
        let capacities = gate.peers.shards.iter();
        let capacities = capacities.map(|shard| shard.with(|table| table.capacity()));
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
    gate.forget(peers[0].as_str().into(), Scope::Peer);
    assert!(is_roomy(&gate), "one forgotten peer must not shrink the table");
    advance(SECOND).await;
    gate.collect();
    assert!(
        room(&gate)
            .iter()
            .all(|(entries, cooling)| *entries <= 64 && *cooling <= 64)
    );
}

#[test]
fn zero_cooldown_keeps_no_entry() {
    let gate = gate_with(Settings {
        cooldown: Duration::ZERO,
        ..settings(WhenBusy::Refuse)
    });
    process(&gate, "p");
    assert!(is_empty(&gate) && gate.stats().cooldowns == 0);
}

#[test]
fn forgotten_cooldowns_do_not_add_up() {
    for window in [Duration::ZERO, Duration::MAX] {
        let gate = gate_with(Settings {
            window,
            cooldown: Duration::MAX,
            ..settings(WhenBusy::Refuse)
        });
        let cooling = || gate.stats().cooldowns;
        for _ in 0..1000 {
            process(&gate, "p");
            assert!(gate.forget("p".into(), Scope::Peer));
        }
        assert!(cooling() < 100, "{}", cooling());
        process(&gate, "p");
        for _ in 0..1000 {
            gate.forget("q".into(), Scope::Peer);
        }
        assert!(cooling() > 0, "live cooldowns are kept");
    }
}

#[tokio::test(start_paused = true)]
async fn paused_time_ends_no_cooldown() {
    let gate = gate_with(Settings {
        cooldown: Duration::from_millis(1),
        ..settings(WhenBusy::Refuse)
    });
    process(&gate, "p");
    std::thread::sleep(Duration::from_millis(200));
    assert!(!is_empty(&gate));
    advance(Duration::from_millis(1)).await;
    gate.collect();
    assert!(is_empty(&gate));
}

#[test]
fn collector_does_not_keep_the_gate() {
    let gate = gate(WhenBusy::Refuse);
    process(&gate, "p");
    let (weak, start) = (Arc::downgrade(&gate), std::time::Instant::now());
    drop(gate);
    while weak.strong_count() > 0 {
        assert!(start.elapsed() < 60 * SECOND, "the gate is kept");
        std::thread::sleep(Duration::from_millis(1));
    }
}
