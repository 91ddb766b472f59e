//! Calls of a store that go wrong: it panics, it is slow, or there is no runtime.

#[path = "support/faulty_store.rs"]
mod faulty_store;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{
            AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use faulty_store::FaultyStore;
use tokio::{
    runtime::Builder,
    time::{advance, sleep, timeout},
};
use tower::{Layer, Service, service_fn, util::BoxCloneSyncService};
use tower_offer_dedup::{
    Fingerprint, Offer, OfferDedupHandle, OfferDedupLayer, Refuse,
    store::{MemoryStore, SharedStore},
};

const SECOND: Duration = Duration::from_secs(1);

/// A peer, and the text of its offer.
type Message = (&'static str, &'static str);

/// A layer around a handler that answers `true`. It refuses with `false`.
struct Node {
    service: BoxCloneSyncService<Message, bool, Infallible>,
    handle: OfferDedupHandle,
    calls: Arc<AtomicUsize>,
}

impl Node {
    fn new(store: impl SharedStore) -> Self {
        let layer = OfferDedupLayer::builder()
            .cooldown(Duration::ZERO)
            .window(3600 * SECOND)
            .offers(|(peer, text): &Message| Some(Offer::new(*peer, Fingerprint::exact(text.as_bytes()))))
            .answer(Refuse::with(|_| false))
            .store(store)
            .build();
        let calls = Arc::new(AtomicUsize::new(0));
        let inner = {
            let calls = Arc::clone(&calls);
            service_fn(move |_: Message| {
                calls.fetch_add(1, SeqCst);
                async { Ok(true) }
            })
        };
        Self {
            handle: layer.handle(),
            service: BoxCloneSyncService::new(layer.layer(inner)),
            calls,
        }
    }

    async fn is_processed(&self, peer: &'static str, text: &'static str) -> bool {
        let Ok(is_processed) = self.service.clone().call((peer, text)).await;
        is_processed
    }
}

fn paused() -> tokio::runtime::Runtime {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

#[test]
fn forget_without_runtime_is_drained() {
    let store = MemoryStore::new();
    let (a, b) = (Node::new(store.node()), Node::new(store.node()));
    let runtime = paused();
    assert!(runtime.block_on(b.is_processed("p", "f")));
    a.handle.forget("p");
    runtime.block_on(async {
        let drained = timeout(60 * SECOND, a.handle.drain()).await;
        assert!(drained.is_ok(), "{:?}", a.handle);
        assert!(b.is_processed("p", "f").await);
    });
}

#[test]
fn overdue_forget_is_not_sent() {
    let store = MemoryStore::new();
    let (a, b) = (Node::new(store.node()), Node::new(store.node()));
    a.handle.forget("p");
    paused().block_on(async {
        advance(11 * SECOND).await;
        assert!(b.is_processed("p", "f").await);
        assert!(a.is_processed("q", "f").await);
        sleep(SECOND).await;
        assert!(!b.is_processed("p", "f").await, "it was processed after the forget");
        let stats = a.handle.stats();
        assert_eq!((stats.store_messages, stats.store_messages_dropped), (0, 1));
    });
}

#[tokio::test(start_paused = true)]
async fn panicking_store_has_failed() {
    let (mut store, is_down) = FaultyStore::new(&MemoryStore::new(), false);
    store.panics = true;
    let node = Node::new(store);
    is_down.store(true, Relaxed);
    assert!(node.is_processed("p", "f").await, "it fails open");
    is_down.store(false, Relaxed);
    sleep(SECOND).await;
    assert_eq!(node.handle.stats().store_messages, 0);
    assert!(node.handle.stats().store_failures > 0);
    assert!(node.is_processed("p", "g").await);
    assert_eq!(node.handle.stats().store_failures, 2, "a claim and a completion");
}

#[tokio::test(start_paused = true)]
async fn slow_clear_is_sent_once() {
    let (mut store, _) = FaultyStore::new(&MemoryStore::new(), false);
    store.clear_delay = SECOND;
    let calls = Arc::clone(&store.calls);
    let node = Node::new(store);
    node.handle.clear();
    sleep(15 * SECOND).await;
    assert_eq!(calls.load(Relaxed), 1);
    let stats = node.handle.stats();
    assert_eq!((stats.store_failures, stats.store_messages_dropped), (0, 0));
    assert!(node.is_processed("p", "f").await);
    assert_eq!(node.calls.load(SeqCst), 1);
}
