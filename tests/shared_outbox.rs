//! Messages that wait for an unreachable store are bounded, and are delivered once it is back.

#[path = "support/faulty_store.rs"]
mod faulty_store;
#[path = "support/shared_nodes.rs"]
mod shared_nodes;

use std::sync::atomic::Ordering::Relaxed;

use faulty_store::FaultyStore;
use shared_nodes::{Handler, Message, OPTIONS, SECOND, answered, node, offer, settle};
use tokio::time::sleep;
use tower_offer_dedup::store::MemoryStore;

const MAX_MESSAGES: u64 = 4096;

fn offer_of(peer: &'static str) -> Message {
    Message { peer, ..offer("f") }
}

#[tokio::test(start_paused = true)]
async fn newest_messages_are_dropped() {
    const PEERS: [&str; 4] = ["first", "middle", "late", "last"];
    let handler = Handler::ready();
    let store = MemoryStore::new();
    let (faulty, is_down) = FaultyStore::new(&store, false);
    let [a, b] = [node(faulty, &handler, &OPTIONS), node(store.node(), &handler, &OPTIONS)];
    for (n, peer) in PEERS.into_iter().enumerate() {
        assert_eq!(b.call(offer_of(peer)).await, answered(n + 1));
    }
    assert_eq!(a.call(offer("f")).await, answered(5));

    is_down.store(true, Relaxed);
    for n in 0..MAX_MESSAGES + 100 {
        match n {
            0 => drop(a.handle.forget("first")),
            2000 => drop(a.handle.forget("middle")),
            MAX_MESSAGES => drop(a.handle.forget("late")),
            n => drop(a.handle.forget(n)),
        }
    }
    a.handle.forget("last");
    settle().await;
    let stats = a.stats();
    assert_eq!(
        (stats.store_messages, stats.store_messages_dropped),
        (MAX_MESSAGES, 101)
    );

    is_down.store(false, Relaxed);
    // A window is 10 s.
    sleep(5 * SECOND).await;
    let stats = a.stats();
    assert_eq!((stats.store_messages, stats.store_messages_dropped), (0, 101));
    assert_eq!(stats.store_down, 0);
    for (peer, number) in PEERS.into_iter().zip([6, 7, 3, 4]) {
        assert_eq!(b.call(offer_of(peer)).await, answered(number), "{peer}");
    }
    // There is room again.
    a.handle.forget("last");
    settle().await;
    assert_eq!(b.call(offer_of("last")).await, answered(8));
}

#[tokio::test(start_paused = true)]
async fn unacknowledged_messages_expire() {
    let (faulty, is_down) = FaultyStore::new(&MemoryStore::new(), false);
    let a = node(faulty, &Handler::ready(), &OPTIONS);
    is_down.store(true, Relaxed);
    for n in 0..100 {
        a.handle.forget(n);
    }
    sleep(9 * SECOND).await;
    assert_eq!((a.stats().store_messages, a.stats().store_down), (100, 1));
    sleep(2 * SECOND).await;
    assert_eq!((a.stats().store_messages, a.stats().store_messages_dropped), (0, 100));
}
