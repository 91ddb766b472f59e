//! Several nodes that share a store keep the promises of one.

#[path = "support/faulty_store.rs"]
mod faulty_store;
#[path = "support/shared_nodes.rs"]
mod shared_nodes;

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

use faulty_store::FaultyStore;
use http::StatusCode;
use shared_nodes::{
    Handler, Message, Node, OPTIONS, Options, QUEUE, SECOND, answered, node, offer, refused, settle, two_nodes,
};
use tokio::time::{Instant, advance, sleep};
use tower_offer_dedup::{
    Fingerprint, OfferDedupHandle, WhenBusy,
    store::{MemoryStore, OnStoreError},
};

#[tokio::test(start_paused = true)]
async fn duplicate_is_replayed_elsewhere() {
    let handler = Handler::ready();
    let [a, b] = two_nodes(&handler, &OPTIONS);
    assert_eq!(a.call(offer("f")).await, answered(1));
    assert_eq!(b.call(offer("f")).await, answered(1));
    assert_eq!(b.call(offer("f")).await, answered(1));
    assert_eq!(handler.calls(), 1);
    assert_eq!((a.stats().admitted, b.stats().admitted, b.stats().replayed), (1, 0, 2));
}

#[tokio::test(start_paused = true)]
async fn duplicate_is_refused_elsewhere() {
    let handler = Handler::ready();
    let [a, b] = two_nodes(
        &handler,
        &Options {
            replays: false,
            ..OPTIONS
        },
    );
    assert_eq!(a.call(offer("f")).await, answered(1));
    assert_eq!(b.call(offer("f")).await, refused(409, "processed"));
    assert_eq!((handler.calls(), b.stats().refused_processed), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn window_ends_on_all_nodes_at_once() {
    let handler = Handler::ready();
    let [a, b] = two_nodes(&handler, &OPTIONS);
    a.call(offer("f")).await;
    advance(6 * SECOND).await;
    assert_eq!(b.call(offer("f")).await, answered(1));
    advance(5 * SECOND).await;
    assert_eq!(b.call(offer("f")).await, answered(2));
}

#[tokio::test(start_paused = true)]
async fn slow_store_does_not_extend_window() {
    let handler = Handler::ready();
    let store = MemoryStore::new();
    let [a, b] = [(); 2].map(|()| {
        let (mut slow, _) = FaultyStore::new(&store, false);
        slow.reply_delay = Duration::from_millis(200);
        node(slow, &handler, &OPTIONS)
    });
    assert_eq!(a.call(offer("f")).await, answered(1));
    advance(5 * SECOND).await;
    assert_eq!(b.call(offer("f")).await, answered(1));
    // 200 ms have passed since the store got the answer, and 200 ms while it was asked for it. Both nodes forget it when
    // the store does.
    advance(4 * SECOND + Duration::from_millis(590)).await;
    for node in [&a, &b] {
        assert_eq!(node.call(offer("f")).await, answered(1));
    }
    advance(Duration::from_millis(20)).await;
    for again in [&a, &b].map(|node| node.send(offer("f"))) {
        assert_eq!(again.await.unwrap(), answered(2));
    }
}

#[tokio::test(start_paused = true)]
async fn follower_elsewhere_gets_answer() {
    let handler = Handler::held();
    let [a, b] = two_nodes(&handler, &OPTIONS);
    let first = a.send(offer("f"));
    settle().await;
    let followers = [(); 3].map(|()| b.send(offer("f")));
    settle().await;
    assert_eq!(handler.calls(), 1);
    handler.answer();
    let started = Instant::now();
    assert_eq!(first.await.unwrap(), answered(1));
    for follower in followers {
        assert_eq!(follower.await.unwrap(), answered(1));
    }
    assert!(started.elapsed() < SECOND / 10, "woken by the notice, not by polling");
}

#[tokio::test(start_paused = true)]
async fn follower_elsewhere_times_out() {
    let handler = Handler::held();
    let [a, b] = two_nodes(&handler, &OPTIONS);
    let _first = a.send(offer("f"));
    settle().await;
    let started = Instant::now();
    assert_eq!(b.call(offer("f")).await, refused(503, "timed_out"));
    assert_eq!(started.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn duplicate_in_flight_elsewhere_is_refused() {
    let handler = Handler::held();
    let [a, b] = two_nodes(
        &handler,
        &Options {
            replays: false,
            ..OPTIONS
        },
    );
    let _first = a.send(offer("f"));
    settle().await;
    assert_eq!(b.call(offer("f")).await, refused(409, "in_flight"));
    assert_eq!(b.call(offer("g")).await, refused(409, "busy"));
}

#[tokio::test(start_paused = true)]
async fn cooldown_holds_elsewhere() {
    let handler = Handler::ready();
    let [a, b] = two_nodes(
        &handler,
        &Options {
            cooldown: 2 * SECOND,
            ..OPTIONS
        },
    );
    a.call(offer("f")).await;
    assert_eq!(b.call(offer("g")).await, refused(409, "cooling_down"));
    advance(2 * SECOND).await;
    assert_eq!(b.call(offer("g")).await, answered(2));
}

#[tokio::test(start_paused = true)]
async fn queued_offer_waits_for_other_node() {
    let handler = Handler::held();
    let [a, b] = two_nodes(
        &handler,
        &Options {
            when_busy: QUEUE,
            ..OPTIONS
        },
    );
    let first = a.send(offer("f"));
    settle().await;
    let second = b.send(offer("g"));
    settle().await;
    assert_eq!(handler.calls(), 1);
    handler.answer();
    assert_eq!(first.await.unwrap(), answered(1));
    settle().await;
    assert_eq!(handler.calls(), 2);
    handler.answer();
    assert_eq!(second.await.unwrap(), answered(2));
}

#[tokio::test(start_paused = true)]
async fn queued_offer_times_out_elsewhere() {
    let handler = Handler::held();
    let [a, b] = two_nodes(
        &handler,
        &Options {
            when_busy: QUEUE,
            ..OPTIONS
        },
    );
    let _first = a.send(offer("f"));
    settle().await;
    assert_eq!(b.call(offer("g")).await, refused(503, "timed_out"));
}

#[tokio::test(start_paused = true)]
async fn newest_offer_wins_across_nodes() {
    let handler = Handler::held();
    let [a, b] = two_nodes(
        &handler,
        &Options {
            when_busy: WhenBusy::Supersede,
            ..OPTIONS
        },
    );
    let first = a.send(offer("f"));
    settle().await;
    let second = b.send(offer("g"));
    assert_eq!(first.await.unwrap(), refused(409, "superseded"));
    settle().await;
    assert_eq!((handler.calls(), handler.running()), (2, 1));
    handler.answer();
    assert_eq!(second.await.unwrap(), answered(2));
    // A late copy of the loser cannot win the lock back, on either node.
    assert_eq!(a.call(offer("f")).await, refused(409, "superseded"));
    assert_eq!(b.call(offer("f")).await, refused(409, "superseded"));
}

#[tokio::test(start_paused = true)]
async fn local_loser_is_marked_elsewhere() {
    let handler = Handler::held();
    let [a, b] = two_nodes(
        &handler,
        &Options {
            when_busy: WhenBusy::Supersede,
            ..OPTIONS
        },
    );
    let first = a.send(offer("f"));
    settle().await;
    let second = a.send(offer("g"));
    assert_eq!(first.await.unwrap(), refused(409, "superseded"));
    settle().await;
    assert_eq!(b.call(offer("f")).await, refused(409, "superseded"));
    handler.answer();
    assert_eq!(second.await.unwrap(), answered(2));
}

#[tokio::test(start_paused = true)]
async fn dropped_request_frees_other_node() {
    let handler = Handler::held();
    let [a, b] = two_nodes(&handler, &OPTIONS);
    let first = a.send(offer("f"));
    settle().await;
    first.abort();
    settle().await;
    handler.answer();
    assert_eq!(b.call(offer("g")).await, answered(2));
}

#[tokio::test(start_paused = true)]
async fn failure_is_retried_elsewhere() {
    let handler = Handler::ready();
    *handler.status.lock().unwrap() = StatusCode::NOT_ACCEPTABLE;
    let [a, b] = two_nodes(&handler, &OPTIONS);
    assert_eq!(a.call(offer("f")).await.0, 406);
    settle().await;
    *handler.status.lock().unwrap() = StatusCode::CREATED;
    assert_eq!(b.call(offer("f")).await, answered(2));
}

#[tokio::test(start_paused = true)]
async fn long_processing_keeps_its_claim() {
    let handler = Handler::held();
    let [a, b] = two_nodes(&handler, &OPTIONS);
    let first = a.send(offer("f"));
    settle().await;
    for _ in 0..25 {
        sleep(SECOND).await;
        assert_eq!(b.call(offer("g")).await, refused(409, "busy"));
    }
    handler.answer();
    assert_eq!(first.await.unwrap(), answered(1));
    assert_eq!(handler.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn local_lease_frees_other_node() {
    let handler = Handler::held();
    let [a, b] = two_nodes(&handler, &OPTIONS);
    let first = a.send(offer("f"));
    settle().await;
    sleep(41 * SECOND).await;
    let second = b.send(offer("g"));
    settle().await;
    assert_eq!((handler.calls(), handler.running()), (2, 1));
    assert_eq!(first.await.unwrap(), refused(503, "aborted"));
    handler.answer();
    assert_eq!(second.await.unwrap(), answered(2));
}

#[tokio::test(start_paused = true)]
async fn abandoned_work_gives_way_elsewhere() {
    let handler = Handler::held();
    let [a, b] = two_nodes(
        &handler,
        &Options {
            detached: true,
            ..OPTIONS
        },
    );
    let first = a.send(offer("f"));
    settle().await;
    assert_eq!(b.call(offer("g")).await, refused(409, "busy"));
    first.abort();
    settle().await;
    let second = b.send(offer("g"));
    settle().await;
    assert_eq!((handler.calls(), handler.running()), (2, 1));
    handler.answer();
    assert_eq!(second.await.unwrap(), answered(2));
}

#[tokio::test(start_paused = true)]
async fn abandoned_work_is_finished_for_retry_elsewhere() {
    let handler = Handler::held();
    let [a, b] = two_nodes(
        &handler,
        &Options {
            detached: true,
            ..OPTIONS
        },
    );
    let first = a.send(offer("f"));
    settle().await;
    first.abort();
    settle().await;
    let retry = b.send(offer("f"));
    settle().await;
    handler.answer();
    assert_eq!(retry.await.unwrap(), answered(1));
    assert_eq!(handler.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn forget_reaches_every_node() {
    let handler = Handler::ready();
    let [a, b] = two_nodes(
        &handler,
        &Options {
            cooldown: 2 * SECOND,
            ..OPTIONS
        },
    );
    a.call(offer("f")).await;
    assert_eq!(b.call(offer("f")).await, answered(1));
    a.handle.forget("p");
    settle().await;
    assert_eq!(b.call(offer("f")).await, answered(2));
}

#[tokio::test(start_paused = true)]
async fn forget_takes_effect_before_next_offer() {
    let handler = Handler::ready();
    let [a, b] = two_nodes(&handler, &OPTIONS);
    b.call(offer("f")).await;
    a.handle.forget("p");
    assert_eq!(a.call(offer("f")).await, answered(2));
}

#[tokio::test(start_paused = true)]
async fn forget_offer_keeps_other_offers() {
    let handler = Handler::ready();
    let [a, b] = two_nodes(&handler, &OPTIONS);
    a.call(offer("f")).await;
    a.call(offer("g")).await;
    b.call(offer("f")).await;
    b.handle.forget_offer("p", Fingerprint::exact(b"f"));
    settle().await;
    assert_eq!(a.call(offer("g")).await, answered(2));
    assert_eq!(a.call(offer("f")).await, answered(3));
}

/// Two nodes, the first of which gets its replies late.
fn slow_node_and_other(handler: &Handler) -> ([Node; 2], Arc<AtomicBool>) {
    let store = MemoryStore::new();
    let (mut slow, is_down) = FaultyStore::new(&store, false);
    slow.reply_delay = Duration::from_millis(200);
    let nodes = [node(slow, handler, &OPTIONS), node(store.node(), handler, &OPTIONS)];
    (nodes, is_down)
}

#[tokio::test(start_paused = true)]
async fn offer_forgotten_while_asked_decides_again() {
    for fails in [false, true] {
        let handler = Handler::held();
        let ([a, b], is_down) = slow_node_and_other(&handler);
        let first = a.send(offer("f"));
        settle().await;
        b.handle.clear();
        settle().await;
        is_down.store(fails, Relaxed);
        let second = a.send(offer("f"));
        sleep(SECOND).await;
        assert_eq!(handler.running(), 1, "the store fails: {fails}");
        handler.answer();
        for reply in [first, second] {
            assert_eq!(reply.await.unwrap(), answered(1), "the store fails: {fails}");
        }
        let stats = a.stats();
        assert_eq!((handler.calls(), stats.admitted, stats.replayed), (1, 1, 1));
        assert_eq!((stats.offers(), stats.claims, stats.waiters), (2, 0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn forget_reaches_offer_admitted_alone() {
    let handler = Handler::held();
    let store = MemoryStore::new();
    let (faulty, is_down) = FaultyStore::new(&store, false);
    let [a, b] = [node(faulty, &handler, &OPTIONS), node(store.node(), &handler, &OPTIONS)];
    is_down.store(true, Relaxed);
    let first = a.send(offer("f"));
    settle().await;
    is_down.store(false, Relaxed);
    b.handle.forget("p");
    settle().await;
    handler.answer();
    assert_eq!(first.await.unwrap(), answered(1));
    handler.answer();
    assert_eq!(a.call(offer("f")).await, answered(2));
}

#[tokio::test(start_paused = true)]
async fn outdated_grant_has_no_fence() {
    let handler = Handler::ready();
    let ([a, b], is_down) = slow_node_and_other(&handler);
    let first = a.send(offer("f"));
    settle().await;
    b.handle.forget_offer("p", Fingerprint::exact(b"an older offer"));
    settle().await;
    is_down.store(true, Relaxed);
    assert_eq!(first.await.unwrap(), answered(1));
    assert_eq!(handler.last().fence, None);
}

#[tokio::test(start_paused = true)]
async fn clear_reaches_every_node() {
    let handler = Handler::ready();
    let [a, b] = two_nodes(&handler, &OPTIONS);
    a.call(offer("f")).await;
    b.call(offer("f")).await;
    a.handle.clear();
    settle().await;
    assert_eq!(b.call(offer("f")).await, answered(2));
}

#[tokio::test(start_paused = true)]
async fn session_end_reaches_every_node() {
    let handler = Handler::ready();
    let [a, b] = two_nodes(&handler, &OPTIONS);
    a.call(offer("f")).await;
    b.call(offer("f")).await;
    assert!(handler.last().session.expect("admitted").forget());
    settle().await;
    assert_eq!(b.call(offer("f")).await, answered(2));
}

#[tokio::test(start_paused = true)]
async fn late_session_end_spares_newer_claim() {
    let handler = Handler::ready();
    let [a, b] = two_nodes(&handler, &OPTIONS);
    a.call(offer("f")).await;
    let old = handler.last().session.expect("admitted");
    b.handle.forget("p");
    settle().await;
    assert_eq!(b.call(offer("f")).await, answered(2));
    old.forget();
    settle().await;
    assert_eq!(a.call(offer("f")).await, answered(2));
    assert_eq!(b.call(offer("f")).await, answered(2));
}

#[tokio::test(start_paused = true)]
async fn fences_rise() {
    let handler = Handler::ready();
    let [a, b] = two_nodes(&handler, &OPTIONS);
    let mut last = None;
    for (node, text) in [(&a, "f"), (&b, "g"), (&a, "h")] {
        node.call(offer(text)).await;
        let fence = handler.last().fence;
        assert!(fence > last, "{fence:?} after {last:?}");
        last = fence;
    }
}

#[tokio::test(start_paused = true)]
async fn node_decides_alone_when_failing_open() {
    let handler = Handler::ready();
    let store = MemoryStore::new();
    let (faulty, is_down) = FaultyStore::new(&store, false);
    let a = node(faulty, &handler, &OPTIONS);
    let b = node(store.node(), &handler, &OPTIONS);
    is_down.store(true, Relaxed);
    assert_eq!(a.call(offer("f")).await, answered(1));
    assert_eq!(a.call(offer("f")).await, answered(1));
    assert_eq!(b.call(offer("f")).await, answered(2));
    assert_eq!(handler.calls.lock().unwrap()[0].fence, None);
}

#[tokio::test(start_paused = true)]
async fn new_offers_are_refused_when_failing_closed() {
    let handler = Handler::ready();
    let store = MemoryStore::new();
    let (faulty, is_down) = FaultyStore::new(&store, false);
    let closed = Options {
        on_store_error: OnStoreError::FailClosed,
        ..OPTIONS
    };
    let a = node(faulty, &handler, &closed);
    assert_eq!(a.call(offer("f")).await, answered(1));
    is_down.store(true, Relaxed);
    assert_eq!(a.call(offer("f")).await, answered(1));
    assert_eq!(a.call(offer("g")).await, refused(503, "store_unavailable"));
    is_down.store(false, Relaxed);
    assert_eq!(a.call(offer("g")).await, answered(2));
}

#[tokio::test(start_paused = true)]
async fn lost_claim_reply_is_released_when_failing_closed() {
    let handler = Handler::ready();
    let store = MemoryStore::new();
    let (faulty, is_down) = FaultyStore::new(&store, true);
    let closed = Options {
        on_store_error: OnStoreError::FailClosed,
        ..OPTIONS
    };
    let a = node(faulty, &handler, &closed);
    let b = node(store.node(), &handler, &closed);
    is_down.store(true, Relaxed);
    assert_eq!(a.call(offer("f")).await, refused(503, "store_unavailable"));
    is_down.store(false, Relaxed);
    sleep(SECOND).await;
    assert_eq!(b.call(offer("g")).await, answered(1));
}

#[tokio::test(start_paused = true)]
async fn lost_claim_reply_is_completed_when_failing_open() {
    let handler = Handler::held();
    let store = MemoryStore::new();
    let (faulty, is_down) = FaultyStore::new(&store, true);
    let a = node(faulty, &handler, &OPTIONS);
    let b = node(store.node(), &handler, &OPTIONS);
    is_down.store(true, Relaxed);
    let first = a.send(offer("f"));
    settle().await;
    is_down.store(false, Relaxed);
    handler.answer();
    assert_eq!(first.await.unwrap(), answered(1));
    assert_eq!(b.call(offer("f")).await, answered(1));
}

#[tokio::test(start_paused = true)]
async fn unacknowledged_completion_is_repeated() {
    let handler = Handler::held();
    let store = MemoryStore::new();
    let (faulty, is_down) = FaultyStore::new(&store, false);
    let a = node(faulty, &handler, &OPTIONS);
    let b = node(store.node(), &handler, &OPTIONS);
    let first = a.send(offer("f"));
    settle().await;
    is_down.store(true, Relaxed);
    handler.answer();
    assert_eq!(first.await.unwrap(), answered(1));
    is_down.store(false, Relaxed);
    sleep(SECOND).await;
    assert_eq!(b.call(offer("f")).await, answered(1));
    a.handle.drain().await;
}

/// Forgets two offers whenever it is woken.
struct ForgetsTwo(OfferDedupHandle);

impl Wake for ForgetsTwo {
    fn wake(self: Arc<Self>) {
        self.0.forget_offer("p", Fingerprint::exact(b"f"));
        self.0.forget_offer("p", Fingerprint::exact(b"g"));
    }
}

#[tokio::test(start_paused = true)]
async fn message_sent_at_delivery_is_delivered_once() {
    let (mut store, _) = FaultyStore::new(&MemoryStore::new(), false);
    store.reply_delay = SECOND / 10;
    let calls = Arc::clone(&store.calls);
    let a = node(store, &Handler::ready(), &OPTIONS);
    a.handle.forget("p");
    let waker = Waker::from(Arc::new(ForgetsTwo(a.handle.clone())));
    let mut drained = pin!(a.handle.drain());
    assert!(drained.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    sleep(SECOND).await;
    assert_eq!(calls.load(Relaxed), 3);
    assert_eq!(a.stats().store_messages, 0);
}

#[tokio::test(start_paused = true)]
async fn breaker_spares_calls() {
    let handler = Handler::ready();
    let store = MemoryStore::new();
    let (faulty, is_down) = FaultyStore::new(&store, false);
    let calls = Arc::clone(&faulty.calls);
    let a = node(faulty, &handler, &OPTIONS);
    is_down.store(true, Relaxed);
    for text in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
        a.call(Message {
            peer: text,
            ..offer(text)
        })
        .await;
    }
    assert_eq!((handler.calls(), calls.load(Relaxed)), (9, 5));
    is_down.store(false, Relaxed);
    sleep(SECOND).await;
    a.call(offer("j")).await;
    assert!(handler.last().fence.is_some());
}

#[test]
fn breaker_survives_shutdown_of_runtime() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap()
    };
    let handler = Handler::ready();
    let (faulty, is_down) = FaultyStore::new(&MemoryStore::new(), false);
    let a = node(faulty, &handler, &OPTIONS);
    is_down.store(true, Relaxed);
    runtime().block_on(async {
        for text in ["a", "b", "c", "d", "e"] {
            a.call(offer(text)).await;
        }
    });
    assert_eq!(a.stats().store_down, 0, "nobody probes the store");
    is_down.store(false, Relaxed);
    runtime().block_on(a.call(offer("f")));
    assert!(handler.last().fence.is_some());
}
