//! A queue place whose future is never polled is lost at its own deadline.

mod common;

use std::time::Duration;

use common::{
    End, NANO, Reply, SECOND, at_once, offer, pending, reason, settle,
    station::{Pending, Policy, Station, queueing},
};
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready, assert_ready_ok};
use tower_offer_dedup::{OfferDedupBuilder, OfferDedupHandle, Reason, WhenBusy};

/// A queue of 8 for 10 s, no cooldown, and a lease that never ends.
fn patient(builder: OfferDedupBuilder) -> OfferDedupBuilder {
    queueing(builder).cooldown(Duration::ZERO).lease(Duration::MAX)
}

fn narrow(builder: OfferDedupBuilder) -> OfferDedupBuilder {
    let timeout = 10 * SECOND;
    patient(builder).when_busy(WhenBusy::Queue { depth: 1, timeout })
}

/// Sends `f`, which is processed, and `g`, which is queued and not polled.
fn blocked(policy: Policy, settings: fn(OfferDedupBuilder) -> OfferDedupBuilder) -> (Station, Pending, Pending) {
    let mut station = Station::new(policy, settings);
    let first = pending(&mut station.service, offer("p", "f"));
    let held = station.call(offer("p", "g"));
    (station, first, held)
}

/// Ends the offer in flight.
fn end(station: &Station, mut first: Pending) {
    station.desk.end(End::Answer);
    assert_ready_ok!(first.poll());
}

#[tokio::test(start_paused = true)]
async fn unpolled_place_ends_at_its_deadline() {
    let (mut station, first, _held) = blocked(Policy::Refuse, patient);
    end(&station, first);
    advance(10 * SECOND - NANO).await;
    let early = pending(&mut station.service, offer("p", "h"));
    assert_eq!(station.desk.calls(), 1, "it is still the turn of the first in line");
    drop(early);
    advance(NANO).await;
    let _next = pending(&mut station.service, offer("p", "i"));
    assert_eq!(station.desk.calls(), 2, "the place is past its deadline");
    assert_eq!(station.desk.call_text(1), "i");
}

#[tokio::test(start_paused = true)]
async fn next_in_line_wakes_and_runs() {
    let (mut station, first, _held) = blocked(Policy::Refuse, patient);
    advance(5 * SECOND).await;
    let mut next = pending(&mut station.service, offer("p", "h"));
    end(&station, first);
    advance(5 * SECOND).await;
    settle().await;
    assert!(next.is_woken());
    assert_pending!(next.poll());
    assert_eq!(station.desk.calls(), 2, "the place before it is past its deadline");
    assert_eq!(station.desk.call_text(1), "h");
}

#[tokio::test(start_paused = true)]
async fn late_poll_times_out() {
    let (mut station, first, mut held) = blocked(Policy::Refuse, patient);
    end(&station, first);
    advance(11 * SECOND).await;
    let mut next = pending(&mut station.service, offer("p", "h"));
    assert_eq!(reason(assert_ready!(held.poll())), Reason::TimedOut);
    station.desk.end_nth(1, End::Answer);
    assert_eq!(next.poll(), std::task::Poll::Ready(Ok(Reply::Answer(1))));
    drop((held, next));
    station.assert_idle();
    let stats = station.stats();
    assert_eq!((stats.refused_timed_out, stats.completed), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn lost_place_takes_no_depth() {
    let (mut station, _first, _held) = blocked(Policy::Refuse, narrow);
    let full = at_once(&mut station.service, offer("p", "h"));
    assert_eq!(reason(full), Reason::QueueFull);
    advance(10 * SECOND).await;
    let _next = pending(&mut station.service, offer("p", "h"));
}

#[tokio::test(start_paused = true)]
async fn follower_of_a_lost_place_leads() {
    let (mut station, first, _held) = blocked(Policy::Replay, patient);
    advance(5 * SECOND).await;
    let mut follower = pending(&mut station.service, offer("p", "g"));
    end(&station, first);
    advance(5 * SECOND).await;
    settle().await;
    assert!(follower.is_woken());
    assert_pending!(follower.poll());
    assert_eq!(station.desk.calls(), 2, "the offer that it follows lost its place");
}

#[tokio::test(start_paused = true)]
async fn dropped_after_its_deadline_frees_nothing_newer() {
    let (mut station, first, held) = blocked(Policy::Refuse, patient);
    end(&station, first);
    advance(10 * SECOND).await;
    let _next = pending(&mut station.service, offer("p", "h"));
    let _queued = pending(&mut station.service, offer("p", "i"));
    drop(held);
    assert_eq!((station.desk.calls(), station.stats().waiters), (2, 1));
    assert_eq!(station.stats().waits_abandoned, 1);
}

type Way = fn(&OfferDedupHandle);

const WAYS: [(&str, Way); 2] = [
    ("forget", |handle| assert!(handle.forget("p"))),
    ("clear", |handle| handle.clear()),
];

#[tokio::test(start_paused = true)]
async fn forgotten_unpolled_place_blocks_nobody() {
    for (way, forget) in WAYS {
        let (mut station, _first, held) = blocked(Policy::Refuse, patient);
        forget(&station.handle);
        let _next = pending(&mut station.service, offer("p", "h"));
        assert_eq!(station.desk.calls(), 2, "{way}");
        assert_eq!(station.desk.call_text(1), "h", "{way}");
        drop(held);
        assert_eq!(station.stats().waits_abandoned, 1, "{way}");
    }
}
