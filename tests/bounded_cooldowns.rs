//! Cooldowns take at most a quarter of the memory. Those that end early count as evicted. `clear` frees their memory.

mod support;

use std::{
    alloc::System,
    convert::Infallible,
    future::{Pending, Ready, pending, ready},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt, future::Either};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use support::{SECOND, process};
use tower::{Layer, Service, service_fn, util::BoxCloneService};
use tower_offer_dedup::{Fingerprint, Offer, OfferDedupBuilder, OfferDedupHandle, OfferDedupLayer, Refuse};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The allocator counts for the whole process, so one test runs at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let what = "the collector of the last test ends";
    process::wait_until(what, 10 * SECOND, || process::collectors() == 0);
    guard
}

/// Returns the bytes in use on the heap.
fn heap() -> u64 {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.wrapping_sub(stats.bytes_deallocated) as u64
}

/// A peer, and the number of one of its offers. Offer 0 completes at once; others never complete.
type Request = (u64, u64);

type Answer = Either<Ready<Result<bool, Infallible>>, Pending<Result<bool, Infallible>>>;

struct Server {
    service: BoxCloneService<Request, bool, Infallible>,
    handle: OfferDedupHandle,
}

impl Server {
    /// Cooldowns and windows last for an hour.
    fn new(settings: impl FnOnce(OfferDedupBuilder) -> OfferDedupBuilder) -> Self {
        let builder = OfferDedupLayer::builder().cooldown(3600 * SECOND).window(3600 * SECOND);
        let layer = settings(builder)
            .offers(|(peer, n): &Request| Some(Offer::new(*peer, Fingerprint::exact(&n.to_le_bytes()))))
            .answer(Refuse::with(|_| false))
            .build();
        let handle = layer.handle();
        let inner = service_fn(|(_, n): Request| -> Answer {
            if n == 0 {
                Either::Left(ready(Ok(true)))
            } else {
                Either::Right(pending())
            }
        });
        let service = BoxCloneService::new(layer.layer(inner));
        Self { service, handle }
    }

    fn process(&mut self, peers: std::ops::Range<u64>) {
        for peer in peers {
            self.service.call((peer, 0)).now_or_never().unwrap().unwrap();
        }
    }

    /// Sends another offer, and drops it if it is admitted. Returns `true` if it is refused.
    fn is_cooling(&mut self, peer: u64) -> bool {
        self.service.call((peer, 1)).now_or_never().is_some()
    }
}

/// Remembers no offer, so that cooldowns are all that is kept.
fn cooldowns_alone(builder: OfferDedupBuilder) -> OfferDedupBuilder {
    builder.window(Duration::ZERO)
}

#[test]
fn half_a_million_cooldowns_stay_bounded() {
    let _alone = alone();
    const PEERS: u64 = 500_000;
    let mut server = Server::new(|builder| cooldowns_alone(builder).max_memory(16 * MIB));
    let before = heap();
    server.process(0..PEERS);
    let grown = heap().saturating_sub(before);
    assert!(grown <= 8 * MIB, "cooldowns take {} KiB", grown / KIB);
    let stats = server.handle.stats();
    assert!(stats.evicted > PEERS / 2, "{stats:?}");
    assert!(server.is_cooling(PEERS - 1), "the newest is kept");
    assert!(!server.is_cooling(0), "the oldest has ended");
}

#[test]
fn every_cooldown_runs_or_is_evicted() {
    let _alone = alone();
    const PEERS: u64 = 20_000;
    let mut server = Server::new(|builder| cooldowns_alone(builder).max_memory(MIB));
    server.process(0..PEERS);
    let evicted = server.handle.stats().evicted;
    assert!(evicted > 0, "a quarter of the memory holds all");
    let cooling = (0..PEERS).filter(|peer| server.is_cooling(*peer)).count() as u64;
    assert!(cooling > 100, "{cooling} still cool");
    assert_eq!(cooling + evicted, PEERS);
    let newest = (PEERS - 100..PEERS).filter(|peer| server.is_cooling(*peer)).count();
    assert_eq!(newest, 100, "the oldest end early");
}

#[test]
fn room_for_all_evicts_none() {
    let _alone = alone();
    let mut server = Server::new(cooldowns_alone);
    server.process(0..10_000);
    assert_eq!(server.handle.stats().evicted, 0);
    assert!((0..10_000).all(|peer| server.is_cooling(peer)));
}

#[test]
fn more_memory_holds_more_cooldowns() {
    let _alone = alone();
    let cooling = [MIB / 2, 2 * MIB].map(|max_memory| {
        let mut server = Server::new(|builder| cooldowns_alone(builder).max_memory(max_memory));
        server.process(0..40_000);
        (0..40_000).filter(|peer| server.is_cooling(*peer)).count()
    });
    let [less, more] = cooling;
    assert!(more >= 3 * less && more <= 5 * less, "{less} and {more}");
}

#[test]
fn clear_gives_the_room_back() {
    let _alone = alone();
    let mut server = Server::new(cooldowns_alone);
    let before = heap();
    server.process(0..50_000);
    let full = heap() - before;
    assert!(full > 2 * MIB, "{} KiB in use", full / KIB);
    server.handle.clear();
    let most = before + full / 16;
    process::wait_until("the room is given back", 3 * SECOND, || heap() <= most);
    assert_eq!(server.handle.stats().evicted, 0);
    assert!(!server.is_cooling(0));
}

/// Sends 10,000 offers, and counts how many of them 1 MiB remembers.
fn remembered(cooldown: Duration) -> u64 {
    let mut server = Server::new(|builder| builder.cooldown(cooldown).max_memory(MIB));
    server.process(0..10_000);
    process::wait_until("within the memory", 10 * SECOND, || server.handle.stats().bytes <= MIB);
    // moka evicts in the background. It is done when the count stays the same.
    let mut last = 0;
    process::wait_until("settled", 10 * SECOND, || {
        std::thread::sleep(SECOND / 10);
        let now = server.handle.stats().memories;
        std::mem::replace(&mut last, now) == now
    });
    last
}

/// With a cooldown, memories get a quarter less.
#[test]
fn quarter_is_set_aside_for_cooldowns() {
    let _alone = alone();
    let (with, without) = (remembered(3600 * SECOND), remembered(Duration::ZERO));
    let share = with as f64 / without as f64;
    assert!((0.6..0.85).contains(&share), "{with} with cooldowns, {without} without");
}

#[test]
fn no_memory_means_no_cooldown() {
    let _alone = alone();
    let mut server = Server::new(|builder| builder.max_memory(0));
    server.process(0..1);
    assert!(!server.is_cooling(0));
    assert_eq!((server.handle.stats().memories, server.handle.stats().evicted), (0, 0));
}
