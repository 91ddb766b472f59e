//! The lock: a keyed semaphore with one permit a peer, first come, first served.
//!
//! tokio's semaphore does not serve here: a permit must be revocable (`forget`, `clear`, lease), a place in the queue is
//! taken at the decision and not at the first poll, and the permit of a cooling peer is free but closed to newcomers.
//!
//! Plain state: the shard's mutex is around it, nothing in here wakes, waits or calls out. What has to be done once the
//! mutex is free is handed back as [`Aftermath`].

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry as Slot},
    sync::Arc,
};

use foldhash::quality::RandomState;
use tokio::task::AbortHandle;

use super::{
    clock::Tick,
    entry::{Aftermath, Busy, Entry, Holder, earliest_lease_end},
    memory::{Horizon, PeerMemory, Processed, Record},
    news::{Ending, News},
    publish::Edition,
    sync::Notify,
};
use crate::{Offer, PeerKey, WhenBusy, answer::Duplicates, builder::Settings};

/// Claims are numbered in the order in which they were granted.
pub(super) type Number = u64;

/// The peers of one shard that are busy, cooling or waited for. Entries remove themselves.
#[derive(Debug, Default)]
pub(super) struct Peers {
    pub(super) entries: HashMap<PeerKey, Entry, RandomState>,
    /// Cooling peers in the order in which they are done.
    pub(super) cooling: VecDeque<(Tick, PeerKey)>,
    /// How often a memory was published under this shard.
    pub(super) published: u64,
}

/// An offer to decide of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival<'a> {
    pub(super) offer: &'a Offer,
    pub(super) duplicates: Duplicates,
    pub(super) now: Tick,
    /// What of a memory counts.
    pub(super) horizon: &'a Horizon,
}

/// What is decided of an offer.
#[derive(Debug)]
pub(super) enum Decision {
    Admitted(Number),
    /// The same offer was processed.
    Processed {
        at: Tick,
        record: Option<Record>,
    },
    /// The same offer is under way, and the duplicate waits for its answer.
    Follow(Arc<News>, Wake),
    /// The offer waits for its turn.
    Queued(Number, Arc<Notify>),
    InFlight {
        since: Tick,
    },
    TooManyDuplicates,
    Busy {
        since: Tick,
    },
    Cooling {
        until: Tick,
    },
    QueueFull,
}

impl From<&Processed> for Decision {
    fn from(processed: &Processed) -> Self {
        Self::Processed {
            at: processed.at,
            record: processed.record.clone(),
        }
    }
}

/// How a claim ends.
#[derive(Debug)]
pub(super) struct End<'a> {
    pub(super) now: Tick,
    pub(super) cooling_until: Tick,
    pub(super) ending: &'a Ending,
    /// What is to be remembered; of what was before, as far as it counts, and of all of it no more than there is room for.
    pub(super) processed: Option<Processed>,
    pub(super) horizon: &'a Horizon,
    pub(super) max_memory: u64,
}

/// When a waiter looks up by itself, at the latest.
pub(super) type Wake = Tick;

/// Whoever is queued looks whether it is its turn.
#[derive(Debug)]
pub(super) enum Turn {
    Yours(Number),
    NotYet(Wake),
}

impl Peers {
    /// Decides of an offer if its peer is busy, for then all that counts is known here; `next` numbers the claim or place
    /// it gets.
    pub(super) fn decide_if_busy(
        &mut self,
        arrival: Arrival<'_>,
        settings: &Settings,
        next: impl FnOnce() -> Number,
    ) -> Option<(Decision, Aftermath)> {
        self.sweep(arrival.now, 2);
        let peer = arrival.offer.peer();
        let entry = self.entries.get_mut(&peer)?;
        let busy = entry.busy.as_mut()?;
        let (decision, mut after) = busy.decide(entry.cooling_until, arrival, settings, next);
        if busy.is_vacant() {
            after.vacant = self.settle(peer, arrival.now);
        }
        Some((decision, after))
    }

    /// Decides of an offer that is not in `known`, the peer's published memory.
    pub(super) fn decide(
        &mut self,
        known: Option<&PeerMemory>,
        arrival: Arrival<'_>,
        settings: &Settings,
        next: impl FnOnce() -> Number,
    ) -> (Decision, Aftermath) {
        let peer = arrival.offer.peer();
        let entry = self.entries.entry(peer).or_default();
        let until = entry.cooling_until;
        if until > arrival.now && entry.busy.is_none() && settings.when_busy == WhenBusy::Refuse {
            return (Decision::Cooling { until }, Aftermath::default());
        }
        let busy = entry.busy.get_or_insert_with(|| Busy::new(known));
        let (decision, mut after) = busy.decide(until, arrival, settings, next);
        if busy.is_vacant() {
            after.vacant = self.settle(peer, arrival.now);
        }
        (decision, after)
    }

    /// Whether the queued offer `place` holds the lock now.
    pub(super) fn turn(
        &mut self,
        peer: PeerKey,
        place: Number,
        now: Tick,
        settings: &Settings,
        next: impl FnOnce() -> Number,
    ) -> (Turn, Aftermath) {
        let mut after = Aftermath::default();
        let entry = self.entries.get_mut(&peer);
        let Some((busy, cooling_until)) = entry.and_then(|entry| Some((entry.busy.as_mut()?, entry.cooling_until)))
        else {
            return (Turn::NotYet(Tick::NEVER), after);
        };
        busy.take_over(now, &mut after);
        let at_front = busy.queue.front().is_some_and(|front| front.flight.number == place);

        let turn = match &busy.holder {
            Some(holder) => Turn::NotYet(holder.earliest_end(now, settings)),
            // Whoever is at the front gets the lock first, and may not let go of it.
            None if !at_front => Turn::NotYet(earliest_lease_end(now, settings)),
            None if cooling_until > now => Turn::NotYet(cooling_until),
            None => match busy.queue.pop_front() {
                Some(queued) => {
                    let flight = queued.flight.numbered(next());
                    Turn::Yours(busy.grant(flight, now, settings))
                }
                None => Turn::NotYet(Tick::NEVER),
            },
        };
        (turn, after)
    }

    /// The queued offer `place` gives up its place.
    pub(super) fn leave(&mut self, peer: PeerKey, place: Number, now: Tick) -> Aftermath {
        let mut after = Aftermath::default();
        if let Some(busy) = self.busy(peer) {
            let position = busy.queue.iter().position(|queued| queued.flight.number == place);
            if let Some(queued) = position.and_then(|position| busy.queue.remove(position)) {
                after.ended(queued.flight, &Ending::LookAgain);
            }
            if position == Some(0) {
                busy.call_front(&mut after);
            }
        }
        after.vacant = self.settle(peer, now);
        after
    }

    /// The claim ends: the lock is free, or cools, and the peer's memory may have to be published. `None`: the claim had
    /// lost the lock.
    pub(super) fn release(
        &mut self,
        peer: PeerKey,
        number: Number,
        end: End<'_>,
    ) -> Option<(Aftermath, Option<Edition>)> {
        let entry = self.entries.get_mut(&peer)?;
        let busy = entry.busy.as_mut()?;
        let holder = busy.holder.take_if(|holder| holder.flight.number == number)?;
        let mut after = Aftermath::default();
        after.ended(holder.flight, end.ending);
        busy.call_front(&mut after);
        let edition = end.processed.map(|offer| {
            let memory = PeerMemory::with(busy.memory.as_ref(), offer, end.horizon, end.max_memory);
            busy.change_memory(Some(memory), &mut after)
        });
        if end.cooling_until > end.now {
            entry.cooling_until = end.cooling_until;
            self.cooling.push_back((end.cooling_until, peer));
        }
        if edition.is_none() {
            after.vacant = self.settle(peer, end.now);
        }
        Some((after, edition))
    }

    /// Frees the peer and empties its memory, which has to be published where there was any.
    pub(super) fn forget(
        &mut self,
        peer: PeerKey,
        known: Option<&PeerMemory>,
        horizon: &Horizon,
        now: Tick,
    ) -> (bool, Aftermath, Option<Edition>) {
        let mut after = Aftermath::default();
        let entry = self.entries.entry(peer).or_default();
        let is_cooling = entry.cooling_until > now;
        entry.cooling_until = Tick::default();
        if entry.busy.is_none() && known.is_none() {
            after.vacant = self.settle(peer, now);
            self.thin_out();
            return (is_cooling, after, None);
        }
        let busy = entry.busy.get_or_insert_with(|| Busy::new(known));
        let is_remembered = busy.memory.as_ref().is_some_and(|memory| memory.is_live(horizon));
        let was_known = is_cooling || is_remembered || !busy.is_free();
        busy.revoke(&mut after);
        busy.call_front(&mut after);
        let edition = busy.change_memory(None, &mut after);
        self.thin_out();
        (was_known, after, Some(edition))
    }

    /// Drops what peers that were forgotten have left among those that cool, before it is more than half.
    fn thin_out(&mut self) {
        if self.cooling.len() > 64 + 2 * self.entries.len() {
            let entries = &self.entries;
            self.cooling
                .retain(|(until, peer)| entries.get(peer).is_some_and(|entry| entry.cooling_until == *until));
        }
    }

    /// Frees every peer whose claim is below `floor`.
    pub(super) fn clear(&mut self, floor: Number, now: Tick) -> Vec<Aftermath> {
        let mut all = Vec::new();
        self.cooling.clear();
        self.entries.retain(|_, entry| {
            entry.cooling_until = Tick::default();
            if let Some(busy) = &mut entry.busy {
                let mut after = Aftermath::default();
                if busy.holder.as_ref().is_some_and(|holder| holder.flight.number < floor) {
                    busy.revoke(&mut after);
                }
                busy.call_front(&mut after);
                if busy.is_vacant() {
                    after.vacant = entry.busy.take();
                }
                all.push(after);
            }
            !entry.is_idle(now)
        });
        all
    }

    /// Sets when the lease of a claim ends; `NEVER` while it waits for capacity.
    pub(super) fn set_lease(&mut self, peer: PeerKey, number: Number, lease_end: Tick) {
        if let Some(holder) = self.holder(peer, number) {
            holder.lease_end = lease_end;
        }
    }

    /// Ties the claim to the task that processes it, which ends if the claim is taken over.
    pub(super) fn set_task(&mut self, peer: PeerKey, number: Number, task: AbortHandle) {
        if let Some(holder) = self.holder(peer, number) {
            holder.task = Some(task);
        }
    }

    pub(super) fn is_processing(&self, peer: PeerKey) -> bool {
        let busy = self.entries.get(&peer).and_then(|entry| entry.busy.as_ref());
        busy.is_some_and(|busy| busy.holder.is_some())
    }

    /// Removes up to `most` peers that have cooled down.
    pub(super) fn sweep(&mut self, now: Tick, most: usize) {
        for _ in 0..most {
            match self.cooling.front() {
                Some((until, peer)) if *until <= now => {
                    let peer = *peer;
                    self.cooling.pop_front();
                    let vacant = self.settle(peer, now);
                    debug_assert!(vacant.is_none(), "what is vacant goes when it becomes so");
                }
                _ => return,
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Removes what is vacant of an entry, and gives memory back after a crowd.
    pub(super) fn settle(&mut self, peer: PeerKey, now: Tick) -> Option<Box<Busy>> {
        let Slot::Occupied(mut slot) = self.entries.entry(peer) else {
            return None;
        };
        let vacant = slot.get_mut().busy.take_if(|busy| busy.is_vacant());
        if slot.get().is_idle(now) {
            slot.remove();
            if self.entries.capacity() > 64 && self.entries.len() < self.entries.capacity() / 8 {
                self.entries.shrink_to(self.entries.capacity() / 2);
                self.cooling.shrink_to(self.cooling.capacity() / 2);
            }
        }
        vacant
    }

    pub(super) fn busy(&mut self, peer: PeerKey) -> Option<&mut Busy> {
        self.entries.get_mut(&peer)?.busy.as_deref_mut()
    }

    fn holder(&mut self, peer: PeerKey, number: Number) -> Option<&mut Holder> {
        let holder = self.busy(peer)?.holder.as_mut()?;
        (holder.flight.number == number).then_some(holder)
    }
}
