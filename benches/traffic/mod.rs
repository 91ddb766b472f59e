//! Real offers, sent by numbered peers to a room, and what no layer like this one can do without for each.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "shared: each benchmark uses some of it"
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
use tower_offer_dedup::{Answer, Fingerprint, Offer, OfferDedupLayer, PeerKey, Refusal, Refuse, Replay, WhenBusy};

/// A request of one peer.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    name: [u8; 8],
    found: Found,
}

/// What there is to find in a request.
#[derive(Clone, Copy, Debug)]
pub enum Found {
    Nothing,
    Sdp(&'static str),
    /// Digest and fingerprint ready made, to measure the gate alone.
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

    /// The same peer with something else to find.
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

/// A layer that refuses duplicates with `false` and remembers them throughout.
pub fn layer(cooldown: Duration) -> Layer {
    OfferDedupLayer::builder()
        .offers(Request::offer as Extract)
        .answer(Refuse::with((|_| false) as fn(&Refusal) -> bool))
        .window(HOUR)
        .cooldown(cooldown)
        .max_memory(ROOM_FOR_ALL)
        .build()
}

/// A layer that gives duplicates the answer again.
pub fn replaying_layer() -> OfferDedupLayer<Extract, impl Answer<bool, Response = bool>> {
    OfferDedupLayer::builder()
        .offers(Request::offer as Extract)
        .answer(Replay::with(|_: &Refusal| true))
        .window(HOUR)
        .cooldown(Duration::ZERO)
        .max_memory(ROOM_FOR_ALL)
        .build()
}

/// A layer that has an offer of a busy peer wait its turn, and remembers nothing.
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

/// Sends a request that is answered at once.
pub fn send<S>(service: &mut S, request: Request) -> bool
where
    S: Service<Request, Response = bool, Error = Infallible>,
{
    let call = pin!(service.call(black_box(request)));
    match call.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(is_processed)) => is_processed,
        Poll::Pending => panic!("the bare service answers at once"),
    }
}

/// Calls twice for the same peer, so that the second waits for the first, and polls both to their ends.
pub fn send_both<S>(service: &mut S, [first, second]: [Request; 2])
where
    S: Service<Request, Response = bool, Error = Infallible>,
{
    let cx = &mut Context::from_waker(Waker::noop());
    let (mut first, mut second) = (pin!(service.call(first)), pin!(service.call(second)));
    assert!(second.as_mut().poll(cx).is_pending(), "it waits");
    assert!(first.as_mut().poll(cx).is_ready() && second.poll(cx).is_ready());
}

/// A moka cache as the layer has one, but for the hasher, which is moka's own.
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

/// The cache of all that a layer looks up.
pub struct Reference {
    cache: Cache<PeerKey, [u64; 8]>,
}

impl Reference {
    pub fn new() -> Self {
        Self {
            cache: cache(ROOM_FOR_ALL, HOUR),
        }
    }

    /// B: digest, fingerprint, clock and `get`; for a request that is ready made, clock and `get`.
    pub fn look(&self, request: &Request) {
        self.look_for(&black_box(request).offer().expect("an offer"));
    }

    /// B and an `insert`.
    pub fn look_and_insert(&self, request: &Request) {
        let offer = black_box(request).offer().expect("an offer");
        self.look_for(&offer);
        self.cache.insert(offer.peer(), [0; 8]);
    }

    pub fn forget(&self, peer: PeerKey) {
        self.cache.invalidate(&peer);
    }

    fn look_for(&self, offer: &Offer) {
        black_box((Instant::now(), offer.fingerprint(), self.cache.get(&offer.peer())));
    }
}

/// An offer of a real client, of which `bytes` is the size that was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub name: &'static str,
    pub sdp: &'static str,
    /// Another offer of the same client.
    pub other: &'static str,
}

/// The corpus' offer that is nearest to a size in bytes.
pub fn sample(bytes: usize) -> Sample {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/corpus/offers");
    let offers = fs::read_dir(folder)
        .expect("the corpus")
        .map(|file| file.expect("a file").path());
    let nearest = offers
        .map(|path| {
            (
                path.file_stem().expect("a name").to_string_lossy().into_owned(),
                fs::read_to_string(path),
            )
        })
        .filter_map(|(name, text)| Some((name, text.ok()?)))
        .min_by_key(|(name, text)| (text.len().abs_diff(bytes), name.clone()));
    let (name, text) = nearest.expect("an offer");
    let other = text.replace("a=ice-ufrag:", "a=ice-ufrag:X");
    Sample {
        name: name.leak(),
        sdp: text.leak(),
        other: other.leak(),
    }
}
