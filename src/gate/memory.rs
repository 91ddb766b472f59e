//! The memory of all peers, in a moka cache, and the write-back that keeps it up to date.
//!
//! moka cannot decide what counts: its clock cannot be paused, and its time to live only frees the room. Each lookup
//! compares with a [`Cutoff`] instead.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use foldhash::quality::RandomState;
use moka::{notification::RemovalCause, policy::EvictionPolicy};

use super::{
    clock::{Clock, YEAR},
    history::{Cutoff, History},
    number::ClaimNumber,
    sync::Cache,
};
use crate::{PeerKey, settings::Settings};

/// The remembered offers of all peers.
pub(super) struct Memory {
    cache: Cache<PeerKey, History, RandomState>,
    counts: Arc<Counts>,
}

/// A peer's history on its way to the cache.
#[derive(Debug)]
pub(super) struct PendingWrite {
    pub(super) history: Option<History>,
    /// Counts the changes of the history. Of two writes, the one with the higher version is newer.
    pub(super) version: u64,
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
            move |_peer: Arc<PeerKey>, history: History, cause: RemovalCause| {
                counts.memories.fetch_sub(history.as_slice().len() as u64, Relaxed);
                counts.bytes.fetch_sub(history.bytes() as u64, Relaxed);
                if cause == RemovalCause::Size {
                    let cutoff = Cutoff::new(clock.now(), window, ClaimNumber::default());
                    let live = history.as_slice().iter().filter(|offer| cutoff.includes(offer)).count();
                    counts.evicted.fetch_add(live as u64, Relaxed);
                }
            }
        };
        // Without a listener, the first insert after many entries expired removes them all at once.
        let cache = Cache::builder()
            .max_capacity(settings.memory_bytes())
            .weigher(|_, history: &History| u32::try_from(history.bytes()).unwrap_or(u32::MAX))
            // The default policy throws away new entries when the cache is full.
            .eviction_policy(EvictionPolicy::lru())
            .eviction_listener(listener)
            // moka panics above 1,000 years.
            .time_to_live(window.min(YEAR))
            .build_with_hasher(RandomState::default());
        Self { cache, counts }
    }

    /// Returns the history of `peer`. Some of it may be past its window.
    pub(super) fn get(&self, peer: PeerKey) -> Option<History> {
        self.cache.get(&peer)
    }

    /// Writes a history, then each newer one that `finish` returns.
    ///
    /// `finish` takes the version just written and returns a newer write if there is one. Writes of several threads may
    /// overtake each other here; the one that finds a newer version writes that one too, so the newest always comes
    /// last.
    #[inline]
    pub(super) fn write_back(
        &self,
        peer: PeerKey,
        mut write: PendingWrite,
        mut finish: impl FnMut(u64) -> Option<PendingWrite>,
    ) {
        loop {
            // This cannot panic: recorded answers catch the panics of their own `Drop`.
            self.put(peer, write.history);
            match finish(write.version) {
                Some(newer) => write = newer,
                None => return,
            }
        }
    }

    /// Replaces the history of `peer`.
    #[inline]
    pub(super) fn put(&self, peer: PeerKey, history: Option<History>) {
        match history {
            Some(history) => {
                self.counts.memories.fetch_add(history.as_slice().len() as u64, Relaxed);
                self.counts.bytes.fetch_add(history.bytes() as u64, Relaxed);
                self.cache.insert(peer, history);
            }
            None => self.cache.invalidate(&peer),
        }
    }

    pub(super) fn clear(&self) {
        self.cache.invalidate_all();
    }

    /// Removes expired entries and does moka's postponed maintenance. It may take up to a tenth of a second.
    pub(super) fn collect(&self) {
        self.cache.run_pending_tasks();
    }

    /// Counts what a peer's history gave up to stay inside its limits.
    pub(super) fn count_evicted(&self, offers: u64) {
        self.counts.evicted.fetch_add(offers, Relaxed);
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
