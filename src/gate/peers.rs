//! [`Peers`]: the state of all peers, and the decisions on it. Guards, events and counters are the business of
//! [`Gate`](super::gate::Gate).

use std::sync::PoisonError;

use super::{
    clock::{Clock, Tick},
    decision::{Arrival, Grant, Place, Rules, Scope, Verdict},
    effects::Effects,
    end::End,
    history::Cutoff,
    memory::{Memory, PendingWrite},
    number::{ClaimNumber, Floor, Numbers},
    sync::{Mutex, SHARDS},
    table::{COOLDOWN_BYTES, LockTable},
};
use crate::{PeerKey, Stats, fence::Fence, settings::Settings};

/// The lock table and the memory.
#[derive(Debug)]
pub(super) struct Peers {
    pub(super) settings: Settings,
    pub(super) clock: Clock,
    pub(super) shards: Box<[Shard]>,
    pub(super) memory: Memory,
    pub(super) numbers: Numbers,
    floor: Floor,
}

impl Peers {
    pub(super) fn new(settings: Settings) -> Self {
        let settings = settings.effective();
        let clock = Clock::new();
        Self {
            settings,
            clock,
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            memory: Memory::new(&settings, clock),
            numbers: Numbers::new(),
            floor: Floor::default(),
        }
    }

    /// Decides on an offer from the lock table and the memory.
    ///
    /// The lock table is asked first: an active peer's entry also holds its newest history. Otherwise the cache is read.
    /// If the offer is not in it, the lock table decides, unless a write to the cache has arrived in between: it may
    /// have been the history with this very offer, and then everything is read again.
    #[inline]
    pub(super) fn decide(&self, arrival: &Arrival<'_>, effects: &mut Effects) -> (Verdict<Grant, Place>, Tick) {
        let peer = arrival.offer.peer();
        let shard = self.shard(peer);
        loop {
            let looked = shard.with(|table| {
                let decided = table.decide_if_active(arrival, || self.rules(self.clock.now()), effects);
                decided.ok_or(table.writes)
            });
            let writes = match looked {
                Ok(decided) => return decided,
                Err(writes) => writes,
            };
            let known = self.settings.remembers().then(|| self.memory.get(peer)).flatten();
            let mut cutoff = None;
            if let Some(known) = &known {
                // A memory's deadline is compared with the time of its lookup.
                let now = self.clock.now();
                let cutoff = cutoff.insert(self.cutoff(now));
                if let Some(found) = known.find(arrival.fingerprint(), cutoff) {
                    return (Verdict::known(found, arrival, now), now);
                }
            }
            let decided = shard.with(|table| {
                if table.writes != writes {
                    effects.discard(known);
                    return None;
                }
                // Read anew: a deadline of the lock table is compared with a time read under the mutex.
                let now = self.clock.now();
                let mut rules = self.rules(now);
                rules.cutoff = cutoff.unwrap_or(rules.cutoff);
                Some((table.decide(known, arrival, &rules, effects), now))
            });
            if let Some(decided) = decided {
                return decided;
            }
        }
    }

    /// Ends what `scope` names, in flight included. Returns whether there was anything.
    pub(super) fn forget(&self, peer: PeerKey, scope: Scope, effects: &mut Effects) -> bool {
        loop {
            let writes = self.shard(peer).with(|table| table.writes);
            let known = self.memory.get(peer);
            let forgotten = self.with(peer, |table, now| {
                if table.writes != writes {
                    // A write since the read may have brought a newer history.
                    effects.discard(known);
                    return None;
                }
                Some(table.forget(peer, scope, known, &self.cutoff(now), now, effects))
            });
            if let Some(was_known) = forgotten {
                return was_known;
            }
        }
    }

    /// Forgets everything, one shard after the other as the iterator advances.
    pub(super) fn clear(&self) -> impl Iterator<Item = (PeerKey, Effects)> + use<'_> {
        // The cache drops what is in it now. What is written later must stay, so the floor is raised after it.
        self.memory.clear();
        let floor = self.numbers.next();
        self.floor.raise(floor);
        self.shards
            .iter()
            .flat_map(move |shard| shard.with(|table| table.clear(floor)))
    }

    /// Hides what is remembered now. Claims in flight go on and are remembered later.
    pub(super) fn hide_memories(&self) {
        self.floor.hide_before(self.clock.now());
    }

    pub(super) fn is_processing(&self, peer: PeerKey) -> bool {
        self.shard(peer).with(|table| table.is_processing(peer))
    }

    /// Ends a claim. Returns the time of the end.
    #[inline]
    pub(super) fn release(&self, peer: PeerKey, number: ClaimNumber, end: End, effects: &mut Effects) -> Tick {
        self.with(peer, |table, now| {
            table.release(peer, number, end, &self.rules(now), effects);
            now
        })
    }

    /// Sets when the lease of a claim ends, if it still holds the lock.
    pub(super) fn set_lease(&self, peer: PeerKey, number: ClaimNumber, lease_end: impl FnOnce(Tick) -> Tick) {
        self.with(peer, |table, now| {
            table.with_lock(peer, |lock| lock.set_lease(number, lease_end(now)));
        });
    }

    /// Notes the number that the shared store has given a claim.
    pub(super) fn set_fence(&self, peer: PeerKey, number: ClaimNumber, fence: Fence) {
        self.shard(peer)
            .with(|table| table.with_lock(peer, |lock| lock.set_fence(number, fence)));
    }

    /// Returns whether a claim still holds the lock.
    pub(super) fn is_held(&self, peer: PeerKey, number: ClaimNumber) -> bool {
        let is_held = |table: &mut LockTable| table.with_lock(peer, |lock| lock.holder(number).is_some());
        self.shard(peer).with(is_held).unwrap_or(false)
    }

    /// Returns whether a claim holds the lock and no response future waits for it any more.
    pub(super) fn is_abandoned(&self, peer: PeerKey, number: ClaimNumber) -> bool {
        let is_abandoned = |table: &mut LockTable| table.with_lock(peer, |lock| lock.is_abandoned(number));
        self.shard(peer).with(is_abandoned).unwrap_or(false)
    }

    /// Returns when a follower of `id` must look again, or `None` if it has to decide anew now.
    pub(super) fn follow_again(&self, peer: PeerKey, id: ClaimNumber) -> Option<Tick> {
        self.with(peer, |table, now| table.follow_again(peer, id, now, &self.settings))
    }

    /// Writes a changed history to the cache.
    #[inline]
    pub(super) fn write_back(&self, peer: PeerKey, write: PendingWrite) {
        self.memory.write_back(peer, write, |version| {
            let mut outdated = None;
            // Returned out of the mutex before the history of the vacant entry is dropped: it may hold answers.
            self.shard(peer)
                .with(|table| table.written(peer, version, &mut outdated))
        });
    }

    /// Runs `act` under the mutex of the peer's shard, with the time read under that mutex. An older time would find
    /// deadlines still ahead that another thread has found passed.
    #[inline]
    pub(super) fn with<T>(&self, peer: PeerKey, act: impl FnOnce(&mut LockTable, Tick) -> T) -> T {
        self.shard(peer).with(|table| act(table, self.clock.now()))
    }

    #[inline]
    pub(super) fn rules(&self, now: Tick) -> Rules<'_> {
        Rules {
            now,
            cutoff: self.cutoff(now),
            settings: &self.settings,
            numbers: &self.numbers,
        }
    }

    /// Removes what has expired.
    pub(super) fn collect(&self) {
        self.memory.collect();
        for shard in &self.shards {
            shard.with(|table| table.sweep(self.clock.now(), usize::MAX));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        // In this order: a completion counts its memory before it removes its entry, and both before it asks for a
        // collector.
        let is_idle = self.shards.iter().all(|shard| shard.with(|table| table.is_empty()));
        is_idle && self.memory.len() == 0
    }

    /// Writes what is held now into `stats`.
    pub(super) fn count_held(&self, stats: &mut Stats) {
        let cooldowns: usize = self
            .shards
            .iter()
            .map(|shard| shard.with(|table| table.cooldowns()))
            .sum();
        stats.memories = self.memory.len();
        stats.cooldowns = cooldowns as u64;
        stats.bytes = self.memory.bytes() + (cooldowns * COOLDOWN_BYTES) as u64;
        stats.max_bytes = self.settings.max_memory;
        stats.evicted = self.memory.evicted();
    }

    pub(super) fn cutoff(&self, now: Tick) -> Cutoff {
        Cutoff::new(now, self.settings.window, self.floor.get()).not_before(self.floor.tick())
    }

    fn shard(&self, peer: PeerKey) -> &Shard {
        &self.shards[peer.shard(SHARDS)]
    }
}

/// One part of the lock table. Each peer belongs to one shard.
#[derive(Debug, Default)]
pub(super) struct Shard(Mutex<LockTable>);

impl Shard {
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut LockTable) -> T) -> T {
        // Poisoning is ignored: nothing that runs under the mutex calls user code, so nothing in it panics.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
