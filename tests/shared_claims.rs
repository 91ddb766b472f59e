//! The store's claim is held while the inner service has no capacity, and lost when another node takes it over.

#[path = "support/faulty_store.rs"]
mod faulty_store;
#[path = "support/shared_nodes.rs"]
mod shared_nodes;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use faulty_store::FaultyStore;
use shared_nodes::{Handler, Node, OPTIONS, Options, SECOND, answered, node, offer, refused, settle};
use tokio::time::{Instant, sleep, timeout};
use tower_offer_dedup::{WhenBusy, store::MemoryStore};

fn queue(seconds: u32) -> WhenBusy {
    WhenBusy::Queue {
        depth: 8,
        timeout: seconds * SECOND,
    }
}

#[tokio::test(start_paused = true)]
async fn offer_without_capacity_times_out() {
    let modes = [
        (WhenBusy::Refuse, 10),
        (WhenBusy::Supersede, 10),
        (queue(4), 4),
        // Longer than the store's lease.
        (queue(25), 25),
    ];
    for (when_busy, seconds) in modes {
        for detached in [false, true] {
            let what = format!("{when_busy:?}, detached: {detached}");
            let (store, handler) = (MemoryStore::new(), Handler::ready());
            let full = Handler::ready().full();
            let options = Options {
                when_busy,
                detached,
                ..OPTIONS
            };
            let a = node(store.node(), &full, &options);
            let b = node(store.node(), &handler, &OPTIONS);
            let started = Instant::now();
            let first = a.send(offer("f"));
            settle().await;
            for _ in 0..seconds {
                assert_eq!(b.call(offer("g")).await, refused(409, "busy"), "{what}");
                sleep(SECOND).await;
            }
            let reply = timeout(SECOND, first).await.expect("it waits no longer");
            assert_eq!(reply.unwrap(), refused(503, "timed_out"), "{what}");
            assert_eq!(started.elapsed().as_secs(), seconds, "{what}");
            settle().await;
            assert_eq!(b.call(offer("g")).await, answered(1), "{what}");
            let stats = a.stats();
            assert_eq!((full.calls(), stats.claims, stats.abandoned), (0, 0, 1), "{what}");
        }
    }
}

/// Two nodes, the first of which has a store that can fail.
fn faulty_node_and_other(handler: &Handler, change: impl Fn(&mut FaultyStore)) -> ([Node; 2], Arc<AtomicBool>) {
    let store = MemoryStore::new();
    let (mut faulty, is_down) = FaultyStore::new(&store, false);
    change(&mut faulty);
    let nodes = [node(faulty, handler, &OPTIONS), node(store.node(), handler, &OPTIONS)];
    (nodes, is_down)
}

/// The claim of the first node runs out: its renewals fail.
async fn outlive_lease(is_down: &AtomicBool) {
    is_down.store(true, Relaxed);
    sleep(11 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn lost_claim_aborts_handler() {
    let handler = Handler::held();
    let ([a, b], is_down) = faulty_node_and_other(&handler, |_| ());
    let first = a.send(offer("f"));
    settle().await;
    outlive_lease(&is_down).await;
    assert_eq!(handler.running(), 1);
    let second = b.send(offer("g"));
    settle().await;
    assert_eq!((handler.calls(), handler.running()), (2, 1));
    assert!(first.is_finished(), "told by the notice");
    assert_eq!(first.await.unwrap(), refused(503, "aborted"));
    assert_eq!((a.stats().store_claims_lost, a.stats().claims), (1, 0));
    handler.answer();
    assert_eq!(second.await.unwrap(), answered(2));
}

#[tokio::test(start_paused = true)]
async fn renewal_finds_lost_claim() {
    let handler = Handler::held();
    let ([a, b], is_down) = faulty_node_and_other(&handler, |store| store.is_deaf = true);
    let first = a.send(offer("f"));
    settle().await;
    outlive_lease(&is_down).await;
    let second = b.send(offer("g"));
    settle().await;
    assert_eq!(handler.running(), 2);
    is_down.store(false, Relaxed);
    sleep(4 * SECOND).await;
    assert_eq!(handler.running(), 1);
    assert_eq!(first.await.unwrap(), refused(503, "aborted"));
    assert_eq!((a.stats().store_claims_lost, a.stats().claims), (1, 0));
    handler.answer();
    assert_eq!(second.await.unwrap(), answered(2));
}

/// The other node's call ends. The first node then processes its offer again.
async fn assert_not_remembered([a, b]: [Node; 2], handler: &Handler) {
    handler.answer();
    sleep(SECOND).await;
    assert_eq!(b.stats().completed, 1);
    handler.answer();
    assert_eq!(a.call(offer("f")).await, answered(3));
}

#[tokio::test(start_paused = true)]
async fn answer_goes_out_after_lost_claim() {
    let handler = Handler::held().taking(Duration::ZERO, SECOND / 2);
    let (nodes, is_down) = faulty_node_and_other(&handler, |_| ());
    let first = nodes[0].send(offer("f"));
    settle().await;
    is_down.store(true, Relaxed);
    sleep(SECOND * 99 / 10).await;
    handler.answer();
    sleep(SECOND / 5).await;
    let _second = nodes[1].send(offer("g"));
    settle().await;
    assert_eq!(handler.calls(), 2, "the answer has a head, and no body yet");
    assert!(!first.is_finished());
    assert_eq!(first.await.unwrap(), answered(1));
    is_down.store(false, Relaxed);
    assert_not_remembered(nodes, &handler).await;
}

#[tokio::test(start_paused = true)]
async fn answer_goes_out_after_lost_completion() {
    let handler = Handler::held();
    let (nodes, is_down) = faulty_node_and_other(&handler, |store| store.is_deaf = true);
    let first = nodes[0].send(offer("f"));
    settle().await;
    outlive_lease(&is_down).await;
    let _second = nodes[1].send(offer("g"));
    settle().await;
    is_down.store(false, Relaxed);
    handler.answer();
    assert_eq!(first.await.unwrap(), answered(1));
    assert_not_remembered(nodes, &handler).await;
}

#[tokio::test(start_paused = true)]
async fn loss_during_commit_is_not_remembered() {
    let handler = Handler::held();
    let (nodes, is_down) = faulty_node_and_other(&handler, |store| store.reply_delay = Duration::from_millis(200));
    let first = nodes[0].send(offer("f"));
    sleep(SECOND).await;
    is_down.store(true, Relaxed);
    sleep(SECOND * 89 / 10).await;
    handler.answer();
    sleep(SECOND / 10).await;
    let _second = nodes[1].send(offer("g"));
    settle().await;
    assert_eq!(handler.calls(), 2);
    assert!(!first.is_finished(), "the completion is on its way");
    assert_eq!(first.await.unwrap(), answered(1));
    is_down.store(false, Relaxed);
    assert_not_remembered(nodes, &handler).await;
}

#[tokio::test(start_paused = true)]
async fn answer_of_superseded_offer_goes_out() {
    let handler = Handler::ready().taking(Duration::ZERO, SECOND / 2);
    let store = MemoryStore::new();
    let [a, b] = [(); 2].map(|()| {
        let options = Options {
            when_busy: WhenBusy::Supersede,
            ..OPTIONS
        };
        node(store.node(), &handler, &options)
    });
    let first = a.send(offer("f"));
    settle().await;
    let second = b.send(offer("g"));
    assert_eq!(first.await.unwrap(), answered(1));
    assert_eq!(second.await.unwrap(), answered(2));
    for node in [&a, &b] {
        assert_eq!(node.call(offer("f")).await, refused(409, "superseded"));
    }
}
