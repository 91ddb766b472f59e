//! Requests that wait for one offer, on its node and on others, share what becomes of it.

#[path = "support/faulty_store.rs"]
mod faulty_store;
#[path = "support/shared_nodes.rs"]
mod shared_nodes;

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use faulty_store::FaultyStore;
use http::StatusCode;
use shared_nodes::{Handler, Node, OPTIONS, Options, SECOND, answered, node, offer, refused, settle};
use tokio::time::{Instant, sleep};
use tower_offer_dedup::{
    WhenBusy,
    store::{MemoryStore, OnStoreError},
};

/// Sends "f" four times to a node whose store replies late. Returns the one reply that all of them get.
async fn asked_once(options: &Options, is_down: bool, prepare: impl AsyncFnOnce(&Node)) -> (u16, String) {
    let handler = Handler::ready().taking(SECOND, Duration::ZERO);
    let store = MemoryStore::new();
    let (mut slow, down) = FaultyStore::new(&store, false);
    slow.reply_delay = Duration::from_millis(200);
    down.store(is_down, Relaxed);
    let claims = slow.claims.clone();
    let [a, b] = [node(slow, &handler, options), node(store.node(), &handler, options)];
    prepare(&b).await;
    let calls = handler.calls();
    let requests = [(); 4].map(|()| a.send(offer("f")));
    settle().await;
    assert_eq!((a.stats().claims, a.stats().waiters), (1, 3));
    let sent = Instant::now();
    let mut replies = Vec::new();
    for request in requests {
        replies.push(request.await.unwrap());
    }
    assert!(sent.elapsed() < SECOND / 4, "they wait for one reply of the store");
    replies.dedup();
    assert_eq!((claims.load(Relaxed), handler.calls()), (1, calls));
    assert_eq!((a.stats().refused(), a.stats().waiters, a.stats().claims), (4, 0, 0));
    assert_eq!(replies.len(), 1, "{replies:?}");
    replies.remove(0)
}

#[tokio::test(start_paused = true)]
async fn busy_store_refuses_followers() {
    let reply = asked_once(&OPTIONS, false, async |other| {
        drop(other.send(offer("g")));
        settle().await;
    });
    assert_eq!(reply.await, refused(409, "busy"));
}

#[tokio::test(start_paused = true)]
async fn cooling_store_refuses_followers() {
    let options = Options {
        cooldown: 2 * SECOND,
        ..OPTIONS
    };
    let reply = asked_once(&options, false, async |other| drop(other.call(offer("g")).await));
    assert_eq!(reply.await, refused(409, "cooling_down"));
}

#[tokio::test(start_paused = true)]
async fn superseded_mark_refuses_followers() {
    let options = Options {
        when_busy: WhenBusy::Supersede,
        ..OPTIONS
    };
    let reply = asked_once(&options, false, async |other| {
        drop(other.send(offer("f")));
        settle().await;
        drop(other.call(offer("g")).await);
    });
    assert_eq!(reply.await, refused(409, "superseded"));
}

#[tokio::test(start_paused = true)]
async fn unreachable_store_refuses_followers() {
    let options = Options {
        on_store_error: OnStoreError::FailClosed,
        ..OPTIONS
    };
    let reply = asked_once(&options, true, async |_| ());
    assert_eq!(reply.await, refused(503, "store_unavailable"));
}

/// Sends a bad offer four times to each of three nodes at once. Returns how often it is processed.
async fn storm_of_failure(options: &Options) -> usize {
    let handler = Handler::ready().taking(SECOND, Duration::ZERO);
    *handler.status.lock().unwrap() = StatusCode::NOT_ACCEPTABLE;
    let store = MemoryStore::new();
    let nodes = [(); 3].map(|()| node(store.node(), &handler, options));
    let requests: Vec<_> = (0..12).map(|n| nodes[n % 3].send(offer("f"))).collect();
    let mut replies = Vec::new();
    for request in requests {
        replies.push(request.await.unwrap());
    }
    for (n, (status, body)) in replies.iter().enumerate() {
        assert_eq!((*status, body), (406, &replies[n % 3].1), "a node has one answer");
    }
    handler.calls()
}

#[tokio::test(start_paused = true)]
async fn failure_runs_once_on_each_node() {
    assert_eq!(storm_of_failure(&OPTIONS).await, 3);
}

#[tokio::test(start_paused = true)]
async fn remembered_failure_stays_on_its_node() {
    let options = Options {
        remembers_failures: true,
        ..OPTIONS
    };
    assert_eq!(storm_of_failure(&options).await, 3);
}

/// A store need not notify more than 8 nodes. The others ask each second.
#[tokio::test(start_paused = true)]
async fn followers_without_notice_get_answer() {
    for held in [Duration::ZERO, 5 * SECOND / 2] {
        let handler = Handler::held();
        let store = MemoryStore::new();
        let a = node(store.node(), &handler, &OPTIONS);
        let others: Vec<_> = (0..12)
            .map(|n| {
                let (mut other, _) = FaultyStore::new(&store, false);
                other.is_deaf = n >= 8;
                node(other, &handler, &OPTIONS)
            })
            .collect();
        let first = a.send(offer("f"));
        settle().await;
        let followers: Vec<_> = others.iter().map(|other| other.send(offer("f"))).collect();
        sleep(held).await;
        handler.answer();
        let answered_at = Instant::now();
        assert_eq!(first.await.unwrap(), answered(1));
        settle().await;
        let woken: Vec<_> = followers.iter().map(tokio::task::JoinHandle::is_finished).collect();
        assert_eq!(woken, [[true; 8].as_slice(), &[false; 4]].concat());
        for follower in followers {
            assert_eq!(follower.await.unwrap(), answered(1));
        }
        assert!(answered_at.elapsed() < SECOND * 5 / 4, "held for {held:?}");
        assert_eq!(handler.calls(), 1);
    }
}
