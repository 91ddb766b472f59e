//! `forget` and `clear` take effect at once, also on offers in flight.

mod support;

use std::time::Duration;

use support::{
    Broken, End, ManualService, Offers, Refuser, Reply, SECOND, at_once, builder, offer, pending, reason, refuse,
    settle, through,
};
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok, task::spawn};
use tower::{Layer, Service};
use tower_offer_dedup::{OfferDedup, OfferDedupHandle, Reason, Refuse, Replay, WhenBusy, builder::Inline};

type Replaying = OfferDedup<ManualService, Offers, Replay<Refuser>, Inline>;

type Way = fn(&OfferDedupHandle);

/// The two ways to forget peer `p`.
const WAYS: [(&str, Way); 2] = [
    ("forget", |handle| assert!(handle.forget("p"))),
    ("clear", |handle| handle.clear()),
];

fn replaying(manual: &ManualService) -> (Replaying, OfferDedupHandle) {
    let layer = builder(Replay::with(refuse as _)).build();
    (layer.layer(manual.clone()), layer.handle())
}

#[tokio::test(start_paused = true)]
async fn forgotten_claim_leaves_no_trace() {
    for (way, forget) in WAYS {
        for end in [End::Answer, End::Broken] {
            let manual = ManualService::default();
            let (mut service, handle) = replaying(&manual);
            let mut old = pending(&mut service, offer("p", "f"));
            forget(&handle);
            assert!(!handle.is_processing("p"));
            manual.end(end);
            let _ = assert_ready!(old.poll());
            drop(old);

            // It is neither remembered nor cooling down.
            let other = pending(&mut service, offer("p", "g"));
            drop(other);
            manual.was_dropped();
            assert_eq!(
                through(&mut service, &manual, offer("p", "f"), End::Answer),
                Ok(Reply::Answer(2)),
                "{way}"
            );
            assert_eq!(handle.stats().claims, 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn forgotten_completion_leaves_new_claim() {
    for (way, forget) in WAYS {
        let manual = ManualService::default();
        let (mut service, handle) = replaying(&manual);
        let mut old = pending(&mut service, offer("p", "f"));
        forget(&handle);
        let mut new = pending(&mut service, offer("p", "f"));
        assert_eq!(manual.calls(), 2, "{way}");

        manual.end(End::Answer);
        assert_eq!(assert_ready_ok!(old.poll()), Reply::Answer(0), "{way}");
        assert!(handle.is_processing("p"), "{way}");
        assert_eq!(reason(at_once(&mut service, offer("p", "g"))), Reason::Busy, "{way}");
        let mut duplicate = pending(&mut service, offer("p", "f"));
        advance(SECOND).await;
        manual.end(End::Answer);
        assert_eq!(assert_ready_ok!(new.poll()), Reply::Answer(1), "{way}");
        assert_eq!(assert_ready_ok!(duplicate.poll()), Reply::Answer(1), "{way}");
        assert_eq!(at_once(&mut service, offer("p", "f")), Ok(Reply::Answer(1)), "{way}");
        let cooling = Ok(Reply::Refused(Reason::CoolingDown, Some(2 * SECOND)));
        assert_eq!(at_once(&mut service, offer("p", "g")), cooling, "{way}");
        assert_eq!(manual.calls(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn late_forgotten_claim_overwrites_nothing() {
    for (way, forget) in WAYS {
        let manual = ManualService::default();
        let (mut service, handle) = replaying(&manual);
        let mut old = pending(&mut service, offer("p", "f"));
        forget(&handle);
        let mut new = pending(&mut service, offer("p", "f"));
        assert!(manual.end_nth(1, End::Answer));
        assert_ready_ok!(new.poll());
        advance(SECOND).await;

        manual.end(End::Answer);
        assert_eq!(assert_ready_ok!(old.poll()), Reply::Answer(0), "{way}");
        assert_eq!(at_once(&mut service, offer("p", "f")), Ok(Reply::Answer(1)), "{way}");
        let cooling = Ok(Reply::Refused(Reason::CoolingDown, Some(SECOND)));
        assert_eq!(at_once(&mut service, offer("p", "g")), cooling, "{way}");
        assert_eq!(handle.stats().memories, 1, "{way}");
    }
}

#[tokio::test(start_paused = true)]
async fn memories_and_cooldown_are_forgotten() {
    for (way, forget) in WAYS {
        let manual = ManualService::default();
        let (mut service, handle) = replaying(&manual);
        through(&mut service, &manual, offer("p", "f"), End::Answer).unwrap();
        assert_eq!(reason(at_once(&mut service, offer("p", "g"))), Reason::CoolingDown);
        forget(&handle);
        assert_eq!(
            through(&mut service, &manual, offer("p", "g"), End::Answer),
            Ok(Reply::Answer(1)),
            "{way}"
        );
        forget(&handle);
        assert_eq!(
            through(&mut service, &manual, offer("p", "f"), End::Answer),
            Ok(Reply::Answer(2)),
            "{way}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn memories_after_forget_are_kept() {
    for (way, forget) in WAYS {
        let manual = ManualService::default();
        let layer = builder(Refuse::with(refuse)).cooldown(Duration::ZERO).build();
        let mut service = layer.layer(manual.clone());
        for text in ["f", "g", "h"] {
            through(&mut service, &manual, offer("p", text), End::Answer).unwrap();
        }
        forget(&layer.handle());
        for text in ["h", "f", "g"] {
            through(&mut service, &manual, offer("p", text), End::Answer).unwrap();
        }
        for text in ["f", "g", "h"] {
            assert_eq!(
                reason(at_once(&mut service, offer("p", text))),
                Reason::Processed,
                "{way}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn other_peers_are_unaffected() {
    let manual = ManualService::default();
    let (mut service, handle) = replaying(&manual);
    through(&mut service, &manual, offer("p", "f"), End::Answer).unwrap();
    through(&mut service, &manual, offer("q", "f"), End::Answer).unwrap();
    let _running = pending(&mut service, offer("r", "f"));

    assert!(handle.forget("p"));
    assert_eq!(at_once(&mut service, offer("q", "f")), Ok(Reply::Answer(1)));
    assert_eq!(reason(at_once(&mut service, offer("q", "g"))), Reason::CoolingDown);
    assert_eq!(reason(at_once(&mut service, offer("r", "g"))), Reason::Busy);
    assert_eq!(handle.stats().forgotten, 1);
}

#[tokio::test(start_paused = true)]
async fn forget_reports_whether_peer_was_known() {
    let manual = ManualService::default();
    let (mut service, handle) = replaying(&manual);
    assert!(!handle.forget("p"));
    assert!(!handle.forget(("p", "q")));
    through(&mut service, &manual, offer("p", "f"), End::Answer).unwrap();
    let _running = pending(&mut service, offer("q", "f"));
    assert!(handle.forget("p"));
    assert!(!handle.forget("p"));
    assert!(handle.forget("q"));
    assert_eq!(handle.stats().forgotten, 2);
}

#[tokio::test(start_paused = true)]
async fn forget_ignores_expired_state() {
    let settings = [
        ("memory", SECOND, Duration::ZERO),
        ("cooldown", Duration::ZERO, SECOND),
        ("both", SECOND, 2 * SECOND),
    ];
    for (what, window, cooldown) in settings {
        let manual = ManualService::default();
        let layer = builder(Refuse::with(refuse)).window(window).cooldown(cooldown).build();
        let mut service = layer.layer(manual.clone());
        through(&mut service, &manual, offer("p", "f"), End::Answer).unwrap();
        advance(2 * SECOND).await;
        assert!(!layer.handle().forget("p"), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn second_forget_finds_no_claim() {
    let manual = ManualService::default();
    let (mut service, handle) = replaying(&manual);
    let _running = pending(&mut service, offer("p", "f"));
    assert!(handle.forget("p"));
    assert!(!handle.forget("p"));
}

#[tokio::test(start_paused = true)]
async fn one_follower_leads_after_forget() {
    for (way, forget) in WAYS {
        let manual = ManualService::default();
        let (mut service, handle) = replaying(&manual);
        let mut old = pending(&mut service, offer("p", "f"));
        let mut ten = [(); 10].map(|()| pending(&mut service, offer("p", "f")));
        forget(&handle);
        for waiting in &mut ten {
            assert!(waiting.is_woken(), "{way}");
            assert_pending!(waiting.poll());
        }
        assert_eq!(manual.calls(), 2, "{way}");
        manual.end(End::Answer);
        assert_eq!(assert_ready_ok!(old.poll()), Reply::Answer(0), "{way}");
        for waiting in &mut ten {
            assert_pending!(waiting.poll());
        }
        manual.end(End::Answer);
        for waiting in &mut ten {
            assert_eq!(assert_ready_ok!(waiting.poll()), Reply::Answer(1), "{way}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn queued_offers_decide_again_after_forget() {
    for (way, forget) in WAYS {
        let manual = ManualService::default();
        let layer = builder(Refuse::with(refuse))
            .when_busy(WhenBusy::Queue {
                depth: 8,
                timeout: 10 * SECOND,
            })
            .build();
        let mut service = layer.layer(manual.clone());
        let mut old = pending(&mut service, offer("p", "f"));
        let mut front = pending(&mut service, offer("p", "g"));
        let mut back = pending(&mut service, offer("p", "h"));

        forget(&layer.handle());
        assert!(front.is_woken() && back.is_woken(), "{way}");
        let mut newcomer = pending(&mut service, offer("p", "f"));
        assert_eq!((manual.calls(), manual.call_text(1)), (2, "f".to_owned()), "{way}");
        for call in [&mut front, &mut back] {
            assert_pending!(call.poll());
        }

        manual.end(End::Answer);
        assert_ready_ok!(old.poll());
        assert_eq!(manual.calls(), 2, "{way}");
        manual.end(End::Broken);
        assert_eq!(assert_ready_err!(newcomer.poll()), Broken);
        assert_pending!(front.poll());
        assert_pending!(back.poll());
        assert_eq!((manual.calls(), manual.call_text(2)), (3, "g".to_owned()), "{way}");
    }
}

#[tokio::test(start_paused = true)]
async fn queue_runs_once_cooldown_is_forgotten() {
    for (way, forget) in WAYS {
        let manual = ManualService::default();
        let layer = builder(Refuse::with(refuse))
            .when_busy(WhenBusy::Queue {
                depth: 8,
                timeout: 10 * SECOND,
            })
            .build();
        let mut service = layer.layer(manual.clone());
        through(&mut service, &manual, offer("p", "f"), End::Answer).unwrap();
        let mut front = pending(&mut service, offer("p", "g"));
        forget(&layer.handle());
        assert!(front.is_woken(), "{way}");
        assert_pending!(front.poll());
        assert_eq!(manual.calls(), 2, "{way}");

        manual.end(End::Answer);
        assert_ready_ok!(front.poll());
        assert_ready!(spawn(service.call(offer("p", "g"))).poll()).unwrap();
        assert_eq!(layer.handle().stats().refused_processed, 1, "{way}");
    }
}

#[tokio::test(start_paused = true)]
async fn is_processing_while_claim_is_held() {
    let manual = ManualService::default();
    let (mut service, handle) = replaying(&manual);
    assert!(!handle.is_processing("p"));
    let mut call = spawn(service.call(offer("p", "f")));
    assert!(handle.is_processing("p"));
    assert!(!handle.is_processing("q"));
    assert_pending!(call.poll());
    assert!(handle.is_processing("p"));
    manual.end(End::Answer);
    assert_ready_ok!(call.poll());
    assert!(!handle.is_processing("p"));

    let call = pending(&mut service, offer("q", "f"));
    drop(call);
    assert!(!handle.is_processing("q"));
}

#[tokio::test(start_paused = true)]
async fn drain_waits_for_every_claim() {
    let manual = ManualService::default();
    let (mut service, handle) = replaying(&manual);
    assert_ready!(spawn(handle.drain()).poll());

    let mut forgotten = pending(&mut service, offer("p", "f"));
    let second = pending(&mut service, offer("q", "f"));
    assert!(handle.forget("p"));
    let mut drain = spawn(handle.drain());
    assert_pending!(drain.poll());
    assert_eq!(handle.stats().claims, 2);
    drop(second);
    assert_pending!(drain.poll());
    manual.end(End::Answer);
    assert_ready_ok!(forgotten.poll());
    assert!(drain.is_woken());
    assert_ready!(drain.poll());
    assert_eq!(handle.stats().claims, 0);
}

#[tokio::test(start_paused = true)]
async fn drain_waits_for_detached_claims() {
    for is_forgotten in [false, true] {
        let manual = ManualService::default();
        let layer = builder(Refuse::with(refuse)).finish_abandoned().build();
        let (mut service, handle) = (layer.layer(manual.clone()), layer.handle());
        drop(pending(&mut service, offer("p", "f")));
        settle().await;
        assert_eq!(manual.calls(), 1);
        if is_forgotten {
            assert!(handle.forget("p"));
        }
        let mut drain = spawn(handle.drain());
        assert_pending!(drain.poll());
        manual.end(End::Answer);
        settle().await;
        assert!(drain.is_woken());
        assert_ready!(drain.poll());

        let again = spawn(service.call(offer("p", "f"))).poll();
        assert_eq!(again.is_pending(), is_forgotten);
    }
}
