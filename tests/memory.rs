//! Processed offers are remembered for the window, and within the limits.

mod support;

use std::time::Duration;

use support::{
    Builder, End, ManualService, NANO, Refuser, Reply, SECOND, at_once, builder, is_answer, offer, pending, reason,
    refuse, through,
};
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok};
use tower::Layer;
use tower_offer_dedup::{Reason, Refuse, Replay};

fn refusing() -> Builder<Refuse<Refuser>> {
    builder(Refuse::with(refuse as _))
}

#[tokio::test(start_paused = true)]
async fn without_memory_only_the_lock_refuses() {
    let settings = [
        ("no window", refusing().window(Duration::ZERO), true),
        // Without memory there is no cooldown either.
        ("no memory", refusing().max_memory(0), false),
    ];
    for (what, builder, cools) in settings {
        let manual = ManualService::default();
        let layer = builder.build();
        let mut service = layer.layer(manual.clone());
        let mut first = pending(&mut service, offer("p", "f"));
        assert_eq!(
            reason(at_once(&mut service, offer("p", "f"))),
            Reason::InFlight,
            "{what}"
        );
        manual.end(End::Answer);
        assert_ready_ok!(first.poll());
        if cools {
            let refused = at_once(&mut service, offer("p", "f"));
            assert_eq!(reason(refused), Reason::CoolingDown, "{what}");
            advance(2 * SECOND).await;
        }
        assert_eq!(
            through(&mut service, &manual, offer("p", "f"), End::Answer),
            Ok(Reply::Answer(1)),
            "{what}"
        );
        assert_eq!(layer.handle().stats().memories, 0, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn followers_are_answered_without_memory() {
    let manual = ManualService::default();
    let mut service = builder(Replay::with(refuse))
        .window(Duration::ZERO)
        .build()
        .layer(manual.clone());
    let mut first = pending(&mut service, offer("p", "f"));
    let mut waiting = pending(&mut service, offer("p", "f"));
    manual.end(End::Answer);
    assert_ready_ok!(first.poll());
    assert_eq!(assert_ready_ok!(waiting.poll()), Reply::Answer(0));
}

/// The window starts when processing ends, and its end is exact.
#[tokio::test(start_paused = true)]
async fn window_length_is_exact() {
    let settings = [
        (refusing(), 10 * SECOND),
        (refusing().window(3 * SECOND), 3 * SECOND),
        (refusing().window(1000 * SECOND), 1000 * SECOND),
    ];
    for (builder, window) in settings {
        let manual = ManualService::default();
        let mut service = builder.build().layer(manual.clone());
        let mut first = pending(&mut service, offer("p", "f"));
        advance(5 * SECOND).await;
        manual.end(End::Answer);
        assert_ready_ok!(first.poll());
        advance(window - NANO).await;
        let processed = Ok(Reply::Refused(Reason::Processed, None));
        assert_eq!(at_once(&mut service, offer("p", "f")), processed, "{window:?}");
        advance(NANO).await;
        assert_eq!(
            through(&mut service, &manual, offer("p", "f"), End::Answer),
            Ok(Reply::Answer(1)),
            "{window:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn endless_window_and_cooldown_never_end() {
    let manual = ManualService::default();
    let layer = refusing().window(Duration::MAX).cooldown(Duration::MAX).build();
    let mut service = layer.layer(manual.clone());
    through(&mut service, &manual, offer("p", "f"), End::Answer).unwrap();
    advance(100 * 365 * 24 * 3600 * SECOND).await;
    assert_eq!(reason(at_once(&mut service, offer("p", "f"))), Reason::Processed);
    assert_eq!(reason(at_once(&mut service, offer("p", "g"))), Reason::CoolingDown);

    assert!(layer.handle().forget("p"));
    assert_eq!(
        through(&mut service, &manual, offer("p", "g"), End::Answer),
        Ok(Reply::Answer(1))
    );
}

/// The cooldown starts when processing ends, and its end is exact. Each refusal carries the time left.
#[tokio::test(start_paused = true)]
async fn cooldown_length_is_exact() {
    let settings = [(refusing(), 2 * SECOND), (refusing().cooldown(5 * SECOND), 5 * SECOND)];
    for (builder, cooldown) in settings {
        let manual = ManualService::default();
        let mut service = builder.build().layer(manual.clone());
        let mut first = pending(&mut service, offer("p", "f"));
        advance(3 * SECOND).await;
        manual.end(End::Answer);
        assert_ready_ok!(first.poll());
        for left in [cooldown, SECOND, NANO] {
            let cooling = Ok(Reply::Refused(Reason::CoolingDown, Some(left)));
            assert_eq!(at_once(&mut service, offer("p", "g")), cooling);
            advance(if left == cooldown {
                cooldown - SECOND
            } else if left == SECOND {
                SECOND - NANO
            } else {
                NANO
            })
            .await;
        }
        let _next = pending(&mut service, offer("p", "g"));
    }
}

#[tokio::test(start_paused = true)]
async fn refusal_extends_no_window_or_cooldown() {
    let manual = ManualService::default();
    let mut service = refusing().build().layer(manual.clone());
    through(&mut service, &manual, offer("p", "f"), End::Answer).unwrap();
    advance(SECOND).await;
    assert_eq!(reason(at_once(&mut service, offer("p", "f"))), Reason::Processed);
    assert_eq!(reason(at_once(&mut service, offer("p", "g"))), Reason::CoolingDown);
    advance(SECOND).await;
    let running = pending(&mut service, offer("p", "g"));
    assert_eq!(reason(at_once(&mut service, offer("p", "h"))), Reason::Busy);
    assert_eq!(reason(at_once(&mut service, offer("p", "g"))), Reason::InFlight);
    drop(running);
    assert!(manual.was_dropped());

    advance(8 * SECOND).await;
    for (n, text) in ["f", "g", "h"].into_iter().enumerate() {
        assert_eq!(
            through(&mut service, &manual, offer("p", text), End::Answer),
            Ok(Reply::Answer(n + 2))
        );
        advance(2 * SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn failure_frees_the_peer() {
    for end in [End::Failure, End::Broken] {
        let manual = ManualService::default();
        let mut service = builder(Refuse::with(refuse).success_if(is_answer))
            .build()
            .layer(manual.clone());
        let _ = through(&mut service, &manual, offer("p", "f"), end);
        let other = through(&mut service, &manual, offer("p", "g"), End::Failure);
        assert_eq!(other, Ok(Reply::Failure(1)));
        let again = through(&mut service, &manual, offer("p", "f"), End::Answer);
        assert_eq!(again, Ok(Reply::Answer(2)));
    }
}

#[tokio::test(start_paused = true)]
async fn failures_are_remembered_on_request() {
    let manual = ManualService::default();
    let answer = Replay::with(refuse).success_if(is_answer);
    let mut service = builder(answer).remember_failures(true).build().layer(manual.clone());
    let mut first = pending(&mut service, offer("p", "f"));
    let mut waiting = pending(&mut service, offer("p", "f"));
    manual.end(End::Failure);
    assert_eq!(assert_ready_ok!(first.poll()), Reply::Failure(0));
    assert_eq!(assert_ready_ok!(waiting.poll()), Reply::Failure(0));
    assert_eq!(at_once(&mut service, offer("p", "f")), Ok(Reply::Failure(0)));
    assert_eq!(reason(at_once(&mut service, offer("p", "g"))), Reason::CoolingDown);
    advance(10 * SECOND).await;
    assert_eq!(
        through(&mut service, &manual, offer("p", "f"), End::Answer),
        Ok(Reply::Answer(1))
    );
}

#[tokio::test(start_paused = true)]
async fn remembered_errors_refuse_duplicates() {
    let manual = ManualService::default();
    let mut service = builder(Replay::with(refuse))
        .remember_failures(true)
        .build()
        .layer(manual.clone());
    let mut first = pending(&mut service, offer("p", "f"));
    let mut waiting = pending(&mut service, offer("p", "f"));
    manual.end(End::Broken);
    assert_ready_err!(first.poll());
    let not_recorded = Ok(Reply::Refused(Reason::NotRecorded, None));
    assert_eq!(assert_ready!(waiting.poll()), not_recorded);
    assert_eq!(at_once(&mut service, offer("p", "f")), not_recorded);
    assert_eq!(reason(at_once(&mut service, offer("p", "g"))), Reason::CoolingDown);

    let manual = ManualService::default();
    let mut service = refusing().remember_failures(true).build().layer(manual.clone());
    through(&mut service, &manual, offer("p", "f"), End::Broken).unwrap_err();
    assert_eq!(reason(at_once(&mut service, offer("p", "f"))), Reason::Processed);
}

/// Only completed processing can be remembered.
#[tokio::test(start_paused = true)]
async fn dropped_offer_is_never_remembered() {
    let manual = ManualService::default();
    let mut service = refusing().remember_failures(true).build().layer(manual.clone());
    drop(pending(&mut service, offer("p", "f")));
    let _other = pending(&mut service, offer("p", "g"));
    drop(_other);
    let _again = pending(&mut service, offer("p", "f"));
    assert_eq!(manual.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn last_sixteen_offers_are_remembered() {
    let manual = ManualService::default();
    let layer = refusing().cooldown(Duration::ZERO).build();
    let mut service = layer.layer(manual.clone());
    for n in 0..17 {
        through(&mut service, &manual, offer("p", n.to_string()), End::Answer).unwrap();
    }
    assert_eq!(layer.handle().stats().memories, 16);
    for n in 1..17 {
        assert_eq!(
            reason(at_once(&mut service, offer("p", n.to_string()))),
            Reason::Processed,
            "{n}"
        );
    }
    let mut oldest = pending(&mut service, offer("p", "0"));
    assert_pending!(oldest.poll());
}

/// Each offer has its own window.
#[tokio::test(start_paused = true)]
async fn later_offer_extends_no_window() {
    let manual = ManualService::default();
    let mut service = refusing().cooldown(Duration::ZERO).build().layer(manual.clone());
    through(&mut service, &manual, offer("p", "f"), End::Answer).unwrap();
    advance(6 * SECOND).await;
    through(&mut service, &manual, offer("p", "g"), End::Answer).unwrap();
    advance(4 * SECOND).await;
    assert_eq!(reason(at_once(&mut service, offer("p", "g"))), Reason::Processed);
    through(&mut service, &manual, offer("p", "f"), End::Answer).unwrap();
    advance(6 * SECOND - NANO).await;
    assert_eq!(reason(at_once(&mut service, offer("p", "g"))), Reason::Processed);
    advance(NANO).await;
    through(&mut service, &manual, offer("p", "g"), End::Answer).unwrap();
}

#[tokio::test(start_paused = true)]
async fn oversized_answer_is_not_recorded() {
    let manual = ManualService::default();
    let answer = Replay::with(refuse).weigher(|_: &Reply| Some(usize::MAX));
    let mut service = builder(answer).cooldown(Duration::ZERO).build().layer(manual.clone());
    for text in ["f", "g", "h"] {
        assert!(through(&mut service, &manual, offer("p", text), End::Answer).is_ok());
        assert_eq!(reason(at_once(&mut service, offer("p", text))), Reason::NotRecorded);
    }
}
