//! The newest offer of a peer wins: `WhenBusy::Supersede`.

mod support;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use support::{
    End, NANO, Reply, SECOND,
    layered::{Layered, Pending, Policy},
    offer, reason, settle,
};
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready, assert_ready_ok};
use tower_offer_dedup::{Fingerprint, Reason, WhenBusy};

/// The time that a loser has to end.
const GRACE: Duration = Duration::from_millis(100);

fn layered(policy: Policy) -> Layered {
    Layered::new(policy, |builder| builder.when_busy(WhenBusy::Supersede))
}

/// Sends an offer that is not answered at once.
async fn pending(layered: &mut Layered, text: &str) -> Pending {
    let mut call = layered.call(offer("p", text));
    assert_pending!(call.poll(), "{text}");
    settle().await;
    call
}

/// Sends an offer that is refused at once.
#[track_caller]
fn refused(layered: &mut Layered, text: &str) -> Reason {
    reason(assert_ready!(layered.call(offer("p", text)).poll()))
}

/// Lets the offer in flight end as superseded, so that the newest one is admitted.
async fn lose(loser: &mut Pending, newest: &mut Pending) {
    assert_eq!(reason(assert_ready!(loser.poll())), Reason::Superseded);
    settle().await;
    assert_pending!(newest.poll());
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn loser_and_followers_are_refused() {
    for policy in Policy::ALL {
        let mut layered = layered(policy);
        let mut loser = pending(&mut layered, "f").await;
        let mut follower = layered.call(offer("p", "f"));
        if policy.replays() {
            assert_pending!(follower.poll());
        } else {
            assert_eq!(reason(assert_ready!(follower.poll())), Reason::InFlight);
        }
        let mut newest = pending(&mut layered, "g").await;
        if policy.replays() {
            assert!(follower.is_woken(), "{policy:?}");
            assert_eq!(reason(assert_ready!(follower.poll())), Reason::Superseded);
        }
        assert!(loser.is_woken(), "{policy:?}");
        lose(&mut loser, &mut newest).await;
        assert!(!layered.manual.is_open(0) && layered.manual.is_open(1), "{policy:?}");

        layered.manual.end_nth(1, End::Answer);
        settle().await;
        assert_eq!(assert_ready_ok!(newest.poll()), Reply::Answer(1));
        let stats = layered.stats();
        assert_eq!((stats.superseded, stats.completed), (1, 1), "{policy:?}");
        layered.assert_idle();
    }
}

#[tokio::test(start_paused = true)]
async fn late_copy_of_loser_is_refused() {
    for policy in Policy::ALL {
        let mut layered = layered(policy);
        let mut loser = pending(&mut layered, "f").await;
        let mut newest = pending(&mut layered, "g").await;
        assert_eq!(refused(&mut layered, "f"), Reason::Superseded, "{policy:?}");
        lose(&mut loser, &mut newest).await;
        assert_eq!(refused(&mut layered, "f"), Reason::Superseded, "{policy:?}");
        layered.manual.end_nth(1, End::Answer);
        settle().await;
        assert_ready_ok!(newest.poll());
        assert_eq!(refused(&mut layered, "f"), Reason::Superseded, "{policy:?}");
        advance(10 * SECOND).await;
        let _again = pending(&mut layered, "f").await;
    }
}

#[tokio::test(start_paused = true)]
async fn newest_takes_the_only_waiting_place() {
    for policy in Policy::INLINE {
        let mut layered = layered(policy);
        let loser = pending(&mut layered, "f").await;
        let mut second = pending(&mut layered, "g").await;
        let mut third = pending(&mut layered, "h").await;
        assert!(second.is_woken(), "{policy:?}");
        assert_eq!(reason(assert_ready!(second.poll())), Reason::Superseded);
        drop(loser);
        assert!(third.is_woken(), "{policy:?}");
        assert_pending!(third.poll());
        assert_eq!(layered.manual.call_text(1), "h", "{policy:?}");
        assert_eq!(layered.manual.calls(), 2, "{policy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn unpolled_loser_holds_for_100_ms() {
    for policy in Policy::INLINE {
        let mut layered = layered(policy);
        let mut loser = pending(&mut layered, "f").await;
        let mut newest = pending(&mut layered, "g").await;
        advance(GRACE - NANO).await;
        assert_pending!(newest.poll());
        assert_eq!(layered.manual.calls(), 1, "{policy:?}");
        advance(NANO + Duration::from_millis(1)).await;
        assert_pending!(newest.poll());
        assert_eq!(layered.manual.calls(), 2, "{policy:?}");

        // The loser's answer counts for nothing.
        layered.manual.end_nth(0, End::Answer);
        assert_eq!(reason(assert_ready!(loser.poll())), Reason::Superseded);
        layered.manual.end_nth(1, End::Answer);
        assert_eq!(assert_ready_ok!(newest.poll()), Reply::Answer(1));
    }
}

#[tokio::test(start_paused = true)]
async fn detached_loser_is_aborted() {
    for policy in Policy::DETACHED {
        let mut layered = layered(policy);
        let mut loser = pending(&mut layered, "f").await;
        let mut newest = pending(&mut layered, "g").await;
        assert!(layered.manual.was_dropped(), "{policy:?}");
        lose(&mut loser, &mut newest).await;
        assert_eq!((layered.manual.calls(), layered.manual.open()), (2, 1), "{policy:?}");
    }
}

/// Each way in which the newest offer can come to nothing.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Fails,
    Panics,
    IsDropped,
    IsDroppedWaiting,
    IsForgotten,
}

#[tokio::test(start_paused = true)]
async fn loser_may_return_if_the_newest_fails() {
    use Fate::{Fails, IsDropped, IsDroppedWaiting, IsForgotten, Panics};

    for policy in Policy::ALL {
        for fate in [Fails, Panics, IsDropped, IsDroppedWaiting, IsForgotten] {
            let is_detached = Policy::DETACHED.contains(&policy);
            // Detached work goes on without its client.
            if is_detached && matches!(fate, IsDropped) {
                continue;
            }
            let name = format!("{policy:?}, {fate:?}");
            let mut layered = layered(policy);
            let mut first = pending(&mut layered, "f").await;
            let mut second = pending(&mut layered, "g").await;
            lose(&mut first, &mut second).await;
            // The marks of the first and the second now name the third.
            let mut newest = pending(&mut layered, "h").await;
            if !matches!(fate, IsDroppedWaiting) {
                lose(&mut second, &mut newest).await;
                assert_eq!(layered.manual.calls(), 3, "{name}");
            }
            assert_eq!(refused(&mut layered, "f"), Reason::Superseded, "{name}");
            match fate {
                Fails => {
                    layered.manual.end_nth(2, End::Failure);
                    settle().await;
                    assert_eq!(assert_ready_ok!(newest.poll()), Reply::Failure(2), "{name}");
                }
                Panics => {
                    layered.manual.end_nth(2, End::Panic);
                    settle().await;
                    let panicked = catch_unwind(AssertUnwindSafe(|| newest.poll()));
                    assert!(panicked.is_err(), "{name}");
                }
                IsDropped => drop(newest),
                IsDroppedWaiting => {
                    drop(newest);
                    assert_eq!(reason(assert_ready!(second.poll())), Reason::Superseded, "{name}");
                    settle().await;
                }
                IsForgotten => assert!(layered.handle.forget_offer("p", Fingerprint::exact(b"h"))),
            }
            let calls = layered.manual.calls();
            let _again = pending(&mut layered, "f").await;
            assert_eq!(layered.manual.calls(), calls + 1, "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_cooldown_follows_an_answer() {
    for policy in Policy::ALL {
        let mut layered = Layered::new(policy, |builder| {
            builder.when_busy(WhenBusy::Supersede).cooldown(60 * SECOND)
        });
        for (n, text) in ["f", "g", "h"].into_iter().enumerate() {
            let mut call = pending(&mut layered, text).await;
            layered.manual.end(End::Answer);
            settle().await;
            assert_eq!(assert_ready_ok!(call.poll()), Reply::Answer(n), "{policy:?}");
        }
    }
}
