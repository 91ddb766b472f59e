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

#[derive(Debug, Default)]
struct Entry {
    cooling_until: Tick,
    busy: Option<Box<Busy>>,
}

#[derive(Debug, Default)]
struct Busy {
    holder: Option<Holder>,
    queue: VecDeque<Queued>,
    /// Claims that lost the lock and still live: what they remember is hidden.
    strays: Vec<Number>,
    /// Memories of earlier claims are forgotten.
    floor: Number,
    /// Forgets under way, which keep the floor.
    forgets: usize,
}

#[derive(Debug)]
struct Holder {
    flight: Flight,
    lease_end: Tick,
    task: Option<AbortHandle>,
}

#[derive(Debug)]
struct Queued {
    flight: Flight,
    turn: Arc<Notify>,
}

/// An offer under way: processed, or queued.
#[derive(Debug)]
struct Flight {
    number: Number,
    fingerprint: Fingerprint,
    since: Tick,
    /// Made by the first duplicate that waits; its reference count is the number of those that do.
    news: Option<Arc<News>>,
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

/// What is left to do once the shard's mutex is free.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct Aftermath {
    ended: Vec<(Arc<News>, Ending)>,
    turn: Vec<Arc<Notify>>,
    abort: Option<AbortHandle>,
    /// How long the claim that was taken over had been held.
    pub(super) overdue_since: Option<Tick>,
}

impl Aftermath {
    pub(super) fn carry_out(self) {
        if let Some(task) = self.abort {
            task.abort();
        }
        for (news, ending) in self.ended {
            news.tell(ending);
        }
        for turn in self.turn {
            turn.notify_one();
        }
    }

    /// Leaves the ending with its owner: an answer must not be dropped under the mutex.
    fn ended(&mut self, flight: Flight, ending: &Ending) {
        self.ended.extend(flight.news.map(|news| (news, ending.clone())));
    }
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
            None if !at_front => Turn::NotYet(cooling_until.max(now).after(settings.lease)),
            None if cooling_until > now => Turn::NotYet(cooling_until),
            None => match busy.queue.pop_front() {
                Some(queued) => {
                    let flight = Flight {
                        number: next(),
                        ..queued.flight
                    };
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
            busy.call_front(&mut after);
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

    /// Whether what the claim `number` remembered is hidden: it was forgotten, or had lost the lock.
    pub(super) fn hides(&self, peer: PeerKey, number: Number) -> bool {
        let busy = self.entries.get(&peer).and_then(|entry| entry.busy.as_ref());
        busy.is_some_and(|busy| number < busy.floor || busy.strays.contains(&number))
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

impl Entry {
    fn is_idle(&self, now: Tick) -> bool {
        self.busy.is_none() && self.cooling_until <= now
    }
}

impl Busy {
    /// Whether the permit is there for whoever comes first.
    fn is_free(&self) -> bool {
        self.holder.is_none() && self.queue.is_empty()
    }

    fn is_vacant(&self) -> bool {
        self.is_free() && self.strays.is_empty() && self.forgets == 0
    }

    fn grant(&mut self, flight: Flight, now: Tick, settings: &Settings) -> Number {
        let number = flight.number;
        self.holder = Some(Holder {
            flight,
            lease_end: now.after(settings.lease),
            task: None,
        });
        number
    }

    fn enqueue(&mut self, depth: usize, flight: impl FnOnce() -> Flight) -> Decision {
        if self.queue.len() >= depth {
            return Decision::QueueFull;
        }
        let flight = flight();
        let (place, turn) = (flight.number, Arc::new(Notify::new()));
        self.queue.push_back(Queued {
            flight,
            turn: Arc::clone(&turn),
        });
        Decision::Queued(place, turn)
    }

    /// The same offer, if it is processed or queued, and when it may have run out of its lease at the earliest.
    fn under_way(&mut self, fingerprint: Fingerprint, now: Tick, settings: &Settings) -> Option<(&mut Flight, Wake)> {
        let holder = self.holder.as_mut();
        let processed = holder.map(|holder| {
            let wake = holder.earliest_end(now, settings);
            (&mut holder.flight, wake)
        });
        let queued = self
            .queue
            .iter_mut()
            .map(|queued| (&mut queued.flight, now.after(settings.lease)));
        processed
            .into_iter()
            .chain(queued)
            .find(|(flight, _)| flight.fingerprint == fingerprint)
    }

    /// How many duplicates wait for an answer.
    fn following(&self) -> usize {
        let holder = self.holder.iter().map(|holder| &holder.flight);
        let queued = self.queue.iter().map(|queued| &queued.flight);
        holder.chain(queued).map(Flight::followers).sum()
    }

    /// Takes the permit from a holder past its lease. Returns the number of strays made.
    fn take_over(&mut self, now: Tick, after: &mut Aftermath) -> usize {
        let Some(holder) = self.holder.as_mut().filter(|holder| holder.lease_end <= now) else {
            return 0;
        };
        after.abort = holder.task.take();
        after.overdue_since = Some(holder.flight.since);
        let strays = self.revoke(after);
        self.call_front(after);
        strays
    }

    /// Takes the permit from its holder. Returns the number of strays made.
    fn revoke(&mut self, after: &mut Aftermath) -> usize {
        let Some(holder) = self.holder.take() else { return 0 };
        self.strays.push(holder.flight.number);
        after.ended(holder.flight, &Ending::LookAgain);
        1
    }

    /// Wakes whoever is next, if the permit is free or cools.
    fn call_front(&self, after: &mut Aftermath) {
        if self.holder.is_none() {
            after
                .turn
                .extend(self.queue.front().map(|front| Arc::clone(&front.turn)));
        }
    }
}

impl Holder {
    /// When it is past its lease at the earliest: the lease counts from the call of the inner service.
    fn earliest_end(&self, now: Tick, settings: &Settings) -> Wake {
        if self.lease_end == Tick::NEVER {
            now.after(settings.lease)
        } else {
            self.lease_end
        }
    }
}

impl Flight {
    fn new(number: Number, fingerprint: Fingerprint, since: Tick) -> Self {
        Self {
            number,
            fingerprint,
            since,
            news: None,
        }
    }

    fn followers(&self) -> usize {
        self.news.as_ref().map_or(0, |news| Arc::strong_count(news) - 1)
    }

    fn meet_duplicate(&mut self, following: usize, wake: Wake, duplicates: Duplicates) -> Decision {
        match duplicates {
            Duplicates::Refuse => Decision::InFlight { since: self.since },
            Duplicates::Wait { limit, .. } if following >= limit => Decision::TooManyDuplicates,
            Duplicates::Wait { .. } => Decision::Follow(Arc::clone(self.news.get_or_insert_default()), wake),
        }
    }
}
