//! `forget` and `clear` race with the completion of an offer.

mod support;

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::FutureExt;
use support::{SECOND, together};
use tokio::{
    task::{JoinSet, yield_now},
    time::{sleep, timeout},
};
use tokio_test::{assert_pending, assert_ready, task::spawn};
use tower::{Layer, Service, service_fn};
use tower_offer_dedup::{Fingerprint, Offer, OfferDedupHandle, OfferDedupLayer, Reason, Refuse, Replay, WhenBusy};

type Way = fn(&OfferDedupHandle);

const WAYS: [(&str, Way); 2] = [
    ("forget", |handle| {
        handle.forget("p");
    }),
    ("clear", |handle| handle.clear()),
];

const ROUNDS: usize = 5000;

/// An offer of the only peer, `p`.
fn of_p(text: &&'static str) -> Option<Offer> {
    Some(Offer::new("p", Fingerprint::exact(text.as_bytes())))
}

fn processed(_: &'static str) -> Ready<Result<Option<Reason>, Infallible>> {
    ready(Ok(None))
}

#[test]
fn offer_forgotten_at_completion_is_admitted() {
    for (way, forget) in WAYS {
        let layer = OfferDedupLayer::builder()
            .offers(of_p)
            .answer(Refuse::with(|refusal| Some(refusal.reason())))
            .window(3600 * SECOND)
            .cooldown(3600 * SECOND)
            .build();
        let (mut service, handle) = (layer.layer(service_fn(processed)), layer.handle());
        for round in 0..ROUNDS {
            let old = service.call("f");
            let (ended, ()) = together(|| old.now_or_never(), || forget(&handle));
            assert_eq!(ended, Some(Ok(None)), "{way}, round {round}");

            // Whichever came first, no memory, cooldown or lock is left.
            assert!(!handle.is_processing("p"));
            let mut answer = |text| service.call(text).now_or_never().unwrap().unwrap();
            assert_eq!(answer("f"), None, "{way}, round {round}");
            assert_eq!(answer("f"), Some(Reason::Processed), "{way}, round {round}");
            assert_eq!(answer("g"), Some(Reason::CoolingDown), "{way}, round {round}");
            forget(&handle);
            let stats = handle.stats();
            assert_eq!((stats.claims, stats.waiters), (0, 0));
        }
        let stats = handle.stats();
        assert_eq!(
            (stats.admitted, stats.completed),
            (2 * ROUNDS as u64, 2 * ROUNDS as u64)
        );
    }
}

/// The old claim may still be ending when the next offer arrives.
#[test]
fn forgotten_peer_admits_despite_old_claim() {
    for (way, forget) in WAYS {
        let layer = OfferDedupLayer::builder()
            .offers(of_p)
            .answer(Refuse::with(|refusal| Some(refusal.reason())))
            .window(3600 * SECOND)
            .build();
        let (mut service, handle) = (layer.layer(service_fn(processed)), layer.handle());
        let mut next = service.clone();
        for round in 0..ROUNDS {
            let old = service.call("f");
            let ended = together(
                || old.now_or_never(),
                || {
                    forget(&handle);
                    next.call("f").now_or_never()
                },
            );
            assert_eq!(ended, (Some(Ok(None)), Some(Ok(None))), "{way}, round {round}");
            let mut answer = |text| service.call(text).now_or_never().unwrap().unwrap();
            assert_eq!(answer("f"), Some(Reason::Processed), "{way}, round {round}");
            assert_eq!(answer("g"), Some(Reason::CoolingDown), "{way}, round {round}");
            forget(&handle);
        }
    }
}

/// The old claim and the new one end at the same moment.
#[test]
fn new_claim_wins_completion_race() {
    for (way, forget) in WAYS {
        let layer = OfferDedupLayer::builder()
            .offers(of_p)
            .answer(Refuse::with(|refusal| Some(refusal.reason())))
            .window(3600 * SECOND)
            .build();
        let (mut service, handle) = (layer.layer(service_fn(processed)), layer.handle());
        for round in 0..ROUNDS {
            let old = service.call("f");
            forget(&handle);
            let new = service.call("g");
            let ended = together(|| new.now_or_never(), || old.now_or_never());
            assert_eq!(ended, (Some(Ok(None)), Some(Ok(None))), "{way}, round {round}");
            let mut answer = |text| service.call(text).now_or_never().unwrap().unwrap();
            assert_eq!(answer("g"), Some(Reason::Processed), "{way}, round {round}");
            assert_eq!(answer("f"), Some(Reason::CoolingDown), "{way}, round {round}");
            forget(&handle);
        }
    }
}

#[test]
fn follower_is_answered_when_leader_is_forgotten() {
    for (way, forget) in WAYS {
        let layer = OfferDedupLayer::builder()
            .offers(of_p)
            .answer(Replay::with(|refusal| Some(refusal.reason())))
            .build();
        let (mut service, handle) = (layer.layer(service_fn(processed)), layer.handle());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let _context = runtime.enter();
        for round in 0..ROUNDS {
            let leader = service.call("f");
            let mut waiting = [(); 2].map(|()| {
                let mut call = spawn(service.call("f"));
                assert_pending!(call.poll());
                call
            });
            let (ended, ()) = together(|| leader.now_or_never(), || forget(&handle));
            assert_eq!(ended, Some(Ok(None)), "{way}, round {round}");
            for call in &mut waiting {
                assert!(call.is_woken(), "{way}, round {round}");
                assert_eq!(assert_ready!(call.poll()), Ok(None), "{way}, round {round}");
            }
            drop(waiting);
            forget(&handle);
            let stats = handle.stats();
            assert_eq!((stats.claims, stats.waiters), (0, 0));
        }
    }
}

/// Many clients, some of which give up, while their peers are forgotten, cleared and taken over.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn stress_leaves_nothing_behind() {
    const PEERS: u64 = 8;
    let layer = OfferDedupLayer::builder()
        .offers(|(peer, text): &(u64, u64)| Some(Offer::new(*peer, Fingerprint::exact(&text.to_le_bytes()))))
        .answer(Replay::with(|_| false))
        .window(SECOND / 100)
        .cooldown(SECOND / 1000)
        .lease(SECOND / 50)
        .when_busy(WhenBusy::Queue {
            depth: 4,
            timeout: SECOND / 20,
        })
        .build();
    let inner = service_fn(|(_, text): (u64, u64)| async move {
        match text {
            0 => sleep(SECOND / 20).await,
            1 => return Err("broken"),
            _ => yield_now().await,
        }
        Ok(true)
    });
    let handle = layer.handle();
    let answered = Arc::new(AtomicU64::new(0));

    let mut tasks = JoinSet::new();
    for sender in 1..=32_u64 {
        let (service, handle, answered) = (layer.layer(inner), handle.clone(), Arc::clone(&answered));
        tasks.spawn(async move {
            let mut random = sender;
            for _ in 0..300 {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let (peer, text, max_wait) = (random >> 33 & 7, random >> 40 & 3, random >> 48 & 15);
                match random >> 56 {
                    0..8 => drop(handle.forget(peer)),
                    8..10 => handle.clear(),
                    _ => {}
                }
                let call = service.clone().oneshot((peer, text));
                if let Ok(Ok(_)) = timeout(Duration::from_millis(max_wait), call).await {
                    answered.fetch_add(1, Relaxed);
                }
            }
        });
    }
    tasks.join_all().await;

    timeout(SECOND, handle.drain()).await.expect("a claim is still held");
    let stats = handle.stats();
    assert_eq!((stats.claims, stats.waiters), (0, 0));
    assert_eq!(stats.admitted, stats.completed + stats.failed + stats.abandoned);
    assert!(answered.load(Relaxed) > 1000, "too few answers: {stats:?}");
    let offers = stats.admitted + stats.replayed + stats.refused() + stats.waits_abandoned;
    assert_eq!(offers, 32 * 300, "{stats:?}");

    support::collectors::end().await;
    for peer in 0..PEERS {
        assert!(!handle.is_processing(peer));
        assert_eq!(layer.layer(inner).oneshot((peer, 2)).await, Ok(true));
    }
}
