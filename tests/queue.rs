//! Other offers of a busy peer queue in first-in-first-out order.

mod support;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use support::{
    Broken, Builder, End, ManualService, NANO, Offers, Refuser, Reply, SECOND, at_once, builder, is_answer, offer,
    pending, reason, refuse, through,
};
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok};
use tower::Layer;
use tower_offer_dedup::{OfferDedup, Reason, Refuse, Replay, WhenBusy, builder::Inline};

type Queue = OfferDedup<ManualService, Offers, Refuse<Refuser>, Inline>;

fn queueing(depth: usize, timeout: Duration) -> Builder<Refuse<Refuser>> {
    builder(Refuse::with(refuse as _)).when_busy(WhenBusy::Queue { depth, timeout })
}

/// A queue of 8 for 10 s, without a cooldown.
fn queue(manual: &ManualService) -> Queue {
    queueing(8, 10 * SECOND)
        .cooldown(Duration::ZERO)
        .build()
        .layer(manual.clone())
}

#[tokio::test(start_paused = true)]
async fn queued_offer_runs_second() {
    let manual = ManualService::default();
    let mut service = queue(&manual);
    let mut first = pending(&mut service, offer("p", "f"));
    let mut second = pending(&mut service, offer("p", "g"));
    assert_eq!(manual.calls(), 1);

    manual.end(End::Answer);
    assert_eq!(assert_ready_ok!(first.poll()), Reply::Answer(0));
    assert!(second.is_woken());
    assert_pending!(second.poll());
    assert_eq!(manual.call_text(1), "g");
    manual.end(End::Answer);
    assert_eq!(assert_ready_ok!(second.poll()), Reply::Answer(1));
}

#[tokio::test(start_paused = true)]
async fn queue_order_ignores_poll_order() {
    for polls in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let manual = ManualService::default();
        let mut service = queue(&manual);
        let mut first = pending(&mut service, offer("p", "f"));
        let mut three =
            ["g", "h", "i"].map(|text| tokio_test::task::spawn(tower::Service::call(&mut service, offer("p", text))));
        for n in polls {
            assert_pending!(three[n].poll());
        }

        manual.end(End::Answer);
        assert_ready_ok!(first.poll());
        for run in 0..3 {
            for n in polls.into_iter().filter(|n| *n >= run) {
                assert_pending!(three[n].poll());
            }
            assert_eq!(manual.calls(), run + 2, "polled as {polls:?}");
            manual.end(End::Answer);
            assert_eq!(
                assert_ready_ok!(three[run].poll()),
                Reply::Answer(run + 1),
                "polled as {polls:?}"
            );
        }
        assert_eq!([1, 2, 3].map(|n| manual.call_text(n)), ["g", "h", "i"]);
    }
}

#[tokio::test(start_paused = true)]
async fn newcomer_never_overtakes_the_queue() {
    let manual = ManualService::default();
    let mut service = queue(&manual);
    let mut first = pending(&mut service, offer("p", "f"));
    let mut second = pending(&mut service, offer("p", "g"));

    manual.end(End::Answer);
    assert_ready_ok!(first.poll());
    // The lock is free, but the second offer has not been polled yet.
    let mut newcomer = pending(&mut service, offer("p", "h"));
    assert_eq!(manual.calls(), 1);
    assert_pending!(second.poll());
    assert_pending!(newcomer.poll());
    assert_eq!((manual.calls(), manual.call_text(1)), (2, "g".to_owned()));
    manual.end(End::Answer);
    assert_ready_ok!(second.poll());
    assert_pending!(newcomer.poll());
    assert_eq!(manual.call_text(2), "h");
}

#[tokio::test(start_paused = true)]
async fn queue_depth_is_enforced() {
    for depth in [0, 1, 8] {
        let manual = ManualService::default();
        let mut service = queueing(depth, 10 * SECOND).build().layer(manual.clone());
        let mut first = pending(&mut service, offer("p", "f"));
        let mut waiting: Vec<_> = (0..depth)
            .map(|n| pending(&mut service, offer("p", n.to_string())))
            .collect();

        let full = Ok(Reply::Refused(Reason::QueueFull, Some(SECOND)));
        assert_eq!(at_once(&mut service, offer("p", "g")), full, "depth {depth}");
        if waiting.pop().is_some() {
            waiting.push(pending(&mut service, offer("p", "g")));
        }
        assert_eq!(at_once(&mut service, offer("p", "h")), full, "depth {depth}");
        let _other_peer = pending(&mut service, offer("q", "h"));

        manual.end(End::Answer);
        assert_ready_ok!(first.poll());
        // The peer is cooling down.
        assert_eq!(at_once(&mut service, offer("p", "h")), full, "depth {depth}");
    }
}

#[tokio::test(start_paused = true)]
async fn queue_timeout_is_enforced() {
    let manual = ManualService::default();
    let mut service = queue(&manual);
    let mut first = pending(&mut service, offer("p", "f"));
    advance(SECOND).await;
    let mut second = pending(&mut service, offer("p", "g"));
    advance(SECOND).await;
    let mut third = pending(&mut service, offer("p", "h"));

    advance(9 * SECOND - NANO).await;
    assert!(!second.is_woken());
    advance(NANO).await;
    assert!(second.is_woken());
    let late = Ok(Reply::Refused(Reason::TimedOut, Some(SECOND)));
    assert_eq!(assert_ready!(second.poll()), late);
    assert_pending!(third.poll());

    manual.end(End::Answer);
    assert_ready_ok!(first.poll());
    assert_pending!(third.poll());
    assert_eq!((manual.calls(), manual.call_text(1)), (2, "h".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn offer_runs_just_before_timeout() {
    let manual = ManualService::default();
    let mut service = queue(&manual);
    let mut first = pending(&mut service, offer("p", "f"));
    let mut second = pending(&mut service, offer("p", "g"));
    advance(10 * SECOND - NANO).await;
    assert_pending!(second.poll());
    manual.end(End::Answer);
    assert_ready_ok!(first.poll());
    assert_pending!(second.poll());
    assert_eq!(manual.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn zero_queue_timeout_refuses_at_once() {
    let manual = ManualService::default();
    let mut service = queueing(8, Duration::ZERO).build().layer(manual.clone());
    let _first = pending(&mut service, offer("p", "f"));
    assert_eq!(reason(at_once(&mut service, offer("p", "g"))), Reason::TimedOut);
    let _free = pending(&mut service, offer("q", "g"));
}

#[tokio::test(start_paused = true)]
async fn queued_offer_counts_as_in_flight() {
    let manual = ManualService::default();
    let mut service = queue(&manual);
    let mut first = pending(&mut service, offer("p", "f"));
    let mut second = pending(&mut service, offer("p", "g"));
    let in_flight = Ok(Reply::Refused(Reason::InFlight, Some(SECOND)));
    assert_eq!(at_once(&mut service, offer("p", "g")), in_flight);

    // This also holds when its turn has come but it has not been polled.
    manual.end(End::Answer);
    assert_ready_ok!(first.poll());
    assert_eq!(at_once(&mut service, offer("p", "g")), in_flight);
    assert_eq!(reason(at_once(&mut service, offer("p", "f"))), Reason::Processed);
    assert_pending!(second.poll());
    assert_eq!(manual.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn dropped_waiter_blocks_nobody() {
    for dropped in 0..3 {
        for is_granted in [false, true] {
            let manual = ManualService::default();
            let mut service = queue(&manual);
            let mut first = pending(&mut service, offer("p", "f"));
            let mut three = ["g", "h", "i"].map(|text| Some(pending(&mut service, offer("p", text))));

            if is_granted {
                manual.end(End::Answer);
                assert_ready_ok!(first.poll());
                three[dropped] = None;
            } else {
                three[dropped] = None;
                manual.end(End::Answer);
                assert_ready_ok!(first.poll());
            }
            for mut call in three.into_iter().flatten() {
                assert!(call.is_woken());
                assert_pending!(call.poll());
                manual.end(End::Answer);
                assert_ready_ok!(call.poll());
            }
            let left = ["g", "h", "i"].into_iter().enumerate().filter(|(n, _)| *n != dropped);
            for (n, (_, text)) in left.enumerate() {
                assert_eq!(manual.call_text(n + 1), text, "dropped {dropped}");
            }
            assert_eq!(manual.calls(), 3);
            let _free = pending(&mut service, offer("p", "j"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn queue_front_runs_after_cooldown() {
    let manual = ManualService::default();
    let mut service = queueing(8, 10 * SECOND).build().layer(manual.clone());
    let mut first = pending(&mut service, offer("p", "f"));
    let mut before = pending(&mut service, offer("p", "g"));
    manual.end(End::Answer);
    assert_ready_ok!(first.poll());
    assert_pending!(before.poll());
    // No holder is left to wait for.
    let mut after = pending(&mut service, offer("p", "h"));

    advance(2 * SECOND - NANO).await;
    assert!(!before.is_woken());
    let mut last = pending(&mut service, offer("p", "i"));
    assert_eq!(manual.calls(), 1);
    advance(NANO).await;
    assert!(before.is_woken());
    for call in [&mut last, &mut after, &mut before] {
        assert_pending!(call.poll());
    }
    assert_eq!((manual.calls(), manual.call_text(1)), (2, "g".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn offer_queues_on_cooling_peer() {
    let manual = ManualService::default();
    let mut service = queueing(8, 10 * SECOND).build().layer(manual.clone());
    through(&mut service, &manual, offer("p", "f"), End::Answer).unwrap();
    advance(SECOND).await;
    let mut second = pending(&mut service, offer("p", "g"));
    assert_eq!(manual.calls(), 1);
    advance(SECOND).await;
    assert!(second.is_woken());
    assert_pending!(second.poll());
    assert_eq!(manual.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn queue_times_out_during_long_cooldown() {
    let manual = ManualService::default();
    let mut service = queueing(8, SECOND).build().layer(manual.clone());
    through(&mut service, &manual, offer("p", "f"), End::Answer).unwrap();
    let mut second = pending(&mut service, offer("p", "g"));
    advance(SECOND).await;
    assert!(second.is_woken());
    assert_eq!(reason(assert_ready!(second.poll())), Reason::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn queue_front_runs_after_failure() {
    for end in [End::Failure, End::Broken, End::Panic] {
        let manual = ManualService::default();
        let mut service = builder(Refuse::with(refuse).success_if(is_answer))
            .when_busy(WhenBusy::Queue {
                depth: 8,
                timeout: 10 * SECOND,
            })
            .build()
            .layer(manual.clone());
        let mut first = pending(&mut service, offer("p", "f"));
        let mut second = pending(&mut service, offer("p", "g"));

        manual.end(end);
        let _ = catch_unwind(AssertUnwindSafe(|| first.poll()));
        assert!(second.is_woken());
        assert_pending!(second.poll());
        assert_eq!(manual.calls(), 2);
        manual.end(End::Answer);
        assert_eq!(assert_ready_ok!(second.poll()), Reply::Answer(1));
    }
}

#[tokio::test(start_paused = true)]
async fn queue_front_runs_after_drop() {
    let manual = ManualService::default();
    let mut service = queueing(8, 10 * SECOND).build().layer(manual.clone());
    let first = pending(&mut service, offer("p", "f"));
    let mut second = pending(&mut service, offer("p", "g"));
    drop(first);
    assert!(second.is_woken());
    assert_pending!(second.poll());
    assert_eq!(manual.calls(), 2);
}

/// Followers of a lost leader queue behind the offers that already wait, and one of them leads.
#[tokio::test(start_paused = true)]
async fn followers_of_lost_leader_queue_up() {
    let manual = ManualService::default();
    let mut service = builder(Replay::with(refuse))
        .cooldown(Duration::ZERO)
        .when_busy(WhenBusy::Queue {
            depth: 8,
            timeout: 10 * SECOND,
        })
        .build()
        .layer(manual.clone());
    let mut leader = pending(&mut service, offer("p", "f"));
    let mut other = pending(&mut service, offer("p", "g"));
    let mut duplicates = [(); 3].map(|()| pending(&mut service, offer("p", "f")));

    manual.end(End::Broken);
    assert_eq!(assert_ready_err!(leader.poll()), Broken);
    for duplicate in &mut duplicates {
        assert_pending!(duplicate.poll());
    }
    assert_pending!(other.poll());
    assert_eq!((manual.calls(), manual.call_text(1)), (2, "g".to_owned()));
    manual.end(End::Answer);
    assert_ready_ok!(other.poll());
    for duplicate in &mut duplicates {
        assert_pending!(duplicate.poll());
    }
    assert_eq!((manual.calls(), manual.call_text(2)), (3, "f".to_owned()));
    manual.end(End::Answer);
    for duplicate in &mut duplicates {
        assert_eq!(assert_ready_ok!(duplicate.poll()), Reply::Answer(2));
    }
}
