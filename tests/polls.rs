//! A waiter is polled only when its state may have changed.

mod support;

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use support::{Broken, End, ManualService, Reply, SECOND, builder, counted, offer, refuse, settle};
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
    let manual = ManualService::default();
    let mut service = builder(Replay::with(refuse)).build().layer(manual.clone());
    let leader = tokio::spawn(service.call(offer("p", "f")));
    settle().await;
    let mut polls = Vec::new();
    for _ in 0..10 {
        let (call, polled) = counted(service.call(offer("p", "f")));
        polls.push((tokio::spawn(call), polled));
    }
    settle().await;
    advance(SECOND).await;
    manual.end(End::Broken);
    settle().await;
    advance(SECOND).await;
    manual.end(End::Answer);
    assert_eq!(leader.await.unwrap(), Err(Broken));
    for (call, polled) in polls {
        assert_eq!(call.await.unwrap(), Ok(Reply::Answer(1)));
        assert!(polled.load(Relaxed) <= 3, "polled {polled:?} times");
    }

    // A queue behind a cooldown, until the inner service is called.
    let manual = ManualService::default();
    let layer = builder(Replay::with(refuse)).when_busy(QUEUE).build();
    let mut service = layer.layer(manual.clone());
    let first = tokio::spawn(service.call(offer("p", "f")));
    let (second, polled) = counted(service.call(offer("p", "g")));
    let second = tokio::spawn(second);
    settle().await;
    manual.end(End::Answer);
    first.await.unwrap().unwrap();
    for _ in 0..200 {
        advance(SECOND / 100).await;
    }
    settle().await;
    assert_eq!(manual.calls(), 2);
    assert!(polled.load(Relaxed) <= 3, "polled {polled:?} times");
    manual.end(End::Answer);
    assert_eq!(second.await.unwrap(), Ok(Reply::Answer(1)));
}
