//! Real offers that numbered peers send to a room, and the work that no such layer can avoid.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each benchmark uses a part of this module"
)]

use std::{
    convert::Infallible,
    fs,
    future::{Ready, ready},
    hash::Hash,
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use moka::{policy::EvictionPolicy, sync::Cache};
use tokio::time::Instant;
use tower::Service;
use tower_offer_dedup::{
    Fingerprint, Offer, OfferDedupLayer, PeerKey, Refusal, Refuse, Replay, WhenBusy, answer::Answer,
};

/// A request of one peer.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    name: [u8; 8],
    found: Found,
}

/// The content of a request.
#[derive(Clone, Copy, Debug)]
pub enum Found {
    Nothing,
    Sdp(&'static str),
    /// Ready-made digest and fingerprint, to measure the gate alone.
    Ready(PeerKey, Fingerprint),
}

impl Request {
    pub fn new(peer: u32, found: Found) -> Self {
        let digit = |at: u32| b"0123456789abcdef"[(peer >> (4 * at) & 15) as usize];
        Self {
            name: std::array::from_fn(|at| digit(at as u32)),
            found,
        }
    }

    /// A request of the same peer with other content.
    pub fn with(self, found: Found) -> Self {
        Self { found, ..self }
    }

    pub fn peer(&self) -> PeerKey {
        PeerKey::from(("room-7", &self.name, "bob"))
    }

    pub fn offer(&self) -> Option<Offer> {
        match self.found {
            Found::Nothing => None,
            Found::Sdp(sdp) => Some(Offer::new(self.peer(), Fingerprint::sdp(sdp))),
            Found::Ready(peer, fingerprint) => Some(Offer::new(peer, fingerprint)),
        }
    }
}

pub type Extract = fn(&Request) -> Option<Offer>;
pub type Layer = OfferDedupLayer<Extract, Refuse<fn(&Refusal) -> bool>>;

/// A layer that refuses duplicates with `false`, and remembers offers for the whole run.
pub fn layer(cooldown: Duration) -> Layer {
    OfferDedupLayer::builder()
        .offers(Request::offer as Extract)
        .answer(Refuse::with((|_| false) as fn(&Refusal) -> bool))
        .window(HOUR)
        .cooldown(cooldown)
        .max_memory(ROOM_FOR_ALL)
        .build()
}

/// A layer that replays answers to duplicates.
pub fn replaying_layer() -> OfferDedupLayer<Extract, impl Answer<bool, Infallible, Response = bool>> {
    OfferDedupLayer::builder()
        .offers(Request::offer as Extract)
        .answer(Replay::with(|_| true))
        .window(HOUR)
        .cooldown(Duration::ZERO)
        .max_memory(ROOM_FOR_ALL)
        .build()
}

/// A layer that queues other offers of a busy peer, and remembers nothing.
pub fn queueing_layer() -> Layer {
    OfferDedupLayer::builder()
        .offers(Request::offer as Extract)
        .answer(Refuse::with((|_| false) as fn(&Refusal) -> bool))
        .window(Duration::ZERO)
        .cooldown(Duration::ZERO)
        .when_busy(WhenBusy::Queue {
            depth: 8,
            timeout: Duration::from_secs(10),
        })
        .build()
}

pub const HOUR: Duration = Duration::from_secs(3600);
pub const ROOM_FOR_ALL: u64 = 8 << 30;

/// Answers at once.
#[derive(Clone, Copy, Debug)]
pub struct Bare;

impl Service<Request> for Bare {
    type Response = bool;
    type Error = Infallible;
    type Future = Ready<Result<bool, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request) -> Self::Future {
        ready(Ok(true))
    }
}

/// Sends a request that must be answered at once.
pub fn send<S>(service: &mut S, request: Request) -> bool
where
    S: Service<Request, Response = bool, Error = Infallible>,
{
    let call = pin!(service.call(black_box(request)));
    match call.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(is_processed)) => is_processed,
        Poll::Pending => panic!("the bare service should answer at once"),
    }
}

/// Sends two offers of one peer, so that the second waits for the first, and polls both until they end.
pub fn send_both<S>(service: &mut S, [first, second]: [Request; 2])
where
    S: Service<Request, Response = bool, Error = Infallible>,
{
    let cx = &mut Context::from_waker(Waker::noop());
    let (mut first, mut second) = (pin!(service.call(first)), pin!(service.call(second)));
    assert!(second.as_mut().poll(cx).is_pending(), "the second offer should wait");
    assert!(first.as_mut().poll(cx).is_ready() && second.poll(cx).is_ready());
}

/// A moka cache with the layer's settings, but with moka's own hasher.
pub fn cache<K, V>(max_memory: u64, window: Duration) -> Cache<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Cache::builder()
        .max_capacity(max_memory)
        .weigher(|_, _| 336)
        .eviction_policy(EvictionPolicy::lru())
        .eviction_listener(|_, _, _| ())
        .time_to_live(window)
        .build()
}

/// A cache with everything that a layer looks up.
pub struct Reference {
    cache: Cache<PeerKey, [u64; 8]>,
}

impl Reference {
    pub fn new() -> Self {
        Self {
            cache: cache(ROOM_FOR_ALL, HOUR),
        }
    }

    /// B: digest, fingerprint, clock and `get`. For a ready-made request, only clock and `get`.
    pub fn look_up(&self, request: &Request) {
        self.look_up_offer(&black_box(request).offer().expect("the request should be an offer"));
    }

    /// B, and an `insert`.
    pub fn look_up_and_insert(&self, request: &Request) {
        let offer = black_box(request).offer().expect("the request should be an offer");
        self.look_up_offer(&offer);
        self.cache.insert(offer.peer(), [0; 8]);
    }

    pub fn forget(&self, peer: PeerKey) {
        self.cache.invalidate(&peer);
    }

    fn look_up_offer(&self, offer: &Offer) {
        black_box((Instant::now(), offer.fingerprint(), self.cache.get(&offer.peer())));
    }
}

/// An offer of a real client, close to a requested size.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub name: &'static str,
    pub sdp: &'static str,
    /// Another offer of the same client.
    pub other: &'static str,
}

/// The offer of the corpus that is closest to a size in bytes.
pub fn sample(bytes: usize) -> Sample {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/corpus/offers");
    let offers = fs::read_dir(folder)
        .expect("the corpus should exist")
        .map(|file| file.expect("the file should be readable").path());
    let nearest = offers
        .map(|path| {
            (
                path.file_stem()
                    .expect("the file should have a name")
                    .to_string_lossy()
                    .into_owned(),
                fs::read_to_string(path),
            )
        })
        .filter_map(|(name, text)| Some((name, text.ok()?)))
        .min_by_key(|(name, text)| (text.len().abs_diff(bytes), name.clone()));
    let (name, text) = nearest.expect("the corpus should have offers");
    let other = text.replace("a=ice-ufrag:", "a=ice-ufrag:X");
    Sample {
        name: name.leak(),
        sdp: text.leak(),
        other: other.leak(),
    }
}
