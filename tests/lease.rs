//! A claim past its lease no longer holds other offers off: the next one takes over.

mod support;

use std::time::Duration;

use support::{
    Builder, End, ManualService, NANO, Refuser, Reply, SECOND, at_once, builder, offer, pending, reason, refuse,
    settle, through,
};
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task::spawn};
use tower::{Layer, Service, limit::ConcurrencyLimit};
use tower_offer_dedup::{Reason, Refuse, Replay, WhenBusy};

fn refusing() -> Builder<Refuse<Refuser>> {
    builder(Refuse::with(refuse as _))
}

fn replaying() -> Builder<Replay<Refuser>> {
    builder(Replay::with(refuse as _).wait_timeout(100 * SECOND))
}

const QUEUE: WhenBusy = WhenBusy::Queue {
    depth: 8,
    timeout: Duration::from_secs(100),
};

#[tokio::test(start_paused = true)]
async fn newcomer_takes_over_expired_lease() {
    for lease in [None, Some(3 * SECOND), Some(1000 * SECOND)] {
        for text in ["f", "g"] {
            let manual = ManualService::default();
            let builder = match lease {
                Some(lease) => refusing().lease(lease),
                None => refusing(),
            };
            let layer = builder.build();
            let mut service = layer.layer(manual.clone());
            let _overdue = pending(&mut service, offer("p", "f"));

            advance(lease.unwrap_or(30 * SECOND) - NANO).await;
            let held_off = if text == "f" { Reason::InFlight } else { Reason::Busy };
            assert_eq!(reason(at_once(&mut service, offer("p", text))), held_off);
            assert_eq!(layer.handle().stats().taken_over, 0);
            advance(NANO).await;
            let _next = pending(&mut service, offer("p", text));
            assert_eq!(manual.calls(), 2);
            assert_eq!(layer.handle().stats().taken_over, 1);
            // The new claim has its own lease.
            assert_eq!(reason(at_once(&mut service, offer("p", text))), Reason::InFlight);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn queue_front_takes_over_expired_lease() {
    let manual = ManualService::default();
    let layer = refusing().when_busy(QUEUE).build();
    let mut service = layer.layer(manual.clone());
    let _overdue = pending(&mut service, offer("p", "f"));
    let mut front = pending(&mut service, offer("p", "g"));
    let mut back = pending(&mut service, offer("p", "h"));

    advance(30 * SECOND - NANO).await;
    assert!(!front.is_woken());
    advance(NANO).await;
    assert!(front.is_woken());
    // A newcomer cannot overtake the queue when a lease ends either.
    let mut newcomer = pending(&mut service, offer("p", "i"));
    for call in [&mut newcomer, &mut back, &mut front] {
        assert_pending!(call.poll());
    }
    assert_eq!((manual.calls(), manual.call_text(1)), (2, "g".to_owned()));
    assert_eq!(layer.handle().stats().taken_over, 1);
}

#[tokio::test(start_paused = true)]
async fn one_follower_takes_over_expired_lease() {
    let manual = ManualService::default();
    let layer = replaying().build();
    let mut service = layer.layer(manual.clone());
    let mut overdue = pending(&mut service, offer("p", "f"));
    let mut ten = [(); 10].map(|()| pending(&mut service, offer("p", "f")));

    advance(30 * SECOND - NANO).await;
    assert!(!ten[0].is_woken());
    advance(NANO).await;
    for waiting in &mut ten {
        assert!(waiting.is_woken());
        assert_pending!(waiting.poll());
    }
    assert_eq!((manual.calls(), layer.handle().stats().taken_over), (2, 1));
    manual.end(End::Answer);
    assert_eq!(assert_ready_ok!(overdue.poll()), Reply::Answer(0));
    manual.end(End::Answer);
    for waiting in &mut ten {
        assert_eq!(assert_ready_ok!(waiting.poll()), Reply::Answer(1));
    }
}

#[tokio::test(start_paused = true)]
async fn followers_join_the_newcomer_after_takeover() {
    let manual = ManualService::default();
    let mut service = replaying().build().layer(manual.clone());
    let _overdue = pending(&mut service, offer("p", "f"));
    let mut waiting = pending(&mut service, offer("p", "f"));
    advance(30 * SECOND).await;
    let mut newcomer = pending(&mut service, offer("p", "f"));
    assert_pending!(waiting.poll());
    assert_eq!(manual.calls(), 2);
    assert!(manual.end_nth(1, End::Answer));
    assert_eq!(assert_ready_ok!(newcomer.poll()), Reply::Answer(1));
    assert_eq!(assert_ready_ok!(waiting.poll()), Reply::Answer(1));
}

#[tokio::test(start_paused = true)]
async fn overdue_completion_counts_for_nothing() {
    for text in ["f", "g"] {
        let manual = ManualService::default();
        let layer = replaying().lease(SECOND).build();
        let mut service = layer.layer(manual.clone());
        let mut overdue = pending(&mut service, offer("p", "f"));
        advance(SECOND).await;
        let mut next = pending(&mut service, offer("p", text));

        manual.end(End::Answer);
        assert_eq!(assert_ready_ok!(overdue.poll()), Reply::Answer(0));
        drop(overdue);
        assert!(layer.handle().is_processing("p"));
        assert_eq!(reason(at_once(&mut service, offer("p", "h"))), Reason::Busy);
        manual.end(End::Broken);
        let _ = assert_ready!(next.poll());
        drop(next);
        // It is neither remembered nor cooling down.
        assert_eq!(
            through(&mut service, &manual, offer("p", "f"), End::Answer),
            Ok(Reply::Answer(2))
        );
        assert_eq!(layer.handle().stats().claims, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn overdue_completion_counts_without_takeover() {
    let manual = ManualService::default();
    let layer = replaying().lease(SECOND).build();
    let mut service = layer.layer(manual.clone());
    let mut overdue = pending(&mut service, offer("p", "f"));
    advance(5 * SECOND).await;
    manual.end(End::Answer);
    assert_eq!(assert_ready_ok!(overdue.poll()), Reply::Answer(0));
    assert_eq!(at_once(&mut service, offer("p", "f")), Ok(Reply::Answer(0)));
    assert_eq!(layer.handle().stats().taken_over, 0);
}

#[tokio::test(start_paused = true)]
async fn takeover_keeps_other_memories() {
    let manual = ManualService::default();
    let layer = replaying().lease(SECOND).cooldown(Duration::ZERO).build();
    let mut service = layer.layer(manual.clone());
    through(&mut service, &manual, offer("p", "e"), End::Answer).unwrap();
    let mut overdue = pending(&mut service, offer("p", "f"));
    advance(SECOND).await;
    let mut next = pending(&mut service, offer("p", "g"));
    assert!(manual.end_nth(2, End::Answer));
    assert_ready_ok!(next.poll());

    manual.end(End::Answer);
    assert_ready_ok!(overdue.poll());
    assert_eq!(at_once(&mut service, offer("p", "e")), Ok(Reply::Answer(0)));
    assert_eq!(at_once(&mut service, offer("p", "g")), Ok(Reply::Answer(2)));
    assert_eq!(layer.handle().stats().memories, 2);
    let _again = pending(&mut service, offer("p", "f"));
}

/// The claim waits longer than a lease for capacity that another peer holds.
#[tokio::test(start_paused = true)]
async fn lease_starts_at_the_inner_call() {
    let manual = ManualService::default();
    let layer = refusing().build();
    let mut service = layer.layer(ConcurrencyLimit::new(manual.clone(), 1));
    let mut saturating = pending(&mut service, offer("q", "f"));
    let mut late = pending(&mut service, offer("p", "f"));

    advance(100 * SECOND).await;
    assert_eq!(reason(at_once(&mut service, offer("p", "f"))), Reason::InFlight);
    assert_eq!(reason(at_once(&mut service, offer("p", "g"))), Reason::Busy);
    assert_eq!((manual.calls(), layer.handle().stats().taken_over), (1, 0));
    manual.end(End::Answer);
    assert_ready_ok!(saturating.poll());
    assert!(late.is_woken());
    assert_pending!(late.poll());
    assert_eq!(manual.calls(), 2);

    advance(30 * SECOND - NANO).await;
    assert_eq!(reason(at_once(&mut service, offer("p", "g"))), Reason::Busy);
    advance(NANO).await;
    let _next = pending(&mut service, offer("p", "g"));
    assert_eq!(layer.handle().stats().taken_over, 1);
}

#[tokio::test(start_paused = true)]
async fn forgotten_claim_starts_no_new_lease() {
    let manual = ManualService::default();
    let layer = refusing().build();
    let mut service = layer.layer(ConcurrencyLimit::new(manual.clone(), 1));
    let mut saturating = pending(&mut service, offer("q", "f"));
    let mut old = pending(&mut service, offer("p", "f"));
    layer.handle().forget("p");
    let mut new = pending(&mut service, offer("p", "g"));

    manual.end(End::Answer);
    assert_ready_ok!(saturating.poll());
    assert_pending!(old.poll());
    assert_pending!(new.poll());
    assert_eq!((manual.calls(), manual.call_text(1)), (2, "f".to_owned()));
    advance(100 * SECOND).await;
    assert_eq!(reason(at_once(&mut service, offer("p", "h"))), Reason::Busy);
    assert_eq!(layer.handle().stats().taken_over, 0);
}

#[tokio::test(start_paused = true)]
async fn waiters_notice_a_late_lease() {
    for when_busy in [WhenBusy::Refuse, QUEUE] {
        let text = if when_busy == QUEUE { "g" } else { "f" };
        let manual = ManualService::default();
        let layer = replaying().when_busy(when_busy).build();
        let mut service = layer.layer(ConcurrencyLimit::new(manual.clone(), 2));
        let mut saturating = ["q", "r"].map(|peer| pending(&mut service, offer(peer, "f")));
        let mut late = pending(&mut service, offer("p", "f"));
        let waiting = tokio::spawn(service.call(offer("p", text)));
        settle().await;

        advance(10 * SECOND).await;
        manual.end(End::Answer);
        manual.end(End::Answer);
        for call in &mut saturating {
            assert_ready_ok!(call.poll());
        }
        assert_pending!(late.poll());
        // Advances in two steps, because a timer that is read late fires late.
        for step in [25 * SECOND, 5 * SECOND - NANO] {
            advance(step).await;
            settle().await;
        }
        assert_eq!(manual.calls(), 3);
        advance(NANO).await;
        settle().await;
        assert_eq!((manual.calls(), layer.handle().stats().taken_over), (4, 1));
        assert!(manual.end_nth(3, End::Answer));
        assert_eq!(waiting.await.unwrap(), Ok(Reply::Answer(3)));
    }
}

#[tokio::test(start_paused = true)]
async fn zero_lease_disables_the_lock() {
    let manual = ManualService::default();
    let layer = refusing().lease(Duration::ZERO).build();
    let mut service = layer.layer(manual.clone());
    let calls = ["f", "f", "g"].map(|text| pending(&mut service, offer("p", text)));
    assert_eq!((manual.calls(), layer.handle().stats().taken_over), (3, 2));
    let mut last = calls.into_iter().next_back().unwrap();
    assert!(manual.end_nth(2, End::Answer));
    assert_ready_ok!(last.poll());
    assert_eq!(reason(at_once(&mut service, offer("p", "g"))), Reason::Processed);
}

#[tokio::test(start_paused = true)]
async fn endless_lease_is_never_taken_over() {
    let manual = ManualService::default();
    let layer = refusing().lease(Duration::MAX).build();
    let mut service = layer.layer(manual.clone());
    let mut call = pending(&mut service, offer("p", "f"));
    advance(100 * 365 * 24 * 3600 * SECOND).await;
    assert_eq!(reason(at_once(&mut service, offer("p", "f"))), Reason::InFlight);
    assert_eq!(reason(at_once(&mut service, offer("p", "g"))), Reason::Busy);
    assert_eq!(layer.handle().stats().taken_over, 0);
    manual.end(End::Answer);
    assert_ready_ok!(call.poll());
    assert_eq!(reason(at_once(&mut service, offer("p", "f"))), Reason::Processed);
}

#[tokio::test(start_paused = true)]
async fn overdue_detached_task_is_aborted() {
    let manual = ManualService::default();
    let layer = refusing().finish_abandoned().build();
    let mut service = layer.layer(manual.clone());
    let mut overdue = spawn(service.call(offer("p", "f")));
    assert_pending!(overdue.poll());
    settle().await;
    assert_eq!(manual.calls(), 1);

    advance(30 * SECOND).await;
    let mut next = spawn(service.call(offer("p", "g")));
    assert_pending!(next.poll());
    settle().await;
    assert!(manual.was_dropped());
    let aborted = Ok(Reply::Refused(Reason::TimedOut, Some(SECOND)));
    assert_eq!(assert_ready!(overdue.poll()), aborted);
    let stats = layer.handle().stats();
    assert_eq!((stats.taken_over, stats.abandoned, stats.claims), (1, 1, 1));

    manual.end(End::Answer);
    settle().await;
    assert_eq!(assert_ready_ok!(next.poll()), Reply::Answer(1));
}

#[tokio::test(start_paused = true)]
async fn forgotten_detached_task_is_finished() {
    let manual = ManualService::default();
    let layer = refusing().finish_abandoned().build();
    let mut service = layer.layer(manual.clone());
    let mut call = spawn(service.call(offer("p", "f")));
    assert_pending!(call.poll());
    settle().await;
    layer.handle().forget("p");
    advance(100 * SECOND).await;
    let _next = spawn(service.call(offer("p", "g")));
    settle().await;
    manual.end(End::Answer);
    settle().await;
    assert_eq!(assert_ready_ok!(call.poll()), Reply::Answer(0));
}
