//! Decisions never use a time that another thread has overtaken.

mod support;

use std::{
    convert::Infallible,
    future::ready,
    hint::spin_loop,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use support::{
    SECOND,
    layered::{Layered, Policy},
    offer, process,
};
use tower::{Layer, Service, service_fn};
use tower_offer_dedup::{Fingerprint, Offer, OfferDedupLayer, Refuse, WhenBusy};

#[test]
fn zero_lease_refuses_nobody_as_busy() {
    const OFFERS: u64 = 200_000;
    let layered = Layered::new(Policy::Refuse, |builder| {
        builder.lease(Duration::ZERO).cooldown(Duration::ZERO)
    });
    thread::scope(|threads| {
        for part in 0..2 {
            let mut service = layered.service.clone();
            threads.spawn(move || {
                let mut held = None;
                for n in 0..OFFERS {
                    // Keep the previous claim until this one exists.
                    drop(held.replace(service.call(offer("p", format!("{part} {n}")))));
                }
            });
        }
    });
    let stats = layered.stats();
    assert_eq!((stats.refused_busy, stats.admitted), (0, 2 * OFFERS));
}

/// Ids of peers in one of the 128 shards of the lock table. Only a sweep of the same shard can race with them.
fn peers_of_one_shard() -> impl Iterator<Item = u64> {
    (0..).filter(|id: &u64| {
        let mut digest = blake3::Hasher::new();
        digest
            .update(b"n")
            .update(&8_u64.to_le_bytes())
            .update(&id.to_le_bytes());
        digest.finalize().as_bytes()[15].is_multiple_of(128)
    })
}

/// One thread leaves the queue of a peer near the end of its cooldown. The other sweeps the shard all the time.
#[test]
fn cooled_peers_leave_nothing_to_collect() {
    const COOLDOWN: Duration = Duration::from_micros(60);
    let layer = OfferDedupLayer::builder()
        .offers(|(peer, n): &(u64, u64)| Some(Offer::new(*peer, Fingerprint::exact(&n.to_le_bytes()))))
        .answer(Refuse::with(|_| false))
        .window(SECOND / 1000)
        .cooldown(COOLDOWN)
        .when_busy(WhenBusy::Queue {
            depth: 1,
            timeout: SECOND,
        })
        .build();
    let service = layer.layer(service_fn(|_: (u64, u64)| ready(Ok::<_, Infallible>(true))));
    let is_over = AtomicBool::new(false);
    let mut peers = peers_of_one_shard();
    let swept = peers.next().unwrap();
    thread::scope(|threads| {
        threads.spawn(|| {
            let mut service = service.clone();
            // The peer is busy and its queue is full, so each call is refused after a sweep.
            let _busy = [0, 1].map(|n| service.call((swept, n)));
            while !is_over.load(Relaxed) {
                drop(service.call((swept, 2)));
            }
        });
        let mut service = service.clone();
        for (n, peer) in (0..10_000).zip(peers) {
            service.call((peer, 0)).now_or_never().unwrap().unwrap();
            // The cooldown began before the offer was written to the memory, some microseconds ago.
            let leave = Instant::now() + COOLDOWN - Duration::from_nanos(n % 400 * 150);
            let queued = service.call((peer, 1));
            while Instant::now() < leave {
                spin_loop();
            }
            drop(queued);
        }
        is_over.store(true, Relaxed);
    });
    let stats = layer.handle().stats();
    assert_eq!((stats.claims, stats.waiters), (0, 0));
    process::wait_until("the collector ends", 5 * SECOND, || process::collectors() == 0);
}
