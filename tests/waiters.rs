//! Waiters keep their places, get a retry hint, and are not woken without a reason.

mod support;

use std::time::Duration;

use support::{End, ManualService, Reply, SECOND, builder, is_answer, offer, pending, refuse, through};
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready_ok};
use tower::Layer;
use tower_offer_dedup::{Replay, WhenBusy};

#[tokio::test(start_paused = true)]
async fn followers_keep_places_when_leader_fails() {
    let manual = ManualService::default();
    let answer = Replay::with(refuse).max_waiters(2);
    let mut service = builder(answer).build().layer(manual.clone());
    let leader = pending(&mut service, offer("p", "f"));
    let mut waiting = [(); 2].map(|()| pending(&mut service, offer("p", "f")));

    drop(leader);
    let mut newcomers = [(); 2].map(|()| pending(&mut service, offer("p", "f")));
    for waiting in &mut waiting {
        assert_pending!(waiting.poll());
    }
    assert!(manual.was_dropped());
    manual.end(End::Answer);
    for call in newcomers.iter_mut().chain(&mut waiting) {
        assert_eq!(assert_ready_ok!(call.poll()), Reply::Answer(1));
    }
}

#[tokio::test(start_paused = true)]
async fn unrecorded_failure_may_be_retried() {
    let manual = ManualService::default();
    let answer = Replay::with(refuse).success_if(is_answer).weigher(|_: &Reply| None);
    let mut service = builder(answer).build().layer(manual.clone());
    let mut leader = pending(&mut service, offer("p", "f"));
    let mut waiting = pending(&mut service, offer("p", "f"));

    manual.end(End::Failure);
    assert_ready_ok!(leader.poll());
    // `NotRecorded` would be wrong: its sender must not retry, so the offer would be lost.
    match waiting.poll() {
        std::task::Poll::Ready(reply) => assert!(matches!(reply, Ok(Reply::Refused(_, Some(_)))), "{reply:?}"),
        std::task::Poll::Pending => assert_eq!(manual.calls(), 2),
    }
}

const QUEUE: WhenBusy = WhenBusy::Queue {
    depth: 8,
    timeout: Duration::from_secs(10),
};

#[tokio::test(start_paused = true)]
async fn leaving_the_queue_wakes_nobody_ahead() {
    let manual = ManualService::default();
    let mut service = builder(Replay::with(refuse))
        .when_busy(QUEUE)
        .build()
        .layer(manual.clone());
    through(&mut service, &manual, offer("p", "f"), End::Answer).unwrap();
    let mut front = pending(&mut service, offer("p", "g"));
    for text in ["h", "i", "j"] {
        drop(pending(&mut service, offer("p", text)));
    }
    assert!(!front.is_woken());
    advance(2 * SECOND).await;
    assert!(front.is_woken());
    assert_pending!(front.poll());
    assert_eq!(manual.calls(), 2);
}
