//! `forget` and `clear` remove every queue place. Each waiter wakes up, and decides again with its old deadline.

mod support;

use std::time::Duration;

use support::{
    End, NANO, Reply, SECOND,
    layered::{Layered, Policy, queueing},
    offer, pending, reason, settle,
};
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready, assert_ready_ok};
use tower_offer_dedup::{OfferDedupBuilder, OfferDedupHandle, Reason, WhenBusy};

fn patient(builder: OfferDedupBuilder) -> OfferDedupBuilder {
    queueing(builder).cooldown(Duration::ZERO).lease(Duration::MAX)
}

type Way = fn(&OfferDedupHandle);

const WAYS: [(&str, Way); 2] = [
    ("forget", |handle| assert!(handle.forget("p"))),
    ("clear", |handle| handle.clear()),
];

#[tokio::test(start_paused = true)]
async fn newcomer_passes_a_forgotten_queue() {
    for (way, forget) in WAYS {
        let mut layered = Layered::new(Policy::Refuse, patient);
        let _old = pending(&mut layered.service, offer("p", "f"));
        let waiting = ["g", "h"].map(|text| pending(&mut layered.service, offer("p", text)));
        forget(&layered.handle);
        assert!(waiting.iter().all(|call| call.is_woken()), "{way}");
        let _newcomer = pending(&mut layered.service, offer("p", "i"));
        assert_eq!(layered.manual.calls(), 2, "{way}");
        assert_eq!(layered.manual.call_text(1), "i", "{way}");
    }
}

#[tokio::test(start_paused = true)]
async fn waiters_queue_anew_in_poll_order() {
    for (way, forget) in WAYS {
        let mut layered = Layered::new(Policy::Refuse, patient);
        let _old = pending(&mut layered.service, offer("p", "f"));
        let [mut g, mut h, mut i] = ["g", "h", "i"].map(|text| pending(&mut layered.service, offer("p", text)));
        forget(&layered.handle);
        for call in [&mut h, &mut i, &mut g] {
            assert_pending!(call.poll(), "{way}");
        }
        assert_eq!(layered.manual.call_text(1), "h", "{way}");
        assert!(layered.manual.end_nth(1, End::Answer));
        assert_eq!(assert_ready_ok!(h.poll()), Reply::Answer(1), "{way}");
        assert_pending!(g.poll(), "{way}");
        assert_pending!(i.poll(), "{way}");
        assert_eq!(
            (layered.manual.calls(), layered.manual.call_text(2)),
            (3, "i".to_owned()),
            "{way}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn forgotten_waiter_keeps_its_deadline() {
    for (way, forget) in WAYS {
        let mut layered = Layered::new(Policy::Refuse, patient);
        let _old = pending(&mut layered.service, offer("p", "f"));
        let mut waiting = pending(&mut layered.service, offer("p", "g"));
        advance(6 * SECOND).await;
        forget(&layered.handle);
        let _newcomer = pending(&mut layered.service, offer("p", "h"));
        assert_eq!(layered.manual.calls(), 2, "{way}");
        assert_pending!(waiting.poll(), "{way}");
        advance(4 * SECOND - NANO).await;
        assert_pending!(waiting.poll(), "{way}");
        advance(NANO).await;
        settle().await;
        assert!(waiting.is_woken(), "{way}");
        assert_eq!(reason(assert_ready!(waiting.poll())), Reason::TimedOut, "{way}");
    }
}

#[tokio::test(start_paused = true)]
async fn waiter_meets_what_came_meanwhile() {
    for (way, forget) in WAYS {
        let mut layered = Layered::new(Policy::Refuse, patient);
        let _old = pending(&mut layered.service, offer("p", "f"));
        let mut waiting = pending(&mut layered.service, offer("p", "g"));
        forget(&layered.handle);
        let mut same = pending(&mut layered.service, offer("p", "g"));
        assert!(
            layered.manual.end_nth(1, End::Answer),
            "{way}: the newcomer is processed"
        );
        assert_ready_ok!(same.poll());
        assert_eq!(reason(assert_ready!(waiting.poll())), Reason::Processed, "{way}");
    }
}

/// A queue that had room for these waiters has room for them again.
#[tokio::test(start_paused = true)]
async fn forgotten_waiters_fit_again() {
    let settings = |builder: OfferDedupBuilder| {
        let timeout = 10 * SECOND;
        patient(builder).when_busy(WhenBusy::Queue { depth: 2, timeout })
    };
    for (way, forget) in WAYS {
        let mut layered = Layered::new(Policy::Refuse, settings);
        let _old = pending(&mut layered.service, offer("p", "f"));
        let mut waiting = ["g", "h"].map(|text| pending(&mut layered.service, offer("p", text)));
        forget(&layered.handle);
        for call in &mut waiting {
            assert_pending!(call.poll(), "{way}");
        }
        assert_eq!((layered.manual.calls(), layered.stats().waiters), (2, 1), "{way}");
    }
}
