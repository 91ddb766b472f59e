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

use tokio::{sync::Notify, task::AbortHandle};

use super::{
    clock::Tick,
    entry::{Aftermath, Busy, Entry, Flight, Holder, earliest_lease_end},
    news::{Ending, News},
};
use crate::{Fingerprint, PeerKey, WhenBusy, answer::Duplicates, builder::Settings};

/// Claims are numbered in the order in which they were granted.
pub(super) type Number = u64;

/// The peers of one shard that are busy, cooling or waited for. Entries remove themselves.
#[derive(Debug, Default)]
pub(super) struct Peers {
    entries: HashMap<PeerKey, Entry>,
    /// Cooling peers in the order in which they are done.
    cooling: VecDeque<(Tick, PeerKey)>,
    /// Claims that lost the lock but live, and forgets under way. While there are none, no memory is hidden.
    pub(super) unsettled: usize,
    /// How many memories were stored under this shard.
    pub(super) stored: u64,
}

/// What is decided of an offer that is not remembered.
#[derive(Debug)]
pub(super) enum Decision {
    Admitted(Number),
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

/// When a waiter looks up by itself, at the latest.
pub(super) type Wake = Tick;

/// The front of the queue looks whether it is its turn.
#[derive(Debug)]
pub(super) enum Turn {
    Yours(Number),
    NotYet(Wake),
}

impl Peers {
    /// Decides of an offer that is not remembered; `next` numbers the claim or place it gets.
    pub(super) fn decide(
        &mut self,
        (peer, fingerprint): (PeerKey, Fingerprint),
        now: Tick,
        settings: &Settings,
        duplicates: Duplicates,
        next: impl FnOnce() -> Number,
    ) -> (Decision, Aftermath) {
        self.sweep(now, 4);
        let mut after = Aftermath::default();
        let entry = self.entries.entry(peer).or_default();
        let cooling = entry.cooling_until > now;
        if cooling && entry.busy.is_none() && settings.when_busy == WhenBusy::Refuse {
            let until = entry.cooling_until;
            return (Decision::Cooling { until }, after);
        }
        let busy = entry.busy.get_or_insert_default();
        self.unsettled += busy.take_over(now, &mut after);

        let following = busy.following();
        let decision = if let Some((flight, wake)) = busy.under_way(fingerprint, now, settings) {
            flight.meet_duplicate(following, wake, duplicates)
        } else if busy.is_free() && !cooling {
            let flight = Flight::new(next(), fingerprint, now);
            Decision::Admitted(busy.grant(flight, now, settings))
        } else if let WhenBusy::Queue { depth, .. } = settings.when_busy {
            busy.enqueue(depth, || Flight::new(next(), fingerprint, now))
        } else if let Some(holder) = &busy.holder {
            Decision::Busy {
                since: holder.flight.since,
            }
        } else {
            Decision::Cooling {
                until: entry.cooling_until,
            }
        };
        if let Decision::QueueFull = decision {
            self.settle(peer, now);
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
        let Some(entry) = self.entries.get_mut(&peer) else {
            return (Turn::NotYet(Tick::NEVER), after);
        };
        let cooling_until = entry.cooling_until;
        let busy = entry.busy.get_or_insert_default();
        self.unsettled += busy.take_over(now, &mut after);
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
        self.settle(peer, now);
        after
    }

    /// The claim ends and the lock is free, or cools until `cooling_until`. `None`: the claim had lost the lock, and
    /// lives on as a stray until it is [buried](Self::bury).
    pub(super) fn release(
        &mut self,
        peer: PeerKey,
        number: Number,
        ending: &Ending,
        (now, cooling_until): (Tick, Tick),
    ) -> Option<Aftermath> {
        let entry = self.entries.get_mut(&peer)?;
        let busy = entry.busy.as_mut()?;
        let holder = busy.holder.take_if(|holder| holder.flight.number == number)?;
        let mut after = Aftermath::default();
        after.ended(holder.flight, ending);
        busy.call_front(&mut after);
        if cooling_until > now {
            entry.cooling_until = cooling_until;
            self.cooling.push_back((cooling_until, peer));
        }
        self.settle(peer, now);
        Some(after)
    }

    /// A claim that had lost the lock is gone, with what it remembered.
    pub(super) fn bury(&mut self, peer: PeerKey, number: Number, now: Tick) {
        let strays = self.busy(peer).map(|busy| &mut busy.strays);
        let stray = strays.and_then(|strays| {
            let position = strays.iter().position(|stray| *stray == number)?;
            Some(strays.swap_remove(position))
        });
        if stray.is_some() {
            self.unsettled -= 1;
            self.settle(peer, now);
        }
    }

    /// Frees the peer, and hides its memories below `floor` until [`forgotten`](Self::forgotten) is called. Whether it
    /// was locked or waited for.
    pub(super) fn forget(&mut self, peer: PeerKey, floor: Number, now: Tick) -> (bool, Aftermath) {
        let mut after = Aftermath::default();
        let entry = self.entries.entry(peer).or_default();
        let is_cooling = entry.cooling_until > now;
        entry.cooling_until = Tick::default();
        let busy = entry.busy.get_or_insert_default();
        let was_locked = is_cooling || !busy.is_free();
        busy.floor = floor;
        busy.forgets += 1;
        self.unsettled += 1 + busy.revoke(&mut after);
        busy.call_front(&mut after);
        (was_locked, after)
    }

    /// The memories below the floor are gone.
    pub(super) fn forgotten(&mut self, peer: PeerKey, now: Tick) {
        if let Some(busy) = self.busy(peer) {
            busy.forgets -= 1;
            self.unsettled -= 1;
        }
        self.settle(peer, now);
    }

    /// Frees every peer whose claim is below `floor`.
    pub(super) fn clear(&mut self, floor: Number, now: Tick) -> Aftermath {
        let mut after = Aftermath::default();
        for entry in self.entries.values_mut() {
            entry.cooling_until = Tick::default();
            let Some(busy) = &mut entry.busy else { continue };
            if busy.holder.as_ref().is_some_and(|holder| holder.flight.number < floor) {
                self.unsettled += busy.revoke(&mut after);
            }
            busy.call_front(&mut after);
        }
        self.cooling.clear();
        self.entries.retain(|_, entry| !entry.is_idle(now));
        after
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

    /// Whose memories are hidden: of what was forgotten, and of claims that lost the lock.
    pub(super) fn hidden(&self, peer: PeerKey) -> (Number, Vec<Number>) {
        let busy = self.entries.get(&peer).and_then(|entry| entry.busy.as_ref());
        busy.map_or_else(<_>::default, |busy| (busy.floor, busy.strays.clone()))
    }

    /// Removes up to `most` peers that have cooled down.
    pub(super) fn sweep(&mut self, now: Tick, most: usize) {
        for _ in 0..most {
            match self.cooling.front() {
                Some((until, peer)) if *until <= now => {
                    let peer = *peer;
                    self.cooling.pop_front();
                    self.settle(peer, now);
                }
                _ => return,
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Drops what is vacant of an entry, and gives memory back after a crowd.
    fn settle(&mut self, peer: PeerKey, now: Tick) {
        let Slot::Occupied(mut slot) = self.entries.entry(peer) else {
            return;
        };
        if slot.get().busy.as_ref().is_some_and(|busy| busy.is_vacant()) {
            slot.get_mut().busy = None;
        }
        if slot.get().is_idle(now) {
            slot.remove();
            if self.entries.capacity() > 64 && self.entries.len() < self.entries.capacity() / 8 {
                self.entries.shrink_to(self.entries.capacity() / 2);
                self.cooling.shrink_to(self.cooling.capacity() / 2);
            }
        }
    }

    fn busy(&mut self, peer: PeerKey) -> Option<&mut Busy> {
        self.entries.get_mut(&peer)?.busy.as_deref_mut()
    }

    fn holder(&mut self, peer: PeerKey, number: Number) -> Option<&mut Holder> {
        let holder = self.busy(peer)?.holder.as_mut()?;
        (holder.flight.number == number).then_some(holder)
    }
}
