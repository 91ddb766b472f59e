//! The memory stays within its limit, keeps the newest offers, and frees what has expired.

mod support;

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use support::{End, ManualService, SECOND, builder, offer, pending, refuse, through};
use tokio::{runtime::Runtime, task::spawn_blocking, time::sleep};
use tokio_test::assert_ready_ok;
use tower::{Layer, Service, service_fn};
use tower_offer_dedup::{Fingerprint, Offer, OfferDedupHandle, OfferDedupLayer, Refuse, Replay, Stats, WhenBusy};

const MIB: u64 = 1024 * 1024;

fn by_number(peer: &u64) -> Option<Offer> {
    Some(Offer::new(*peer, Fingerprint::exact(b"f")))
}

/// Waits in real time, because moka's clock cannot be paused.
async fn eventually(handle: &OfferDedupHandle, what: &str, holds: impl Fn(&Stats) -> bool) {
    let start = Instant::now();
    while !holds(&handle.stats()) {
        assert!(start.elapsed() < 20 * SECOND, "not {what}: {:?}", handle.stats());
        sleep(Duration::from_millis(10)).await;
    }
}

fn is_empty(stats: &Stats) -> bool {
    (stats.memories, stats.bytes) == (0, 0)
}

/// Runs on two threads, because a million offers take long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn million_peers_stay_within_memory() {
    const PEERS: u64 = 1_000_000;
    let layer = OfferDedupLayer::builder()
        .offers(by_number)
        .answer(Refuse::with(|_| false))
        .cooldown(Duration::ZERO)
        .max_memory(16 * MIB)
        .window(3600 * SECOND)
        .build();
    let service = layer.layer(service_fn(|_: u64| ready(Ok::<_, Infallible>(true))));
    let handle = layer.handle();
    let process = move |peer| service.clone().call(peer).now_or_never().unwrap().unwrap();
    // The threads take turns, so that neither falls behind and makes its peers the newest.
    let next = Arc::new(AtomicU64::new(0));
    let threads = [0; 2].map(|_| {
        let (process, next) = (process.clone(), Arc::clone(&next));
        spawn_blocking(move || {
            while let peer @ 0..PEERS = next.fetch_add(1, Relaxed) {
                assert!(process(peer));
            }
        })
    });
    for thread in threads {
        thread.await.unwrap();
    }
    eventually(&handle, "within the memory", |stats| stats.bytes <= 16 * MIB).await;
    let stats = handle.stats();
    assert!(stats.memories > 25_000, "only {} are kept", stats.memories);
    assert_eq!(stats.evicted + stats.memories, PEERS);
    for peer in PEERS - 1000..PEERS {
        assert!(!process(peer), "peer {peer} is forgotten");
    }
    assert!(process(0));
}

/// Each answer has 64 KiB, the most that is recorded for HTTP.
#[tokio::test]
async fn heavy_answers_stay_within_memory() {
    const PEERS: u64 = 1000;
    let heavy: Arc<[u8]> = vec![0; 64 * 1024].into();
    let layer = OfferDedupLayer::builder()
        .offers(by_number)
        .answer(Replay::with(|_| Arc::from([])).weigher(|answer: &Arc<[u8]>| Some(answer.len())))
        .cooldown(Duration::ZERO)
        .max_memory(16 * MIB)
        .window(3600 * SECOND)
        .build();
    let inner = {
        let heavy = Arc::clone(&heavy);
        service_fn(move |_: u64| ready(Ok::<_, Infallible>(Arc::clone(&heavy))))
    };
    let mut service = layer.layer(inner);
    let mut process = |peer| service.call(peer).now_or_never().unwrap().unwrap();
    let handle = layer.handle();

    for peer in 0..PEERS {
        assert_eq!(process(peer), heavy);
    }
    eventually(&handle, "within the memory", |stats| stats.bytes <= 16 * MIB).await;
    let stats = handle.stats();
    assert_eq!(stats.evicted + stats.memories, PEERS);
    assert!(stats.memories >= 150, "only {} are kept", stats.memories);
    for peer in PEERS - 150..PEERS {
        assert_eq!(process(peer), heavy);
    }
    assert_eq!(handle.stats().replayed, 150);
    // The counters match the memory. moka frees an evicted answer during later calls.
    let start = Instant::now();
    while Arc::strong_count(&heavy) as u64 != handle.stats().memories + 2 {
        let held = Arc::strong_count(&heavy);
        assert!(
            start.elapsed() < 20 * SECOND,
            "{held} answers are held: {:?}",
            handle.stats()
        );
        drop(process(PEERS - 1));
    }
}

#[tokio::test]
async fn one_peer_evicts_no_other() {
    let heavy: Arc<[u8]> = vec![0; 64 * 1024].into();
    let layer = OfferDedupLayer::builder()
        .offers(|(peer, n): &(u64, u64)| Some(Offer::new(*peer, Fingerprint::exact(&n.to_le_bytes()))))
        .answer(Replay::with(|_| Arc::from([])).weigher(|answer: &Arc<[u8]>| Some(answer.len())))
        .cooldown(Duration::ZERO)
        .max_memory(2 * MIB)
        .window(3600 * SECOND)
        .build();
    let mut service = layer.layer(service_fn(move |_: (u64, u64)| {
        ready(Ok::<_, Infallible>(Arc::clone(&heavy)))
    }));
    let mut process = |peer, n| service.call((peer, n)).now_or_never().unwrap().unwrap().len();
    let handle = layer.handle();

    process(1, 0);
    for n in 0..100 {
        process(2, n);
    }
    sleep(SECOND / 2).await;
    assert!(handle.stats().bytes <= 2 * MIB);
    let before = handle.stats();
    assert_eq!(process(1, 0), 64 * 1024);
    assert_eq!(process(2, 99), 64 * 1024);
    process(2, 84);
    let after = handle.stats();
    // Of the hundred offers of one peer, 16 are remembered.
    assert_eq!((after.admitted, after.evicted), (before.admitted, 84));
}

/// However small the memory, a peer's own offers do not evict its newest one.
#[tokio::test]
async fn small_memory_keeps_the_newest() {
    for max_memory in [400, 600, 800, 1200, 1600] {
        let layer = OfferDedupLayer::builder()
            .offers(|n: &u64| Some(Offer::new("p", Fingerprint::exact(&n.to_le_bytes()))))
            .answer(Refuse::with(|_| false))
            .cooldown(Duration::ZERO)
            .max_memory(max_memory)
            .window(3600 * SECOND)
            .build();
        let mut service = layer.layer(service_fn(|_: u64| ready(Ok::<_, Infallible>(true))));
        let mut process = |n| service.call(n).now_or_never().unwrap().unwrap();
        for n in 0..16 {
            assert!(process(n));
        }
        sleep(SECOND / 2).await;
        let bytes = layer.handle().stats().bytes;
        assert!(bytes <= max_memory, "{bytes} of {max_memory}");
        assert!(!process(15), "{max_memory}");
    }
}

#[tokio::test]
async fn nothing_remains_after_all_windows() {
    let manual = ManualService::default();
    let layer = builder(Replay::with(refuse))
        .window(SECOND / 4)
        .cooldown(SECOND / 100)
        .when_busy(WhenBusy::Queue {
            depth: 8,
            timeout: SECOND,
        })
        .build();
    let (mut service, handle) = (layer.layer(manual.clone()), layer.handle());
    // Ends an offer in every possible way.
    through(&mut service, &manual, offer("processed", "f"), End::Answer).unwrap();
    through(&mut service, &manual, offer("failed", "f"), End::Broken).unwrap_err();
    drop(pending(&mut service, offer("dropped", "f")));
    assert!(manual.was_dropped());
    for (peer, is_forgotten, holder_first) in [
        ("a", false, true),
        ("b", false, false),
        ("c", true, true),
        ("d", true, false),
    ] {
        let holder = pending(&mut service, offer(peer, "f"));
        let waiting = ["f", "g", "g"].map(|text| pending(&mut service, offer(peer, text)));
        if is_forgotten {
            assert!(handle.forget(peer));
        }
        if holder_first {
            drop(holder);
            drop(waiting);
        } else {
            drop(waiting);
            drop(holder);
        }
        assert!(manual.was_dropped());
    }
    let mut forgotten = pending(&mut service, offer("forgotten", "f"));
    handle.forget("forgotten");
    manual.end(End::Answer);
    assert_ready_ok!(forgotten.poll());
    through(&mut service, &manual, offer("twice", "f"), End::Answer).unwrap();
    sleep(SECOND / 3).await;
    through(&mut service, &manual, offer("twice", "f"), End::Answer).unwrap();
    through(&mut service, &manual, offer("cleared", "f"), End::Answer).unwrap();
    handle.clear();
    through(&mut service, &manual, offer("cleared", "f"), End::Answer).unwrap();

    eventually(&handle, "empty", is_empty).await;
    assert_eq!((handle.stats().claims, handle.stats().waiters), (0, 0));
    support::collectors::end().await;
    // The layer still works.
    through(&mut service, &manual, offer("processed", "f"), End::Answer).unwrap();
    assert_eq!(handle.stats().memories, 1);
    eventually(&handle, "empty again", is_empty).await;
}

#[tokio::test]
async fn clear_frees_memory_at_once() {
    let layer = OfferDedupLayer::builder()
        .offers(by_number)
        .answer(Refuse::with(|_| false))
        .window(3600 * SECOND)
        .build();
    let mut service = layer.layer(service_fn(|_: u64| ready(Ok::<_, Infallible>(true))));
    for peer in 0..1000 {
        service.call(peer).now_or_never().unwrap().unwrap();
    }
    let handle = layer.handle();
    assert_eq!(handle.stats().memories, 1000);
    assert!(handle.stats().bytes > 1000 * 300);
    handle.clear();
    eventually(&handle, "empty", is_empty).await;
    assert_eq!(handle.stats().evicted, 0);
}

#[test]
fn layer_outlives_its_runtime() {
    let layer = OfferDedupLayer::builder()
        .offers(by_number)
        .answer(Refuse::with(|_| false))
        .window(SECOND / 20)
        .build();
    let service = layer.layer(service_fn(|_: u64| -> Ready<Result<_, Infallible>> { ready(Ok(true)) }));
    let handle = layer.handle();
    let mut outside = service.clone();
    assert!(outside.call(0).now_or_never().unwrap().unwrap());
    for peer in 1..3 {
        let mut service = service.clone();
        let runtime = Runtime::new().unwrap();
        assert!(runtime.block_on(service.call(peer)).unwrap());
        if peer == 2 {
            runtime.block_on(eventually(&handle, "empty", is_empty));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_layer_frees_everything() {
    let manual = ManualService::default();
    let token = Arc::new(());
    let (of_offers, of_answer) = (Arc::clone(&token), Arc::clone(&token));
    let layer = OfferDedupLayer::builder()
        .offers(move |message: &support::Message| {
            let _token = &of_offers;
            support::offers(message)
        })
        .answer(Replay::with(move |refusal| {
            let _token = &of_answer;
            refuse(refusal)
        }))
        .build();
    let mut service = layer.layer(manual.clone());
    through(&mut service, &manual, offer("p", "f"), End::Answer).unwrap();
    let mut running = pending(&mut service, offer("q", "f"));
    let token = {
        let weak = Arc::downgrade(&token);
        drop(token);
        weak
    };

    drop((layer, service));
    assert!(token.upgrade().is_some(), "the running call still needs the answer");
    manual.end(End::Answer);
    assert_ready_ok!(running.poll());
    drop(running);
    assert!(token.upgrade().is_none());
}
