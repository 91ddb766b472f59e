//! With recorded answers whose `Drop` panics, the memory stays bounded, and no caller sees such a panic.

mod support;

use std::{
    convert::Infallible,
    future::ready,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::BoxFuture};
use support::SECOND;
use tokio_test::task::spawn;
use tower::{Layer, Service, service_fn, util::BoxCloneService};
use tower_offer_dedup::{Fingerprint, Offer, OfferDedupBuilder, OfferDedupHandle, OfferDedupLayer, Refusal, Replay};

/// Panics when it is dropped, unless it was opened. Callers open their answers, so only recorded ones panic.
struct Answer {
    alive: Arc<AtomicUsize>,
    is_refusal: bool,
    is_open: bool,
}

impl Answer {
    fn new(alive: &Arc<AtomicUsize>, is_refusal: bool) -> Self {
        alive.fetch_add(1, Relaxed);
        Self {
            alive: Arc::clone(alive),
            is_refusal,
            is_open: false,
        }
    }

    /// Disarms it. Returns `false` for a refusal.
    fn open(mut self) -> bool {
        self.is_open = true;
        !self.is_refusal
    }
}

impl Clone for Answer {
    fn clone(&self) -> Self {
        Self::new(&self.alive, self.is_refusal)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Relaxed);
        // A second panic would abort the process of a failing test. `resume_unwind` prints no message.
        if !self.is_open && !thread::panicking() {
            resume_unwind(Box::new("an answer panics"));
        }
    }
}

/// The offer `n` of a peer.
type Request = (u64, u64);

struct Server {
    service: BoxCloneService<Request, Answer, Infallible>,
    handle: OfferDedupHandle,
    alive: Arc<AtomicUsize>,
}

const RECORD_BYTES: usize = 1024;

impl Server {
    fn new(settings: impl FnOnce(OfferDedupBuilder) -> OfferDedupBuilder) -> Self {
        Self::around(settings, |answer| ready(answer).boxed())
    }

    /// The inner service answers when `delay` is over.
    fn around<D>(settings: impl FnOnce(OfferDedupBuilder) -> OfferDedupBuilder, delay: D) -> Self
    where
        D: Fn(Answer) -> BoxFuture<'static, Answer> + Clone + Send + 'static,
    {
        let alive = Arc::new(AtomicUsize::new(0));
        let refuse = {
            let alive = Arc::clone(&alive);
            move |_: &Refusal| Answer::new(&alive, true)
        };
        let builder = OfferDedupLayer::builder()
            .cooldown(Duration::ZERO)
            .window(3600 * SECOND);
        let layer = settings(builder)
            .offers(|(peer, n): &Request| Some(Offer::new(*peer, Fingerprint::exact(&n.to_le_bytes()))))
            .answer(Replay::with(refuse).weigher(|_: &Answer| Some(RECORD_BYTES)))
            .build();
        let inner = {
            let alive = Arc::clone(&alive);
            service_fn(move |_: Request| {
                let answer = delay(Answer::new(&alive, false));
                async move { Ok(answer.await) }
            })
        };
        let handle = layer.handle();
        let service = BoxCloneService::new(layer.layer(inner));
        Self { service, handle, alive }
    }

    /// Sends an offer that is answered at once. Returns `None` if its caller saw a panic.
    fn send(&mut self, peer: u64, n: u64) -> Option<bool> {
        let service = &mut self.service;
        let call = AssertUnwindSafe(|| service.call((peer, n)).now_or_never());
        let answer = catch_unwind(call).ok()?.expect("it is answered at once");
        Some(answer.unwrap().open())
    }

    #[track_caller]
    fn eventually(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            let alive = self.alive.load(Relaxed);
            assert!(
                start.elapsed() < 5 * SECOND,
                "not {what}: {alive} answers are alive, {:?}",
                self.handle.stats()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn is_empty(&self) -> bool {
        self.alive.load(Relaxed) == 0 && self.handle.stats().memories == 0
    }
}

#[test]
fn full_memory_stays_bounded() {
    const PEERS: u64 = 5000;
    let mut server = Server::new(|builder| builder.max_memory(64 * 1024));
    let panics = (0..PEERS).filter(|peer| server.send(*peer, 0).is_none()).count();
    assert_eq!(panics, 0, "of {PEERS} callers");
    server.eventually("within the memory", |server| {
        server.handle.stats().bytes <= 64 * 1024 && server.alive.load(Relaxed) <= 64
    });
    let stats = server.handle.stats();
    assert_eq!(stats.evicted + stats.memories, PEERS);
}

#[test]
fn full_memory_still_deduplicates() {
    let mut server = Server::new(|builder| builder.max_memory(64 * 1024));
    for peer in 0..1000 {
        server.send(peer, 0);
        assert_eq!(server.send(peer, 0), Some(true), "peer {peer}");
    }
    let stats = server.handle.stats();
    assert_eq!((stats.admitted, stats.replayed), (1000, 1000));
}

#[test]
fn collector_removes_what_has_expired() {
    let mut server = Server::new(|builder| builder.window(SECOND / 10));
    for peer in 0..10 {
        assert_eq!(server.send(peer, 0), Some(true));
    }
    server.eventually("empty", Server::is_empty);
    assert_eq!(server.send(0, 0), Some(true));
    server.eventually("empty again", Server::is_empty);
}

#[test]
fn seventeenth_offer_panics_nowhere() {
    let mut server = Server::new(|builder| builder);
    for n in 0..40 {
        assert_eq!(server.send(1, n), Some(true), "offer {n}");
    }
    server.eventually("of 16", |server| server.alive.load(Relaxed) == 16);
}

#[test]
fn heavy_answer_panics_nowhere() {
    let mut server = Server::new(|builder| builder.max_memory(4 * 1024));
    assert_eq!(server.send(1, 0), Some(true));
    server.eventually("dropped", |server| server.alive.load(Relaxed) == 0);
    assert_eq!(server.send(1, 0), Some(false), "its answer is not kept");
}

#[test]
fn forget_drops_quietly() {
    let mut server = Server::new(|builder| builder);
    for peer in 0..100 {
        server.send(peer, 0);
        let handle = &server.handle;
        let forgotten = catch_unwind(AssertUnwindSafe(|| handle.forget(peer)));
        assert!(forgotten.is_ok_and(|was_known| was_known), "peer {peer}");
    }
    server.eventually("empty", Server::is_empty);
}

#[test]
fn clear_drops_quietly() {
    let mut server = Server::new(|builder| builder);
    for peer in 0..100 {
        server.send(peer, 0);
    }
    assert!(catch_unwind(AssertUnwindSafe(|| server.handle.clear())).is_ok());
    server.eventually("empty", Server::is_empty);
    assert_eq!(server.send(0, 0), Some(true));
}

#[test]
fn layer_drops_quietly() {
    let mut server = Server::new(|builder| builder);
    for peer in 0..100 {
        server.send(peer, 0);
    }
    let Server { service, handle, alive } = server;
    assert!(catch_unwind(AssertUnwindSafe(|| drop((service, handle)))).is_ok());
    let start = Instant::now();
    while alive.load(Relaxed) > 0 {
        assert!(
            start.elapsed() < 5 * SECOND,
            "{} answers are alive",
            alive.load(Relaxed)
        );
        thread::sleep(Duration::from_millis(5));
    }
}

/// With a window of zero, only the followers hold the recorded answer.
#[tokio::test(start_paused = true)]
async fn followers_drop_quietly() {
    for polled in [0, 1, 2] {
        let delay = |answer| tokio::time::sleep(SECOND).map(|()| answer).boxed();
        let server = Server::around(|builder| builder.window(Duration::ZERO), delay);
        let mut calls = [0, 0, 0].map(|n| spawn(server.service.clone().call((1, n))));
        for call in &mut calls {
            assert!(call.poll().is_pending());
        }
        tokio::time::advance(SECOND).await;
        let (followers, rest) = calls.split_at_mut(1);
        for call in followers.iter_mut().chain(rest.iter_mut().take(polled)) {
            let answer = catch_unwind(AssertUnwindSafe(|| match call.poll() {
                std::task::Poll::Ready(answer) => answer.unwrap().open(),
                std::task::Poll::Pending => panic!("it has an answer"),
            }));
            assert!(answer.is_ok_and(|is_answer| is_answer), "{polled} polled");
        }
        for call in calls {
            assert!(catch_unwind(AssertUnwindSafe(|| drop(call))).is_ok(), "{polled} polled");
        }
        assert_eq!(server.alive.load(Relaxed), 0);
        assert_eq!((server.handle.stats().claims, server.handle.stats().waiters), (0, 0));
    }
}
