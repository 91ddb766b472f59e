//! A response future dropped at any moment leaves nothing behind, on its node and in the store.

#[path = "support/faulty_store.rs"]
mod faulty_store;
#[path = "support/shared_nodes.rs"]
mod shared_nodes;

use std::{future::poll_fn, sync::atomic::Ordering::Relaxed, task::Poll, time::Duration};

use faulty_store::FaultyStore;
use shared_nodes::{Handler, OPTIONS, Options, QUEUE, SECOND, answered, node, offer, settle};
use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};
use tower_offer_dedup::{
    WhenBusy,
    store::{MemoryStore, OnStoreError},
};

/// The node that processes another offer of the peer when the dropped one arrives.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rival {
    None,
    Here,
    Elsewhere,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    when_busy: WhenBusy,
    detached: bool,
    rival: Rival,
    /// `Some` if the store fails when the offer arrives. Its calls take effect all the same.
    down: Option<OnStoreError>,
}

/// The moment at which the response future is dropped.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// Right after so many polls.
    Polled(usize),
    /// When it is woken after so many polls.
    Woken(usize),
    /// After so many steps of time. Detached work goes on while its future is not polled.
    Later(u32),
}

/// Shorter than the store's replies, and no fraction of them.
const STEP: Duration = Duration::from_millis(150);

fn alive_tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Polls a future until that moment, then drops it. Returns whether it was ready.
async fn drop_at<F: Future>(moment: Moment, future: F) -> bool {
    let (mut polls, drops_when_woken) = match moment {
        Moment::Polled(polls) => (polls, false),
        Moment::Woken(polls) => (polls, true),
        Moment::Later(steps) => return timeout(steps * STEP, future).await.is_ok(),
    };
    let mut future = Box::pin(future);
    poll_fn(move |cx| {
        if polls == 0 {
            return Poll::Ready(false);
        }
        polls -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if polls == 0 && !drops_when_woken => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Drops an offer at that moment. Returns whether it was answered before.
async fn leaves_nothing(case: Case, moment: Moment) -> bool {
    assert_eq!(alive_tasks(), 0);
    let what = format!("{moment:?}, {case:?}");
    let handler = Handler::ready().taking(5 * SECOND, SECOND / 2);
    let options = Options {
        when_busy: case.when_busy,
        detached: case.detached,
        on_store_error: case.down.unwrap_or_default(),
        ..OPTIONS
    };
    let store = MemoryStore::new();
    let (mut slow, is_down) = FaultyStore::new(&store, true);
    slow.reply_delay = Duration::from_millis(200);
    let a = node(slow, &handler, &options);
    let b = node(store.node(), &handler, &options);
    match case.rival {
        Rival::None => {}
        Rival::Here => drop(a.send(offer("rival"))),
        Rival::Elsewhere => drop(b.send(offer("rival"))),
    }
    sleep(SECOND).await;

    is_down.store(case.down.is_some(), Relaxed);
    let is_done = drop_at(moment, a.reply(offer("f"))).await;
    is_down.store(false, Relaxed);
    // A store that has failed does not know that detached work is abandoned.
    if case.rival == Rival::None && !(case.detached && case.down.is_some()) {
        sleep(2 * SECOND).await;
        assert_eq!(b.call(offer("g")).await.0, 201, "{what}");
    }
    sleep(60 * SECOND).await;
    let calls = handler.calls();
    assert_eq!(b.call(offer("h")).await, answered(calls + 1), "{what}");
    let listeners = usize::from(a.stats().offers() > 0) + 1;
    assert_eq!(alive_tasks(), listeners, "{what}");
    assert_eq!(handler.running(), 0, "{what}");
    for node in [&a, &b] {
        let held: Vec<_> = node.stats().gauges().collect();
        let held = held.iter().filter(|(name, value)| {
            let names = ["claims", "waiters", "store_messages", "store_down"];
            names.contains(name) && *value > 0
        });
        assert_eq!(held.count(), 0, "{what}: {:?}", node.stats());
    }
    // The handler keeps the sessions.
    drop((a, b, handler));
    settle().await;
    assert_eq!(alive_tasks(), 0, "{what}");
    is_done
}

async fn every_drop_leaves_nothing(when_busy: WhenBusy) {
    for detached in [false, true] {
        for rival in [Rival::None, Rival::Here, Rival::Elsewhere] {
            for down in [None, Some(OnStoreError::FailOpen), Some(OnStoreError::FailClosed)] {
                let case = Case {
                    when_busy,
                    detached,
                    rival,
                    down,
                };
                let mut polls = 0;
                while !leaves_nothing(case, Moment::Polled(polls)).await {
                    leaves_nothing(case, Moment::Woken(polls)).await;
                    polls += 1;
                }
                let mut steps = 0;
                while !leaves_nothing(case, Moment::Later(steps)).await {
                    steps += 1;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_offer_leaves_nothing() {
    every_drop_leaves_nothing(WhenBusy::Refuse).await;
}

#[tokio::test(start_paused = true)]
async fn dropped_queued_offer_leaves_nothing() {
    every_drop_leaves_nothing(QUEUE).await;
}

#[tokio::test(start_paused = true)]
async fn dropped_superseding_offer_leaves_nothing() {
    every_drop_leaves_nothing(WhenBusy::Supersede).await;
}

#[tokio::test(start_paused = true)]
async fn dropped_completion_is_repeated() {
    let handler = Handler::held();
    let store = MemoryStore::new();
    let (mut slow, is_down) = FaultyStore::new(&store, false);
    slow.reply_delay = Duration::from_millis(200);
    let [a, b] = [node(slow, &handler, &OPTIONS), node(store.node(), &handler, &OPTIONS)];
    let first = a.send(offer("f"));
    sleep(SECOND).await;
    is_down.store(true, Relaxed);
    handler.answer();
    sleep(SECOND / 10).await;
    assert_eq!((handler.running(), first.is_finished()), (0, false));
    first.abort();
    settle().await;
    is_down.store(false, Relaxed);
    sleep(SECOND).await;
    handler.answer();
    assert_eq!(b.call(offer("g")).await, answered(2));
    assert_eq!(b.call(offer("f")).await, answered(1));
}
