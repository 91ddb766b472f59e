//! Every memory that is removed to stay inside a limit counts as evicted. An expired one does not.

mod support;

use std::{
    convert::Infallible,
    future::ready,
    thread,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use support::SECOND;
use tokio::time::advance;
use tower::{Layer, Service, service_fn, util::BoxCloneService};
use tower_offer_dedup::{Fingerprint, Offer, OfferDedupBuilder, OfferDedupHandle, OfferDedupLayer, Refuse};

/// The offer `n` of a peer.
type Request = (u64, u64);

struct Server {
    service: BoxCloneService<Request, bool, Infallible>,
    handle: OfferDedupHandle,
}

impl Server {
    fn new(settings: impl FnOnce(OfferDedupBuilder) -> OfferDedupBuilder) -> Self {
        let builder = OfferDedupLayer::builder()
            .cooldown(Duration::ZERO)
            .window(3600 * SECOND);
        let layer = settings(builder)
            .offers(|(peer, n): &Request| Some(Offer::new(*peer, Fingerprint::exact(&n.to_le_bytes()))))
            .answer(Refuse::with(|_| false))
            .build();
        let handle = layer.handle();
        let inner = service_fn(|_: Request| ready(Ok(true)));
        let service = BoxCloneService::new(layer.layer(inner));
        Self { service, handle }
    }

    /// Sends an offer. Returns `true` if it is processed.
    fn send(&mut self, peer: u64, n: u64) -> bool {
        self.service.call((peer, n)).now_or_never().unwrap().unwrap()
    }

    /// Waits until the memory is within `bytes`. moka evicts in the background.
    #[track_caller]
    fn settle(&self, bytes: u64) {
        let start = Instant::now();
        while self.handle.stats().bytes > bytes {
            assert!(start.elapsed() < 10 * SECOND, "{:?}", self.handle.stats());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn seventeenth_offer_evicts_the_oldest() {
    let mut server = Server::new(|builder| builder);
    for n in 0..16 {
        assert!(server.send(1, n));
        assert_eq!(server.handle.stats().evicted, 0);
    }
    assert!(server.send(1, 16));
    let stats = server.handle.stats();
    assert_eq!((stats.evicted, stats.memories), (1, 16));
    assert!(!server.send(1, 1), "the second is remembered");
    assert!(server.send(1, 0), "the first is evicted");
    assert_eq!(server.handle.stats().evicted, 2);
}

#[test]
fn full_memory_counts_whole_peers() {
    const MAX: u64 = 64 * 1024;
    let mut server = Server::new(|builder| builder.max_memory(MAX));
    for peer in 0..1000 {
        assert!(server.send(peer, 0));
    }
    server.settle(MAX);
    let stats = server.handle.stats();
    assert!(stats.memories > 50, "{stats:?}");
    assert_eq!(stats.evicted + stats.memories, 1000);
}

#[test]
fn full_memory_counts_all_offers_of_a_peer() {
    const MAX: u64 = 16 * 1024;
    let mut server = Server::new(|builder| builder.max_memory(MAX));
    for peer in 0..100 {
        for n in 0..4 {
            assert!(server.send(peer, n));
        }
    }
    server.settle(MAX);
    let stats = server.handle.stats();
    assert_eq!(stats.evicted + stats.memories, 400);
}

#[test]
fn one_peer_over_the_memory_is_cut() {
    for max_memory in [600, 800, 1200] {
        let mut server = Server::new(|builder| builder.max_memory(max_memory));
        for n in 0..16 {
            assert!(server.send(1, n));
        }
        server.settle(max_memory);
        let stats = server.handle.stats();
        assert!(stats.memories < 16, "{max_memory}: {stats:?}");
        assert_eq!(stats.evicted + stats.memories, 16, "{max_memory}");
    }
}

#[tokio::test(start_paused = true)]
async fn expired_offers_are_not_evicted() {
    let mut server = Server::new(|builder| builder.window(100 * SECOND));
    for round in 0..4 {
        for n in 0..16 {
            assert!(server.send(1, n), "round {round}");
        }
        advance(100 * SECOND).await;
    }
    assert_eq!(server.handle.stats().evicted, 0);
}

#[tokio::test(start_paused = true)]
async fn live_offers_among_expired_ones_are_evicted() {
    let mut server = Server::new(|builder| builder.window(100 * SECOND));
    for n in 0..8 {
        assert!(server.send(1, n));
    }
    advance(50 * SECOND).await;
    for n in 8..16 {
        assert!(server.send(1, n));
    }
    advance(50 * SECOND).await;
    // The first eight have expired, and the others leave room for eight.
    for n in 16..27 {
        assert!(server.send(1, n));
    }
    assert_eq!(server.handle.stats().evicted, 3);
}

#[test]
fn forgotten_offers_are_not_evicted() {
    for clears in [false, true] {
        let mut server = Server::new(|builder| builder);
        for _ in 0..3 {
            for n in 0..10 {
                assert!(server.send(1, n));
            }
            if clears {
                server.handle.clear();
            } else {
                assert!(server.handle.forget(1));
            }
        }
        server.settle(0);
        assert_eq!(server.handle.stats().evicted, 0);
    }
}

/// Two threads send offers of one peer. Each offer is remembered or counted as evicted once.
#[test]
fn concurrent_evictions_count_once() {
    let server = Server::new(|builder| builder);
    thread::scope(|threads| {
        for part in 0..2 {
            let mut service = server.service.clone();
            threads.spawn(move || {
                for n in 0..2000 {
                    let call = service.call((1, part * 2000 + n));
                    call.now_or_never().unwrap().unwrap();
                }
            });
        }
    });
    let stats = server.handle.stats();
    assert_eq!(stats.evicted + stats.memories, stats.completed);
}
