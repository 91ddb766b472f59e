//! `drain` waits for claims and for accepted waiters until their own deadline, and for nothing else.

mod support;

use std::{
    convert::Infallible,
    future::{Pending, pending as never},
};

use support::{
    End, ManualService, Message, NANO, SECOND,
    layered::{Layered, Policy, queueing},
    offer, pending, refuse, settle,
};
use tokio::time::{Instant, advance, timeout};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task::spawn};
use tower::{Layer, Service};
use tower_offer_dedup::{
    OfferDedupLayer, Refuse,
    extract::{ExtractOffer, Found},
};

/// Waits for `drain`, at most a minute, and returns the seconds that it took.
async fn drained(layered: &Layered) -> u64 {
    let start = Instant::now();
    let drain = timeout(60 * SECOND, layered.handle.drain());
    drain.await.expect("it drains within a minute");
    // A timer is up to a millisecond late.
    start.elapsed().as_secs()
}

/// The peer cools down for 2 s, and no claim is held.
fn cooling(policy: Policy) -> Layered {
    let mut layered = Layered::new(policy, queueing);
    let mut first = pending(&mut layered.service, offer("p", "f"));
    layered.manual.end(End::Answer);
    assert_ready_ok!(first.poll());
    layered
}

#[tokio::test(start_paused = true)]
async fn drain_waits_for_a_queued_offer() {
    let mut layered = cooling(Policy::Refuse);
    let mut queued = pending(&mut layered.service, offer("p", "g"));
    let handle = layered.handle.clone();
    let mut drain = spawn(handle.drain());
    assert_pending!(drain.poll(), "an offer is queued");
    advance(2 * SECOND).await;
    assert_pending!(queued.poll());
    assert_pending!(drain.poll(), "its claim is held");
    layered.manual.end(End::Answer);
    assert_ready_ok!(queued.poll());
    assert!(drain.is_woken());
    assert_ready!(drain.poll());
}

#[tokio::test(start_paused = true)]
async fn drain_waits_for_a_follower() {
    let mut layered = Layered::new(Policy::Replay, |builder| builder);
    let mut first = pending(&mut layered.service, offer("p", "f"));
    let mut follower = pending(&mut layered.service, offer("p", "f"));
    layered.manual.end(End::Answer);
    assert_ready_ok!(first.poll());
    let handle = layered.handle.clone();
    let mut drain = spawn(handle.drain());
    assert_pending!(drain.poll(), "a duplicate has no answer yet");
    assert_ready_ok!(follower.poll());
    drop((first, follower));
    assert!(drain.is_woken());
    assert_ready!(drain.poll());
}

/// An unpolled future delays `drain` until its deadline, and no longer.
#[tokio::test(start_paused = true)]
async fn drain_ends_at_the_queue_deadline() {
    let mut layered = cooling(Policy::Refuse);
    let _held = layered.call(offer("p", "g"));
    advance(4 * SECOND).await;
    assert_eq!(drained(&layered).await, 6);
}

#[tokio::test(start_paused = true)]
async fn drain_ends_at_the_follower_deadline() {
    let mut layered = Layered::new(Policy::Replay, |builder| builder);
    let mut first = pending(&mut layered.service, offer("p", "f"));
    advance(3 * SECOND).await;
    let _held = layered.call(offer("p", "f"));
    layered.manual.end(End::Answer);
    assert_ready_ok!(first.poll());
    assert_eq!(drained(&layered).await, 10);
}

#[tokio::test(start_paused = true)]
async fn drain_ends_with_the_last_waiter() {
    let mut layered = cooling(Policy::Refuse);
    let queued = ["g", "h"].map(|text| pending(&mut layered.service, offer("p", text)));
    let handle = layered.handle.clone();
    let mut drain = spawn(handle.drain());
    for call in queued {
        assert_pending!(drain.poll());
        drop(call);
    }
    assert!(drain.is_woken());
    assert_ready!(drain.poll());
}

#[tokio::test(start_paused = true)]
async fn drain_waits_for_forgotten_waiters() {
    let mut layered = cooling(Policy::Refuse);
    let mut queued = pending(&mut layered.service, offer("p", "g"));
    assert!(layered.handle.forget("p"));
    let handle = layered.handle.clone();
    let mut drain = spawn(handle.drain());
    assert_pending!(drain.poll(), "it decides anew");
    assert_pending!(queued.poll());
    layered.manual.end(End::Answer);
    assert_ready_ok!(queued.poll());
    assert_ready!(drain.poll());
}

/// Every waiter has a deadline of its own.
#[tokio::test(start_paused = true)]
async fn drain_waits_for_the_latest_deadline() {
    let mut layered = cooling(Policy::Refuse);
    let _first = layered.call(offer("p", "g"));
    advance(SECOND).await;
    let _second = layered.call(offer("p", "h"));
    let handle = layered.handle.clone();
    let mut drain = spawn(handle.drain());
    assert_pending!(drain.poll());
    advance(10 * SECOND - NANO).await;
    settle().await;
    assert_pending!(drain.poll());
    assert_eq!(drained(&layered).await, 0);
}

/// Never finishes reading a request.
struct Unread;

impl ExtractOffer<Message> for Unread {
    type Request = Message;
    type Read = Pending<Found<Message, Infallible>>;

    fn extract(&self, _: Message) -> Found<Message, Self::Read> {
        Found::Read(never())
    }
}

#[tokio::test(start_paused = true)]
async fn drain_waits_for_no_body() {
    let layer = OfferDedupLayer::builder()
        .offers(Unread)
        .answer(Refuse::with(refuse))
        .build();
    let mut reading = spawn(layer.layer(ManualService::default()).call(offer("p", "f")));
    assert_pending!(reading.poll());
    assert_ready!(spawn(layer.handle().drain()).poll());
}
