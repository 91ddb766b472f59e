//! Duplicates get the answer of the first offer, whether they wait for it or arrive later.

mod support;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use support::{
    End, ManualService, NANO, Reply, SECOND, at_once, builder, counted, is_answer, offer, pending, reason, refuse,
    through,
};
use tokio::{
    task::{JoinSet, yield_now},
    time::advance,
};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok};
use tower::{Layer, service_fn};
use tower_offer_dedup::{Fingerprint, Offer, OfferDedupLayer, Reason, Replay, WhenBusy};

const QUEUE: WhenBusy = WhenBusy::Queue {
    depth: 8,
    timeout: Duration::from_secs(10),
};

#[tokio::test(start_paused = true)]
async fn fifty_duplicates_share_one_answer() {
    let manual = ManualService::default();
    let layer = builder(Replay::with(refuse)).build();
    let mut service = layer.layer(manual.clone());

    let mut fifty = [(); 50].map(|()| pending(&mut service, offer("p", "f")));
    assert_eq!((manual.calls(), layer.handle().stats().waiters), (1, 49));
    manual.end(End::Answer);
    assert_eq!(assert_ready_ok!(fifty[0].poll()), Reply::Answer(0));
    for waiting in &mut fifty[1..] {
        assert!(waiting.is_woken());
        assert_eq!(assert_ready_ok!(waiting.poll()), Reply::Answer(0));
    }
    let stats = layer.handle().stats();
    assert_eq!(
        (stats.admitted, stats.replayed, stats.waiters, stats.claims),
        (1, 49, 0, 0)
    );
    assert_eq!(manual.calls(), 1);
}

/// The inner service answers each call differently, so equal answers come from one call.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threaded_storm_is_one_call_per_peer() {
    const PEERS: usize = 200;
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let inner = service_fn(move |_: u64| {
        let n = counter.fetch_add(1, Relaxed);
        async move {
            yield_now().await;
            Ok::<_, Infallible>(n)
        }
    });
    let layer = OfferDedupLayer::builder()
        .offers(|peer: &u64| Some(Offer::new(*peer, Fingerprint::exact(b"f"))))
        .answer(Replay::with(|_| usize::MAX))
        .build();

    let mut storm = JoinSet::new();
    for n in 0..16 * PEERS {
        let service = layer.layer(inner.clone());
        let peer = (n % PEERS) as u64;
        storm.spawn(async move {
            let (call, polls) = counted(service.oneshot(peer));
            let Ok(answer) = call.await;
            (peer, answer, polls.load(Relaxed))
        });
    }
    let mut answers = [None; PEERS];
    for (peer, answer, polls) in storm.join_all().await {
        assert_eq!(*answers[peer as usize].get_or_insert(answer), answer);
        assert!(polls <= 3, "polled {polls} times");
    }
    assert_eq!(calls.load(Relaxed), PEERS);
    let stats = layer.handle().stats();
    assert_eq!((stats.admitted, stats.replayed), (200, 3000));
}

#[tokio::test(start_paused = true)]
async fn follower_limit_is_enforced() {
    let cases = [
        (Replay::with(refuse), 64),
        (Replay::with(refuse).max_waiters(3), 3),
        (Replay::with(refuse).max_waiters(0), 0),
    ];
    for (answer, limit) in cases {
        let manual = ManualService::default();
        let mut service = builder(answer).build().layer(manual.clone());
        let mut leader = pending(&mut service, offer("p", "f"));
        let mut waiting: Vec<_> = (0..limit).map(|_| pending(&mut service, offer("p", "f"))).collect();

        let full = Ok(Reply::Refused(Reason::QueueFull, Some(SECOND)));
        assert_eq!(at_once(&mut service, offer("p", "f")), full, "limit {limit}");
        if waiting.pop().is_some() {
            waiting.push(pending(&mut service, offer("p", "f")));
            assert_eq!(at_once(&mut service, offer("p", "f")), full, "limit {limit}");
        }

        manual.end(End::Answer);
        assert_ready_ok!(leader.poll());
        for waiting in &mut waiting {
            assert_eq!(assert_ready_ok!(waiting.poll()), Reply::Answer(0));
        }
        assert_eq!(at_once(&mut service, offer("p", "f")), Ok(Reply::Answer(0)));
    }
}

#[tokio::test(start_paused = true)]
async fn limit_counts_all_followers_of_peer() {
    let answer = Replay::with(refuse).max_waiters(2);
    let mut service = builder(answer).when_busy(QUEUE).build().layer(ManualService::default());
    let _leader = pending(&mut service, offer("p", "f"));
    let _queued = pending(&mut service, offer("p", "g"));

    let _of_the_leader = pending(&mut service, offer("p", "f"));
    let _of_the_queued = pending(&mut service, offer("p", "g"));
    for text in ["f", "g"] {
        assert_eq!(reason(at_once(&mut service, offer("p", text))), Reason::QueueFull);
    }
    let _other_leader = pending(&mut service, offer("q", "f"));
    let _other = pending(&mut service, offer("q", "f"));
}

#[tokio::test(start_paused = true)]
async fn follower_timeout_is_enforced() {
    let cases = [
        (Replay::with(refuse), 10 * SECOND),
        (Replay::with(refuse).wait_timeout(3 * SECOND), 3 * SECOND),
    ];
    for (answer, timeout) in cases {
        let manual = ManualService::default();
        let mut service = builder(answer).build().layer(manual.clone());
        let mut leader = pending(&mut service, offer("p", "f"));
        advance(SECOND).await;
        let mut waiting = [(); 2].map(|()| pending(&mut service, offer("p", "f")));

        advance(timeout - NANO).await;
        assert!(!waiting[0].is_woken());
        assert_pending!(waiting[1].poll());
        advance(NANO).await;
        assert!(waiting[0].is_woken());
        for waiting in &mut waiting {
            let late = Ok(Reply::Refused(Reason::TimedOut, Some(SECOND)));
            assert_eq!(assert_ready!(waiting.poll()), late);
        }

        manual.end(End::Answer);
        assert_ready_ok!(leader.poll());
        assert_eq!(at_once(&mut service, offer("p", "f")), Ok(Reply::Answer(0)));
    }
}

#[tokio::test(start_paused = true)]
async fn zero_follower_timeout_refuses_at_once() {
    let answer = Replay::with(refuse).wait_timeout(Duration::ZERO);
    let mut service = builder(answer).build().layer(ManualService::default());
    let _leader = pending(&mut service, offer("p", "f"));
    assert_eq!(reason(at_once(&mut service, offer("p", "f"))), Reason::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn failure_is_shared_and_not_remembered() {
    let manual = ManualService::default();
    let answer = Replay::with(refuse).success_if(is_answer);
    let mut service = builder(answer).build().layer(manual.clone());
    let mut leader = pending(&mut service, offer("p", "f"));
    let mut ten = [(); 10].map(|()| pending(&mut service, offer("p", "f")));

    manual.end(End::Failure);
    assert_eq!(assert_ready_ok!(leader.poll()), Reply::Failure(0));
    for waiting in &mut ten {
        assert_eq!(assert_ready_ok!(waiting.poll()), Reply::Failure(0));
    }
    assert_eq!(manual.calls(), 1);
    assert_eq!(
        through(&mut service, &manual, offer("p", "f"), End::Answer),
        Ok(Reply::Answer(1))
    );
}

#[tokio::test(start_paused = true)]
async fn unrecorded_offer_is_not_processed_again() {
    let manual = ManualService::default();
    let answer = Replay::with(refuse).weigher(|_: &Reply| None);
    let mut service = builder(answer).build().layer(manual.clone());
    let mut leader = pending(&mut service, offer("p", "f"));
    let mut waiting = pending(&mut service, offer("p", "f"));

    manual.end(End::Answer);
    assert_eq!(assert_ready_ok!(leader.poll()), Reply::Answer(0));
    let not_recorded = Ok(Reply::Refused(Reason::NotRecorded, None));
    assert_eq!(assert_ready!(waiting.poll()), not_recorded);
    advance(10 * SECOND - NANO).await;
    assert_eq!(at_once(&mut service, offer("p", "f")), not_recorded);
    assert_eq!(manual.calls(), 1);

    advance(NANO).await;
    assert_eq!(
        through(&mut service, &manual, offer("p", "f"), End::Answer),
        Ok(Reply::Answer(1))
    );
}

#[tokio::test(start_paused = true)]
async fn replay_extends_no_window() {
    let manual = ManualService::default();
    let mut service = builder(Replay::with(refuse)).build().layer(manual.clone());
    assert_eq!(
        through(&mut service, &manual, offer("p", "f"), End::Answer),
        Ok(Reply::Answer(0))
    );

    for step in [5 * SECOND, 5 * SECOND - NANO] {
        advance(step).await;
        assert_eq!(at_once(&mut service, offer("p", "f")), Ok(Reply::Answer(0)));
    }
    advance(NANO).await;
    let _processed = pending(&mut service, offer("p", "f"));
    assert_eq!(manual.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn duplicates_of_queued_offer_wait() {
    let manual = ManualService::default();
    let mut service = builder(Replay::with(refuse))
        .cooldown(Duration::ZERO)
        .when_busy(QUEUE)
        .build()
        .layer(manual.clone());
    let mut first = pending(&mut service, offer("p", "f"));
    let mut queued = pending(&mut service, offer("p", "g"));
    let mut duplicates = [(); 3].map(|()| pending(&mut service, offer("p", "g")));

    manual.end(End::Answer);
    assert_ready_ok!(first.poll());
    for duplicate in &mut duplicates {
        assert_pending!(duplicate.poll());
    }
    assert_pending!(queued.poll());
    manual.end(End::Answer);
    assert_eq!(assert_ready_ok!(queued.poll()), Reply::Answer(1));
    for duplicate in &mut duplicates {
        assert_eq!(assert_ready_ok!(duplicate.poll()), Reply::Answer(1));
    }
    assert_eq!(manual.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn leader_duplicates_skip_the_queue() {
    let manual = ManualService::default();
    let mut service = builder(Replay::with(refuse))
        .when_busy(QUEUE)
        .build()
        .layer(manual.clone());
    let mut leader = pending(&mut service, offer("p", "f"));
    let mut queued = ["g", "h"].map(|text| pending(&mut service, offer("p", text)));
    let mut duplicate = pending(&mut service, offer("p", "f"));

    manual.end(End::Answer);
    assert_ready_ok!(leader.poll());
    assert!(duplicate.is_woken());
    assert_eq!(assert_ready_ok!(duplicate.poll()), Reply::Answer(0));
    for queued in &mut queued {
        assert_pending!(queued.poll());
    }
}
