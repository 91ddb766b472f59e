//! When a leader is lost, one of its followers leads next.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use support::{Broken, End, ManualService, Reply, SECOND, builder, offer, pending, reason, refuse};
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok};
use tower::Layer;
use tower_offer_dedup::{Reason, Replay};

#[tokio::test(start_paused = true)]
async fn wait_timeout_counts_from_arrival() {
    let manual = ManualService::default();
    let mut service = builder(Replay::with(refuse)).build().layer(manual.clone());
    let mut leader = pending(&mut service, offer("p", "f"));
    let mut waiting = [(); 2].map(|()| pending(&mut service, offer("p", "f")));

    advance(6 * SECOND).await;
    manual.end(End::Broken);
    assert_ready_err!(leader.poll());
    let [next, second] = &mut waiting;
    assert_pending!(next.poll());
    assert_pending!(second.poll());
    advance(4 * SECOND).await;
    assert_pending!(next.poll());
    assert!(second.is_woken());
    assert_eq!(reason(assert_ready!(second.poll())), Reason::TimedOut);
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Loss {
    Dropped,
    Err,
    Panic,
}

#[tokio::test(start_paused = true)]
async fn one_follower_replaces_a_lost_leader() {
    for loss in [Loss::Dropped, Loss::Err, Loss::Panic] {
        let manual = ManualService::default();
        let mut service = builder(Replay::with(refuse)).build().layer(manual.clone());
        let mut leader = pending(&mut service, offer("p", "f"));
        let mut ten = [(); 10].map(|()| pending(&mut service, offer("p", "f")));

        match loss {
            Loss::Dropped => {
                drop(leader);
                assert!(manual.was_dropped());
            }
            Loss::Err => {
                manual.end(End::Broken);
                assert_eq!(assert_ready_err!(leader.poll()), Broken);
            }
            Loss::Panic => {
                manual.end(End::Panic);
                assert!(catch_unwind(AssertUnwindSafe(|| leader.poll())).is_err());
            }
        }
        for waiting in ten.iter_mut().rev() {
            assert!(waiting.is_woken(), "{loss:?}");
            assert_pending!(waiting.poll());
        }
        assert_eq!(manual.calls(), 2, "{loss:?}");
        manual.end(End::Answer);
        let (last, others) = ten.split_last_mut().unwrap();
        assert_eq!(assert_ready_ok!(last.poll()), Reply::Answer(1));
        for waiting in others {
            assert_eq!(assert_ready_ok!(waiting.poll()), Reply::Answer(1), "{loss:?}");
        }
        assert_eq!(manual.calls(), 2, "{loss:?}");
    }
}

/// Each new leader gets the error of its own call.
#[tokio::test(start_paused = true)]
async fn followers_lead_in_turn_after_errors() {
    let manual = ManualService::default();
    let mut service = builder(Replay::with(refuse)).build().layer(manual.clone());
    let mut eleven = [(); 11].map(|()| pending(&mut service, offer("p", "f")));

    for led in 0..11 {
        assert_eq!(manual.calls(), led + 1);
        manual.end(End::Broken);
        assert_eq!(assert_ready_err!(eleven[led].poll()), Broken);
        for waiting in &mut eleven[led + 1..] {
            assert_pending!(waiting.poll());
        }
    }
    assert_eq!(manual.calls(), 11);
}

#[tokio::test(start_paused = true)]
async fn followers_survive_a_panicking_leader() {
    let manual = ManualService::default();
    let layer = builder(Replay::with(refuse)).build();
    let mut service = layer.layer(manual.clone());
    let leader = pending(&mut service, offer("p", "f"));
    let mut waiting = [(); 3].map(|()| pending(&mut service, offer("p", "f")));

    drop(leader);
    assert!(manual.was_dropped());
    let [first, second, third] = &mut waiting;
    manual.panic_in_call();
    assert!(catch_unwind(AssertUnwindSafe(|| first.poll())).is_err());
    assert_pending!(second.poll());
    assert_pending!(third.poll());
    manual.end(End::Answer);
    assert_eq!(assert_ready_ok!(second.poll()), Reply::Answer(2));
    assert_eq!(assert_ready_ok!(third.poll()), Reply::Answer(2));
    drop(waiting);
    assert_eq!((layer.handle().stats().claims, layer.handle().stats().waiters), (0, 0));
}
