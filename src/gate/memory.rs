//! The memory: what was processed, per peer, in a moka cache that collects what is past its window.
//!
//! Whether a memory still counts is decided by our own deadline, on tokio's clock: moka's time cannot be paused, and its
//! time to live only collects.

use std::{
    any::Any,
    fmt,
    hash::RandomState,
    slice,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use moka::{Entry, notification::RemovalCause, ops::compute::Op, policy::EvictionPolicy, sync::Cache};

use super::{
    clock::{Clock, Tick},
    lock::Number,
};
use crate::{Fingerprint, PeerKey, builder::Settings};

/// How many processed offers of one peer are remembered; beyond, its oldest go.
const MOST_PER_PEER: usize = 16;

/// What moka and the allocator take for the entry of a peer with one offer, measured at a million peers.
const ENTRY_BYTES: usize = 336;

/// moka takes no time to live above 1,000 years.
const LONGEST_TTL: Duration = Duration::from_secs(365 * 24 * 3600);

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
    clock: Clock,
    window: Duration,
    /// The most that the answers of one peer may take, so that no peer throws out all others.
    peer_bytes: usize,
    max_bytes: u64,
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
                    let now = clock.now();
                    let live = peer.as_slice().iter().filter(|offer| offer.counts(now, window)).count();
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
            .time_to_live(window.min(LONGEST_TTL))
            .build_with_hasher(RandomState::new());
        Self {
            cache,
            counts,
            clock,
            window,
            peer_bytes: usize::try_from(settings.max_memory / 16).unwrap_or(usize::MAX),
            max_bytes: settings.max_memory,
        }
    }

    /// The offer, if the peer's memory holds it and `is_hidden` does not say otherwise of it.
    pub(super) fn find(
        &self,
        (peer, fingerprint): (PeerKey, Fingerprint),
        now: Tick,
        is_hidden: impl Fn(Number) -> bool,
    ) -> Option<Processed> {
        let memory = self.cache.get(&peer)?;
        let found = memory.as_slice().iter().rfind(|offer| {
            let is_same = offer.fingerprint == fingerprint && offer.counts(now, self.window);
            is_same && !is_hidden(offer.number)
        });
        found.cloned()
    }

    /// Remembers `offer`. A peer's claims may overlap once one has lost the lock, so this is one step for moka.
    pub(super) fn store(&self, peer: PeerKey, offer: Processed) {
        let now = offer.at;
        self.cache.entry(peer).and_compute_with(|entry| {
            let known = entry.map(Entry::into_value);
            let known = known.as_ref().map_or(&[][..], PeerMemory::as_slice);
            let live = known.iter().filter(|known| known.counts(now, self.window));
            let mut offers: Vec<_> = live.cloned().chain([offer]).collect();
            offers.drain(..offers.len().saturating_sub(MOST_PER_PEER));
            drop_heavy_records(&mut offers, self.peer_bytes);
            drop_what_is_too_much(&mut offers, self.max_bytes);
            self.put(offers)
        });
    }

    /// Keeps of a peer's offers those for which `keep` holds. Whether any of the others was inside its window.
    pub(super) fn retain(&self, peer: PeerKey, keep: impl Fn(Number) -> bool) -> bool {
        let now = self.clock.now();
        let mut removed = false;
        if self.cache.contains_key(&peer) {
            self.cache.entry(peer).and_compute_with(|entry| {
                let Some(memory) = entry.map(Entry::into_value) else {
                    return Op::Nop;
                };
                let offers = memory.as_slice().iter().cloned();
                let (kept, gone): (Vec<_>, Vec<_>) = offers.partition(|offer| keep(offer.number));
                removed = gone.iter().any(|offer| offer.counts(now, self.window));
                if gone.is_empty() { Op::Nop } else { self.put(kept) }
            });
        }
        removed
    }

    pub(super) fn clear(&self) {
        self.cache.invalidate_all();
    }

    /// Removes what is past its window, off the callers' path. It may take up to a tenth of a second.
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

    fn put(&self, offers: Vec<Processed>) -> Op<PeerMemory> {
        match PeerMemory::from_vec(offers) {
            Some(memory) => {
                self.counts.memories.fetch_add(memory.as_slice().len() as u64, Relaxed);
                self.counts.bytes.fetch_add(memory.bytes() as u64, Relaxed);
                Op::Put(memory)
            }
            None => Op::Remove,
        }
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
    fn counts(&self, now: Tick, window: Duration) -> bool {
        now < self.at.after(window)
    }

    fn record_bytes(&self) -> usize {
        self.record.as_ref().map_or(0, |record| record.bytes)
    }
}

/// The processed offers of one peer, oldest first.
#[derive(Clone, Debug)]
enum PeerMemory {
    One(Processed),
    Many(Arc<[Processed]>),
}

impl PeerMemory {
    fn from_vec(mut offers: Vec<Processed>) -> Option<Self> {
        match offers.len() {
            0 | 1 => offers.pop().map(Self::One),
            _ => Some(Self::Many(offers.into())),
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
