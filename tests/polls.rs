//! A waiter is polled only when its state may have changed.

mod common;

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use common::{Broken, Desk, End, Reply, SECOND, builder, counted, offer, refuse, settle};
use tokio::time::advance;
use tower::{Layer, Service};
use tower_offer_dedup::{Replay, WhenBusy};

const QUEUE: WhenBusy = WhenBusy::Queue {
    depth: 8,
    timeout: Duration::from_secs(10),
};

#[tokio::test(start_paused = true)]
async fn waiters_are_polled_at_most_thrice() {
    // A storm in which the first leader is lost.
    let desk = Desk::default();
    let mut service = builder(Replay::with(refuse)).build().layer(desk.clone());
    let leader = tokio::spawn(service.call(offer("p", "f")));
    settle().await;
    let mut polls = Vec::new();
    for _ in 0..10 {
        let (call, polled) = counted(service.call(offer("p", "f")));
        polls.push((tokio::spawn(call), polled));
    }
    settle().await;
    advance(SECOND).await;
    desk.end(End::Broken);
    settle().await;
    advance(SECOND).await;
    desk.end(End::Answer);
    assert_eq!(leader.await.unwrap(), Err(Broken));
    for (call, polled) in polls {
        assert_eq!(call.await.unwrap(), Ok(Reply::Answer(1)));
        assert!(polled.load(Relaxed) <= 3, "polled {polled:?} times");
    }

    // A queue behind a cooldown, until the inner service is called.
    let desk = Desk::default();
    let layer = builder(Replay::with(refuse)).when_busy(QUEUE).build();
    let mut service = layer.layer(desk.clone());
    let first = tokio::spawn(service.call(offer("p", "f")));
    let (second, polled) = counted(service.call(offer("p", "g")));
    let second = tokio::spawn(second);
    settle().await;
    desk.end(End::Answer);
    first.await.unwrap().unwrap();
    for _ in 0..200 {
        advance(SECOND / 100).await;
    }
    settle().await;
    assert_eq!(desk.calls(), 2);
    assert!(polled.load(Relaxed) <= 3, "polled {polled:?} times");
    desk.end(End::Answer);
    assert_eq!(second.await.unwrap(), Ok(Reply::Answer(1)));
}
