//! The behaviour table: the decision on an offer in each state of its peer.

mod support;

use std::time::Duration;

use support::{End, ManualService, Message, Reply, offer, offers, other, reason, refuse};
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task::spawn};
use tower::{Layer, Service};
use tower_offer_dedup::{OfferDedupLayer, Reason, Refuse, Replay};

const SECOND: Duration = Duration::from_secs(1);

macro_rules! layer {
    ($answer:expr) => {
        OfferDedupLayer::builder()
            .offers(offers as fn(&Message) -> _)
            .answer($answer)
            .build()
    };
}

#[tokio::test(start_paused = true)]
async fn refuse_follows_the_behaviour_table() {
    let manual = ManualService::default();
    let mut service = layer!(Refuse::with(refuse)).layer(manual.clone());

    let mut first = spawn(service.call(offer("p", "f")));
    assert_pending!(first.poll());
    let in_flight = assert_ready!(spawn(service.call(offer("p", "f"))).poll());
    assert_eq!(in_flight, Ok(Reply::Refused(Reason::InFlight, Some(SECOND))));
    let busy = assert_ready!(spawn(service.call(offer("p", "g"))).poll());
    assert_eq!(busy, Ok(Reply::Refused(Reason::Busy, Some(SECOND))));

    manual.end(End::Answer);
    assert_eq!(assert_ready_ok!(first.poll()), Reply::Answer(0));
    let processed = assert_ready!(spawn(service.call(offer("p", "f"))).poll());
    assert_eq!(processed, Ok(Reply::Refused(Reason::Processed, None)));
    advance(SECOND / 2).await;
    let cooling = assert_ready!(spawn(service.call(offer("p", "g"))).poll());
    assert_eq!(cooling, Ok(Reply::Refused(Reason::CoolingDown, Some(3 * SECOND / 2))));

    advance(3 * SECOND / 2).await;
    assert_pending!(spawn(service.call(offer("p", "g"))).poll());
    assert_eq!(manual.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn replay_follows_the_behaviour_table() {
    let manual = ManualService::default();
    let mut service = layer!(Replay::with(refuse)).layer(manual.clone());

    let mut first = spawn(service.call(offer("p", "f")));
    assert_pending!(first.poll());
    let mut waiting = spawn(service.call(offer("p", "f")));
    assert_pending!(waiting.poll());
    assert_eq!(
        reason(assert_ready!(spawn(service.call(offer("p", "g"))).poll())),
        Reason::Busy
    );

    manual.end(End::Answer);
    assert_eq!(assert_ready_ok!(first.poll()), Reply::Answer(0));
    assert!(waiting.is_woken());
    assert_eq!(assert_ready_ok!(waiting.poll()), Reply::Answer(0));
    let mut later = spawn(service.call(offer("p", "f")));
    assert_eq!(assert_ready_ok!(later.poll()), Reply::Answer(0));
    assert_eq!(
        reason(assert_ready!(spawn(service.call(offer("p", "g"))).poll())),
        Reason::CoolingDown
    );
    assert_eq!(manual.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn other_requests_pass() {
    let manual = ManualService::default();
    let layer = layer!(Refuse::with(refuse));
    let mut service = layer.layer(manual.clone());

    let mut calls = [(); 3].map(|()| spawn(service.call(other("p"))));
    for call in &mut calls {
        assert_pending!(call.poll());
        manual.end(End::Answer);
        assert_ready_ok!(call.poll());
    }
    assert_eq!(layer.handle().stats().passed, 3);
}

#[tokio::test(start_paused = true)]
async fn offer_is_processed_after_window() {
    let manual = ManualService::default();
    let mut service = layer!(Refuse::with(refuse)).layer(manual.clone());
    let mut first = spawn(service.call(offer("p", "f")));
    assert_pending!(first.poll());
    manual.end(End::Answer);
    assert_ready_ok!(first.poll());

    advance(10 * SECOND - Duration::from_nanos(1)).await;
    assert_eq!(
        reason(assert_ready!(spawn(service.call(offer("p", "f"))).poll())),
        Reason::Processed
    );
    advance(Duration::from_nanos(1)).await;
    assert_pending!(spawn(service.call(offer("p", "f"))).poll());
}
