//! Messages to the store are sent whatever else goes wrong, and `drain` waits for all of them.

#[path = "support/faulty_store.rs"]
mod faulty_store;
#[path = "support/shared_nodes.rs"]
mod shared_nodes;

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Wake, Waker},
    thread,
};

use faulty_store::FaultyStore;
use shared_nodes::{Handler, Message, OPTIONS, Options, QUEUE, SECOND, answered, node, offer, settle, two_nodes};
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, advance, sleep, timeout},
};
use tower_offer_dedup::{WhenBusy, store::MemoryStore};

struct PanickingWaker;

impl Wake for PanickingWaker {
    fn wake(self: Arc<Self>) {
        resume_unwind(Box::new("a waker panics"));
    }
}

#[tokio::test(start_paused = true)]
async fn forget_is_sent_although_waker_panics() {
    let handler = Handler::held();
    let options = Options {
        when_busy: QUEUE,
        ..OPTIONS
    };
    let [a, b] = two_nodes(&handler, &options);
    let _first = b.send(offer("f"));
    settle().await;
    let mut waiting = pin!(a.reply(offer("g")));
    let waker = Waker::from(Arc::new(PanickingWaker));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let forgotten = catch_unwind(AssertUnwindSafe(|| a.handle.forget("p")));
    assert!(forgotten.is_err(), "the panic goes to the caller");
    settle().await;
    let _next = b.send(offer("h"));
    settle().await;
    assert_eq!(handler.calls(), 2, "the other node has forgotten the first offer");
}

fn paused() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

fn offer_of(peer: &'static str) -> Message {
    Message { peer, ..offer("f") }
}

#[test]
fn forget_without_runtime_is_drained() {
    let [a, b] = two_nodes(&Handler::ready(), &OPTIONS);
    let runtime = paused();
    assert_eq!(runtime.block_on(async { b.call(offer("f")).await }), answered(1));
    a.handle.forget("p");
    runtime.block_on(async {
        let drained = timeout(60 * SECOND, a.handle.drain()).await;
        assert!(drained.is_ok(), "{:?}", a.handle);
        assert_eq!(b.call(offer("f")).await, answered(2));
    });
}

#[test]
fn overdue_forget_is_not_sent() {
    let [a, b] = two_nodes(&Handler::ready(), &OPTIONS);
    a.handle.forget("p");
    paused().block_on(async {
        advance(11 * SECOND).await;
        assert_eq!(b.call(offer("f")).await, answered(1));
        assert_eq!(a.call(offer_of("q")).await, answered(2));
        sleep(SECOND).await;
        let again = b.call(offer("f")).await;
        assert_eq!(again, answered(1), "it was processed after the forget");
        let stats = a.stats();
        assert_eq!((stats.store_messages, stats.store_messages_dropped), (0, 1));
    });
}

#[tokio::test(start_paused = true)]
async fn panicking_store_has_failed() {
    let (mut store, is_down) = FaultyStore::new(&MemoryStore::new(), false);
    store.panics = true;
    let a = node(store, &Handler::ready(), &OPTIONS);
    is_down.store(true, Relaxed);
    assert_eq!(a.reply(offer("f")).await, answered(1), "it fails open");
    is_down.store(false, Relaxed);
    sleep(SECOND).await;
    assert_eq!(a.stats().store_messages, 0);
    assert_eq!(a.call(offer("g")).await, answered(2));
    assert_eq!(a.stats().store_failures, 2, "a claim and a completion");
}

#[tokio::test(start_paused = true)]
async fn slow_clear_is_sent_once() {
    let (mut store, _) = FaultyStore::new(&MemoryStore::new(), false);
    store.clear_delay = SECOND;
    let calls = Arc::clone(&store.calls);
    let a = node(store, &Handler::ready(), &OPTIONS);
    a.handle.clear();
    sleep(15 * SECOND).await;
    assert_eq!(calls.load(Relaxed), 1);
    let stats = a.stats();
    assert_eq!((stats.store_failures, stats.store_messages_dropped), (0, 0));
    assert_eq!(a.call(offer("f")).await, answered(1));
}

#[test]
fn drain_outlives_the_runtime_that_delivers() {
    let (store, is_down) = FaultyStore::new(&MemoryStore::new(), false);
    is_down.store(true, Relaxed);
    let a = node(store, &Handler::ready(), &OPTIONS);
    let delivering = paused();
    delivering.block_on(async {
        a.handle.forget("p");
        settle().await;
    });
    paused().block_on(async {
        let mut drained = pin!(a.handle.drain());
        assert!(timeout(SECOND / 10, &mut drained).await.is_err());
        is_down.store(false, Relaxed);
        thread::spawn(|| drop(delivering)).join().unwrap();
        assert!(timeout(60 * SECOND, drained).await.is_ok(), "{:?}", a.handle);
    });
}

/// A claim that a newer offer of the same node displaces is released a second later.
#[tokio::test(start_paused = true)]
async fn drain_waits_for_late_releases() {
    let handler = Handler::held();
    let options = Options {
        when_busy: WhenBusy::Supersede,
        ..OPTIONS
    };
    let [a, _b] = two_nodes(&handler, &options);
    let first = a.send(offer("f"));
    settle().await;
    let second = a.send(offer("g"));
    handler.answer();
    handler.answer();
    first.await.unwrap();
    second.await.unwrap();
    let start = Instant::now();
    a.handle.drain().await;
    assert!(start.elapsed() > SECOND / 2, "{:?}", start.elapsed());
}
