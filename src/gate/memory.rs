//! The memory: what was processed, per peer, in a moka cache that collects what is past its window.
//!
//! Whether a memory still counts is decided by our own deadline, on tokio's clock: moka's time cannot be paused, and its
//! time to live only collects.

use std::{
    any::Any,
    fmt, slice,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use foldhash::quality::RandomState;
use moka::{notification::RemovalCause, policy::EvictionPolicy};

use super::{
    clock::{Clock, Tick, YEAR},
    lock::Number,
    sync::Cache,
};
use crate::{Fingerprint, PeerKey, builder::Settings};

/// How many processed offers of one peer are remembered; beyond, its oldest go.
const MOST_PER_PEER: usize = 16;

/// What moka and the allocator take for the entry of a peer with one offer, measured at a million peers.
const ENTRY_BYTES: usize = 336;

/// A recorded answer. The layer does not know the type of its services' responses, so neither does its memory.
#[derive(Clone)]
pub(crate) struct Record {
    answer: Arc<dyn Any + Send + Sync>,
    bytes: usize,
}

impl Record {
    pub(crate) fn new<T: Send + Sync + 'static>(answer: T, bytes: usize) -> Self {
        Self {
            answer: Arc::new(answer),
            // Whatever a closure says, the sum of a peer's answers must not overflow.
            bytes: bytes.min(usize::MAX / (2 * MOST_PER_PEER)),
        }
    }

    /// `None` if a service with another type of response recorded it.
    pub(crate) fn answer<T: 'static>(&self) -> Option<&T> {
        self.answer.downcast_ref()
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// One processed offer.
#[derive(Clone, Debug)]
pub(super) struct Processed {
    pub(super) number: Number,
    pub(super) fingerprint: Fingerprint,
    pub(super) at: Tick,
    pub(super) record: Option<Record>,
}

/// The processed offers of all peers.
pub(super) struct Memory {
    cache: Cache<PeerKey, PeerMemory, RandomState>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    memories: AtomicU64,
    bytes: AtomicU64,
    evicted: AtomicU64,
}

impl Memory {
    pub(super) fn new(settings: &Settings, clock: Clock) -> Self {
        let window = settings.window;
        let counts = Arc::new(Counts::default());
        let listener = {
            let counts = Arc::clone(&counts);
            move |_peer: Arc<PeerKey>, peer: PeerMemory, cause: RemovalCause| {
                counts.memories.fetch_sub(peer.as_slice().len() as u64, Relaxed);
                counts.bytes.fetch_sub(peer.bytes() as u64, Relaxed);
                if cause == RemovalCause::Size {
                    let horizon = Horizon::new(clock.now(), window, 0);
                    let live = peer.as_slice().iter().filter(|offer| horizon.shows(offer)).count();
                    counts.evicted.fetch_add(live as u64, Relaxed);
                }
            }
        };
        // Without a listener, the first insert after many entries expired removes them all at once.
        let cache = Cache::builder()
            .max_capacity(settings.max_memory)
            .weigher(|_, peer: &PeerMemory| u32::try_from(peer.bytes()).unwrap_or(u32::MAX))
            .eviction_policy(EvictionPolicy::lru())
            .eviction_listener(listener)
            // moka takes no more than 1,000 years.
            .time_to_live(window.min(YEAR))
            .build_with_hasher(RandomState::default());
        Self { cache, counts }
    }

    /// What is remembered of `peer`; some of it may be past its window.
    pub(super) fn get(&self, peer: PeerKey) -> Option<PeerMemory> {
        self.cache.get(&peer)
    }

    /// Replaces what is remembered of `peer`.
    pub(super) fn put(&self, peer: PeerKey, memory: Option<PeerMemory>) {
        match memory {
            Some(memory) => {
                self.counts.memories.fetch_add(memory.as_slice().len() as u64, Relaxed);
                self.counts.bytes.fetch_add(memory.bytes() as u64, Relaxed);
                self.cache.insert(peer, memory);
            }
            None => self.cache.invalidate(&peer),
        }
    }

    pub(super) fn clear(&self) {
        self.cache.invalidate_all();
    }

    /// Removes what is past its window, and does what has piled up of moka's upkeep. It may take up to a tenth of a second.
    pub(super) fn collect(&self) {
        self.cache.run_pending_tasks();
    }

    pub(super) fn len(&self) -> u64 {
        self.counts.memories.load(Relaxed)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.counts.bytes.load(Relaxed)
    }

    pub(super) fn evicted(&self) -> u64 {
        self.counts.evicted.load(Relaxed)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

impl Processed {
    fn record_bytes(&self) -> usize {
        self.record.as_ref().map_or(0, |record| record.bytes)
    }
}

/// Which memories count at some moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Horizon {
    /// What was processed before is past its window.
    oldest: Tick,
    /// What was processed under a lower number is cleared.
    floor: Number,
}

impl Horizon {
    pub(super) fn new(now: Tick, window: Duration, floor: Number) -> Self {
        let oldest = now.less_than(window);
        Self { oldest, floor }
    }

    fn shows(&self, offer: &Processed) -> bool {
        offer.at >= self.oldest && offer.number >= self.floor
    }
}

/// The processed offers of one peer, oldest first.
#[derive(Clone, Debug)]
pub(super) enum PeerMemory {
    One(Processed),
    Many(Arc<[Processed]>),
}

impl PeerMemory {
    /// The offer `fingerprint`, if it counts.
    pub(super) fn find(&self, fingerprint: Fingerprint, horizon: &Horizon) -> Option<&Processed> {
        let mut offers = self.as_slice().iter();
        offers.rfind(|offer| offer.fingerprint == fingerprint && horizon.shows(offer))
    }

    /// Whether any of it counts.
    pub(super) fn is_live(&self, horizon: &Horizon) -> bool {
        self.as_slice().iter().any(|offer| horizon.shows(offer))
    }

    /// What counts of `known`, and `offer`, as far as there is room for.
    pub(super) fn with(known: Option<&Self>, offer: Processed, horizon: &Horizon, max_memory: u64) -> Self {
        // No peer throws out all others.
        let peer_bytes = usize::try_from(max_memory / 16).unwrap_or(usize::MAX);
        let known = known.map_or(&[][..], Self::as_slice);
        let mut live = known.iter().filter(|known| horizon.shows(known)).peekable();
        if live.peek().is_none() && offer.record_bytes() <= peer_bytes {
            return Self::One(offer);
        }
        let mut offers: Vec<_> = live.cloned().chain([offer]).collect();
        offers.drain(..offers.len().saturating_sub(MOST_PER_PEER));
        drop_heavy_records(&mut offers, peer_bytes);
        drop_what_is_too_much(&mut offers, max_memory);
        match offers.pop() {
            Some(offer) if offers.is_empty() => Self::One(offer),
            newest => Self::Many(offers.into_iter().chain(newest).collect()),
        }
    }

    fn as_slice(&self) -> &[Processed] {
        match self {
            Self::One(offer) => slice::from_ref(offer),
            Self::Many(offers) => offers,
        }
    }

    fn bytes(&self) -> usize {
        bytes_of(self.as_slice())
    }
}

/// What a peer's offers take, the entry that holds them included.
fn bytes_of(offers: &[Processed]) -> usize {
    let list = if offers.len() > 1 { size_of_val(offers) } else { 0 };
    ENTRY_BYTES + list + offers.iter().map(Processed::record_bytes).sum::<usize>()
}

/// Drops the oldest offers until the rest fits, for moka keeps nothing of an entry that is larger than all it may hold.
fn drop_what_is_too_much(offers: &mut Vec<Processed>, most: u64) {
    while offers.len() > 1 && bytes_of(offers) as u64 > most {
        offers.remove(0);
    }
}

/// Drops the oldest answers until the rest fits; the offers stay remembered.
fn drop_heavy_records(offers: &mut [Processed], most: usize) {
    let mut bytes: usize = offers.iter().map(Processed::record_bytes).sum();
    for offer in offers {
        if bytes <= most {
            return;
        }
        bytes -= offer.record_bytes();
        offer.record = None;
    }
}
