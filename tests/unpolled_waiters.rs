//! A queue place whose future is never polled is lost at its own deadline.

mod support;

use std::time::Duration;

use support::{
    End, NANO, Reply, SECOND, at_once,
    layered::{Layered, Pending, Policy, queueing},
    offer, pending, reason, settle,
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
fn blocked(policy: Policy, settings: fn(OfferDedupBuilder) -> OfferDedupBuilder) -> (Layered, Pending, Pending) {
    let mut layered = Layered::new(policy, settings);
    let first = pending(&mut layered.service, offer("p", "f"));
    let held = layered.call(offer("p", "g"));
    (layered, first, held)
}

/// Ends the offer in flight.
fn end(layered: &Layered, mut first: Pending) {
    layered.manual.end(End::Answer);
    assert_ready_ok!(first.poll());
}

#[tokio::test(start_paused = true)]
async fn unpolled_place_ends_at_its_deadline() {
    let (mut layered, first, _held) = blocked(Policy::Refuse, patient);
    end(&layered, first);
    advance(10 * SECOND - NANO).await;
    let early = pending(&mut layered.service, offer("p", "h"));
    assert_eq!(layered.manual.calls(), 1, "it is still the turn of the first in line");
    drop(early);
    advance(NANO).await;
    let _next = pending(&mut layered.service, offer("p", "i"));
    assert_eq!(layered.manual.calls(), 2, "the place is past its deadline");
    assert_eq!(layered.manual.call_text(1), "i");
}

#[tokio::test(start_paused = true)]
async fn next_in_line_wakes_and_runs() {
    let (mut layered, first, _held) = blocked(Policy::Refuse, patient);
    advance(5 * SECOND).await;
    let mut next = pending(&mut layered.service, offer("p", "h"));
    end(&layered, first);
    advance(5 * SECOND).await;
    settle().await;
    assert!(next.is_woken());
    assert_pending!(next.poll());
    assert_eq!(layered.manual.calls(), 2, "the place before it is past its deadline");
    assert_eq!(layered.manual.call_text(1), "h");
}

#[tokio::test(start_paused = true)]
async fn late_poll_times_out() {
    let (mut layered, first, mut held) = blocked(Policy::Refuse, patient);
    end(&layered, first);
    advance(11 * SECOND).await;
    let mut next = pending(&mut layered.service, offer("p", "h"));
    assert_eq!(reason(assert_ready!(held.poll())), Reason::TimedOut);
    layered.manual.end_nth(1, End::Answer);
    assert_eq!(next.poll(), std::task::Poll::Ready(Ok(Reply::Answer(1))));
    drop((held, next));
    layered.assert_idle();
    let stats = layered.stats();
    assert_eq!((stats.refused_timed_out, stats.completed), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn lost_place_takes_no_depth() {
    let (mut layered, _first, _held) = blocked(Policy::Refuse, narrow);
    let full = at_once(&mut layered.service, offer("p", "h"));
    assert_eq!(reason(full), Reason::QueueFull);
    advance(10 * SECOND).await;
    let _next = pending(&mut layered.service, offer("p", "h"));
}

#[tokio::test(start_paused = true)]
async fn follower_of_a_lost_place_leads() {
    let (mut layered, first, _held) = blocked(Policy::Replay, patient);
    advance(5 * SECOND).await;
    let mut follower = pending(&mut layered.service, offer("p", "g"));
    end(&layered, first);
    advance(5 * SECOND).await;
    settle().await;
    assert!(follower.is_woken());
    assert_pending!(follower.poll());
    assert_eq!(layered.manual.calls(), 2, "the offer that it follows lost its place");
}

#[tokio::test(start_paused = true)]
async fn dropped_after_its_deadline_frees_nothing_newer() {
    let (mut layered, first, held) = blocked(Policy::Refuse, patient);
    end(&layered, first);
    advance(10 * SECOND).await;
    let _next = pending(&mut layered.service, offer("p", "h"));
    let _queued = pending(&mut layered.service, offer("p", "i"));
    drop(held);
    assert_eq!((layered.manual.calls(), layered.stats().waiters), (2, 1));
    assert_eq!(layered.stats().waits_abandoned, 1);
}

type Way = fn(&OfferDedupHandle);

const WAYS: [(&str, Way); 2] = [
    ("forget", |handle| assert!(handle.forget("p"))),
    ("clear", |handle| handle.clear()),
];

#[tokio::test(start_paused = true)]
async fn forgotten_unpolled_place_blocks_nobody() {
    for (way, forget) in WAYS {
        let (mut layered, _first, held) = blocked(Policy::Refuse, patient);
        forget(&layered.handle);
        let _next = pending(&mut layered.service, offer("p", "h"));
        assert_eq!(layered.manual.calls(), 2, "{way}");
        assert_eq!(layered.manual.call_text(1), "h", "{way}");
        drop(held);
        assert_eq!(layered.stats().waits_abandoned, 1, "{way}");
    }
}
