//! `drain` waits for claims and for accepted waiters until their own deadline, and for nothing else.

mod common;

use std::{
    convert::Infallible,
    future::{Pending, pending as never},
};

use common::{
    Desk, End, Message, NANO, SECOND, offer, pending, refuse, settle,
    station::{Policy, Station, queueing},
};
use tokio::time::{Instant, advance, timeout};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task::spawn};
use tower::{Layer, Service};
use tower_offer_dedup::{
    OfferDedupLayer, Refuse,
    extract::{ExtractOffer, Found},
};

/// Waits for `drain`, at most a minute, and returns the seconds that it took.
async fn drained(station: &Station) -> u64 {
    let start = Instant::now();
    let drain = timeout(60 * SECOND, station.handle.drain());
    drain.await.expect("it drains within a minute");
    // A timer is up to a millisecond late.
    start.elapsed().as_secs()
}

/// The peer cools down for 2 s, and no claim is held.
fn cooling(policy: Policy) -> Station {
    let mut station = Station::new(policy, queueing);
    let mut first = pending(&mut station.service, offer("p", "f"));
    station.desk.end(End::Answer);
    assert_ready_ok!(first.poll());
    station
}

#[tokio::test(start_paused = true)]
async fn drain_waits_for_a_queued_offer() {
    let mut station = cooling(Policy::Refuse);
    let mut queued = pending(&mut station.service, offer("p", "g"));
    let handle = station.handle.clone();
    let mut drain = spawn(handle.drain());
    assert_pending!(drain.poll(), "an offer is queued");
    advance(2 * SECOND).await;
    assert_pending!(queued.poll());
    assert_pending!(drain.poll(), "its claim is held");
    station.desk.end(End::Answer);
    assert_ready_ok!(queued.poll());
    assert!(drain.is_woken());
    assert_ready!(drain.poll());
}

#[tokio::test(start_paused = true)]
async fn drain_waits_for_a_follower() {
    let mut station = Station::new(Policy::Replay, |builder| builder);
    let mut first = pending(&mut station.service, offer("p", "f"));
    let mut follower = pending(&mut station.service, offer("p", "f"));
    station.desk.end(End::Answer);
    assert_ready_ok!(first.poll());
    let handle = station.handle.clone();
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
    let mut station = cooling(Policy::Refuse);
    let _held = station.call(offer("p", "g"));
    advance(4 * SECOND).await;
    assert_eq!(drained(&station).await, 6);
}

#[tokio::test(start_paused = true)]
async fn drain_ends_at_the_follower_deadline() {
    let mut station = Station::new(Policy::Replay, |builder| builder);
    let mut first = pending(&mut station.service, offer("p", "f"));
    advance(3 * SECOND).await;
    let _held = station.call(offer("p", "f"));
    station.desk.end(End::Answer);
    assert_ready_ok!(first.poll());
    assert_eq!(drained(&station).await, 10);
}

#[tokio::test(start_paused = true)]
async fn drain_ends_with_the_last_waiter() {
    let mut station = cooling(Policy::Refuse);
    let queued = ["g", "h"].map(|text| pending(&mut station.service, offer("p", text)));
    let handle = station.handle.clone();
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
    let mut station = cooling(Policy::Refuse);
    let mut queued = pending(&mut station.service, offer("p", "g"));
    assert!(station.handle.forget("p"));
    let handle = station.handle.clone();
    let mut drain = spawn(handle.drain());
    assert_pending!(drain.poll(), "it decides anew");
    assert_pending!(queued.poll());
    station.desk.end(End::Answer);
    assert_ready_ok!(queued.poll());
    assert_ready!(drain.poll());
}

/// Every waiter has a deadline of its own.
#[tokio::test(start_paused = true)]
async fn drain_waits_for_the_latest_deadline() {
    let mut station = cooling(Policy::Refuse);
    let _first = station.call(offer("p", "g"));
    advance(SECOND).await;
    let _second = station.call(offer("p", "h"));
    let handle = station.handle.clone();
    let mut drain = spawn(handle.drain());
    assert_pending!(drain.poll());
    advance(10 * SECOND - NANO).await;
    settle().await;
    assert_pending!(drain.poll());
    assert_eq!(drained(&station).await, 0);
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
    let mut reading = spawn(layer.layer(Desk::default()).call(offer("p", "f")));
    assert_pending!(reading.poll());
    assert_ready!(spawn(layer.handle().drain()).poll());
}
