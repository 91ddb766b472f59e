//! The lock table: a keyed semaphore with one permit per peer.
//!
//! tokio's semaphore does not fit: a permit must be revocable (`forget`, `clear`, lease), a queue place is taken at the
//! decision and not at the first poll, and the permit of a cooling peer is free but closed to newcomers.
//!
//! Plain state under the shard's mutex, like [`Active`].

use std::collections::{
    HashMap, VecDeque,
    hash_map::{Entry, OccupiedEntry},
};

use foldhash::fast::RandomState;

use super::{
    active::Active,
    clock::Tick,
    decision::{Arrival, Grant, Place, Rules, Scope, Turn, Verdict},
    effects::Effects,
    end::End,
    history::{Cutoff, History},
    lock::Lock,
    memory::PendingWrite,
    number::ClaimNumber,
    peer::Peer,
    sync::SHARDS,
};
use crate::{PeerKey, WhenBusy, settings::Settings};

/// The bytes that the entry of a cooling peer takes, with its place in the list of those that cool; measured at a
/// million peers.
pub(super) const COOLDOWN_BYTES: usize = 96;

/// Below this many entries a table is never shrunk.
const SMALL: usize = 64;

/// The peers of one shard that are busy, cooling down or waited for. Entries remove themselves, those of
/// peers that have cooled down by the sweep.
#[derive(Debug, Default)]
pub(super) struct LockTable {
    peers: HashMap<PeerKey, Peer, RandomState>,
    /// The ends of cooldowns, soonest first. An entry whose peer was forgotten or cools anew is stale.
    cooling: VecDeque<(Tick, PeerKey)>,
    /// Counts the histories written to the cache for peers of this shard. A reader that sees it unchanged knows that
    /// what it read from the cache is still the newest.
    pub(super) writes: u64,
}

impl LockTable {
    /// Decides on an offer of an active peer, whose entry holds its history. Returns `None` if the peer is idle and the
    /// cache must be read first. The time is read only if it is needed: most peers are idle.
    #[inline]
    pub(super) fn decide_if_active<'a>(
        &mut self,
        arrival: &Arrival<'_>,
        rules: impl Fn() -> Rules<'a>,
        effects: &mut Effects,
    ) -> Option<(Verdict<Grant, Place>, Tick)> {
        let id = arrival.offer.peer();
        let peer = self.peers.get_mut(&id)?;
        let active = peer.active.as_mut()?;
        let rules = rules();
        let verdict = active.decide(arrival, peer.cooling_until, &rules, effects);
        if active.is_vacant() {
            effects.discard(self.settle(id));
        }
        Some((verdict, rules.now))
    }

    /// Decides on an offer that is not in `known`, the peer's history in the cache.
    #[inline]
    pub(super) fn decide(
        &mut self,
        known: Option<History>,
        arrival: &Arrival<'_>,
        rules: &Rules<'_>,
        effects: &mut Effects,
    ) -> Verdict<Grant, Place> {
        let id = arrival.offer.peer();
        let peer = self.peers.entry(id).or_default();
        let until = peer.cooling_until;
        if until > rules.now && peer.active.is_none() && rules.settings.when_busy == WhenBusy::Refuse {
            effects.discard(known);
            return Verdict::cooling(until, rules.now);
        }
        let active = peer.activate(known, effects);
        let verdict = active.decide(arrival, until, rules, effects);
        if active.is_vacant() {
            effects.discard(self.settle(id));
        }
        verdict
    }

    /// Gives the lock to the queued offer `id` if it is its turn.
    pub(super) fn turn(
        &mut self,
        peer: PeerKey,
        id: ClaimNumber,
        rules: &Rules<'_>,
        effects: &mut Effects,
    ) -> Turn<Grant> {
        let turn = match self.peers.get_mut(&peer) {
            Some(Peer {
                cooling_until,
                active: Some(active),
            }) => active.turn(id, *cooling_until, rules, effects),
            _ => Turn::Removed,
        };
        if !matches!(turn, Turn::Granted(_)) {
            effects.discard(self.settle(peer));
        }
        turn
    }

    /// Changes the state of an active peer by `act`.
    pub(super) fn change(&mut self, peer: PeerKey, effects: &mut Effects, act: impl FnOnce(&mut Active, &mut Effects)) {
        if let Some(active) = self.active(peer) {
            act(active, effects);
            effects.discard(self.settle(peer));
        }
    }

    /// Changes the lock of an active peer by `act`, which leaves nothing to be run.
    pub(super) fn with_lock<T>(&mut self, peer: PeerKey, act: impl FnOnce(&mut Lock) -> T) -> Option<T> {
        self.active(peer).map(|active| act(&mut active.lock))
    }

    /// Returns when a follower of `id` must look again, or `None` if it has to decide anew now.
    pub(super) fn follow_again(&self, peer: PeerKey, id: ClaimNumber, now: Tick, settings: &Settings) -> Option<Tick> {
        let active = self.peers.get(&peer)?.active.as_ref()?;
        active.lock.follow_again(id, now, settings)
    }

    /// Ends a claim: the lock is free or cools down, and the history may have to be written to the cache.
    #[inline]
    pub(super) fn release(
        &mut self,
        id: PeerKey,
        number: ClaimNumber,
        end: End,
        rules: &Rules<'_>,
        effects: &mut Effects,
    ) {
        // Whatever becomes of the answer below, it must not be dropped under the mutex.
        effects.keep(end.record());
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let active = peer.active.as_mut();
        let (mut cools, mut is_vacant) = (false, true);
        if let Some(active) = active {
            cools = active.release(number, end, rules, effects);
            is_vacant = active.is_vacant();
        }
        let until = rules.now.after(rules.settings.cooldown);
        if cools && until > rules.now {
            peer.cooling_until = until;
            // In order: the time is read under the mutex, and every cooldown of a layer is as long.
            self.cooling.push_back((until, id));
            effects.cool();
            self.bound_cooldowns(id, rules, effects);
        }
        if is_vacant {
            effects.discard(self.settle(id));
        }
        self.sweep(rules.now, 2);
    }

    /// Ends what `scope` names. `known` is the peer's history in the cache. Returns whether there was anything.
    pub(super) fn forget(
        &mut self,
        id: PeerKey,
        scope: Scope,
        known: Option<History>,
        cutoff: &Cutoff,
        now: Tick,
        effects: &mut Effects,
    ) -> bool {
        let is_known = known.is_some();
        let peer = self.peers.entry(id).or_default();
        let mut was_known = false;
        if let Scope::Peer | Scope::Older { fingerprint: None, .. } = scope {
            was_known = peer.cooling_until > now;
            peer.cooling_until = Tick::default();
        }
        if peer.active.is_some() || is_known {
            let active = peer.activate(known, effects);
            was_known |= active.forget(scope, cutoff, now, effects);
        }
        effects.discard(self.settle(id));
        self.thin_out();
        was_known
    }

    /// Ends every claim below `floor`, every queue place and every cooldown.
    pub(super) fn clear(&mut self, floor: ClaimNumber) -> Vec<(PeerKey, Effects)> {
        let mut all = Vec::new();
        self.cooling = VecDeque::new();
        self.peers.retain(|id, peer| {
            peer.cooling_until = Tick::default();
            if let Some(active) = &mut peer.active {
                let mut effects = Effects::default();
                active.clear(floor, &mut effects);
                if active.is_vacant() {
                    effects.discard(peer.active.take().and_then(|active| active.into_history()));
                }
                all.push((*id, effects));
            }
            peer.active.is_some()
        });
        self.peers.shrink_to_fit();
        all
    }

    /// Notes that `version` of a peer's history is in the cache. Returns a newer version, which must be written too.
    /// `outdated` is to be dropped when the mutex is free.
    #[inline]
    pub(super) fn written(
        &mut self,
        peer: PeerKey,
        version: u64,
        outdated: &mut Option<History>,
    ) -> Option<PendingWrite> {
        self.writes += 1;
        let Entry::Occupied(mut entry) = self.peers.entry(peer) else {
            return None;
        };
        let newer = entry.get_mut().active.as_mut()?.written(version);
        if newer.is_none() {
            *outdated = settle(entry);
            self.give_back_room();
        }
        newer
    }

    pub(super) fn is_processing(&self, peer: PeerKey) -> bool {
        let active = self.peers.get(&peer).and_then(|peer| peer.active.as_ref());
        active.is_some_and(|active| active.lock.holder.is_some())
    }

    /// Removes up to `most` peers that have cooled down.
    #[inline]
    pub(super) fn sweep(&mut self, now: Tick, most: usize) {
        for _ in 0..most {
            match self.cooling.front() {
                Some((until, id)) if *until <= now => {
                    let (until, id) = (*until, *id);
                    self.cooling.pop_front();
                    // A stale entry does not end the cooldown that replaced it.
                    if let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.cooling_until == until) {
                        peer.cooling_until = Tick::default();
                    }
                    let outdated = self.settle(id);
                    debug_assert!(outdated.is_none(), "a vacant entry is removed when it becomes vacant");
                }
                _ => return,
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// Returns how many peers cool down.
    pub(super) fn cooldowns(&self) -> usize {
        self.cooling.len()
    }

    /// Returns how many entries there is room for: peers, and ends of cooldowns.
    #[cfg(all(test, not(offer_dedup_loom)))]
    pub(super) fn capacity(&self) -> (usize, usize) {
        (self.peers.capacity(), self.cooling.capacity())
    }

    /// Ends the oldest cooldowns early if all of them take more than their share of the memory, but never `newest`.
    #[inline]
    fn bound_cooldowns(&mut self, newest: PeerKey, rules: &Rules<'_>, effects: &mut Effects) {
        let share = rules.settings.cooldown_bytes() / (SHARDS * COOLDOWN_BYTES) as u64;
        // At least one per shard, so that the newest cooldown always counts.
        while self.cooling.len() as u64 > share.max(1) {
            let Some((until, id)) = self.cooling.pop_front() else {
                return;
            };
            // Other entries are stale: their peer was forgotten or cools anew.
            let is_live = |peer: &&mut Peer| id != newest && peer.cooling_until == until;
            if let Some(peer) = self.peers.get_mut(&id).filter(is_live) {
                peer.cooling_until = Tick::default();
                effects.evict_cooldown();
                if let Some(active) = &peer.active {
                    active.lock.call_front(effects);
                }
                let outdated = self.settle(id);
                debug_assert!(outdated.is_none(), "a vacant entry is removed when it becomes vacant");
            }
        }
    }

    /// Drops the stale ends of cooldowns before they are more than half of all.
    fn thin_out(&mut self) {
        if self.cooling.len() > SMALL + 2 * self.peers.len() {
            let peers = &self.peers;
            self.cooling
                .retain(|(until, id)| peers.get(id).is_some_and(|peer| peer.cooling_until == *until));
        }
    }

    /// Removes what is vacant of an entry. Returns its history, to be dropped when the mutex is free.
    #[inline]
    fn settle(&mut self, id: PeerKey) -> Option<History> {
        let Entry::Occupied(entry) = self.peers.entry(id) else {
            return None;
        };
        let outdated = settle(entry);
        self.give_back_room();
        outdated
    }

    /// Gives room back after a crowd.
    fn give_back_room(&mut self) {
        if self.peers.is_empty() {
            // Forgotten peers have left the ends of their cooldowns behind.
            self.cooling.clear();
        }
        if self.peers.capacity() > SMALL && self.peers.len() < self.peers.capacity() / 8 {
            self.peers.shrink_to(self.peers.capacity() / 2);
            self.cooling.shrink_to(self.cooling.capacity() / 2);
        }
    }

    fn active(&mut self, peer: PeerKey) -> Option<&mut Active> {
        self.peers.get_mut(&peer)?.active.as_deref_mut()
    }
}

/// Removes what is vacant of an entry. A peer that has cooled down is left to the sweep.
#[inline]
fn settle(mut entry: OccupiedEntry<'_, PeerKey, Peer>) -> Option<History> {
    let vacant = entry.get_mut().active.take_if(|active| active.is_vacant());
    if entry.get().is_idle() {
        entry.remove();
    }
    vacant?.into_history()
}
