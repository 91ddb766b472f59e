//! [`Active`]: the state of a peer that is busy or waited for.
//!
//! Plain state under the shard's mutex. Nothing in here wakes, waits or calls out; what has to follow is collected in
//! [`Effects`].

use std::{sync::Arc, time::Duration};

use super::{
    clock::Tick,
    completion::{Completion, Resolution},
    decision::{Arrival, Grant, Place, Rules, Scope, Turn, Verdict},
    draft::Draft,
    effects::{Effects, TakenOver},
    end::End,
    history::{Cutoff, History, Kind, Remembered},
    in_flight::{Holder, InFlight},
    lock::Lock,
    memory::PendingWrite,
    number::ClaimNumber,
    revocation::Revoked,
};
use crate::{Fingerprint, Reason, Refusal, WhenBusy, fence::Fence};

/// The lock, the queue and the history of a peer that is busy or waited for.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) lock: Lock,
    history: Draft,
}

impl Active {
    pub(super) fn new(history: Option<History>) -> Box<Self> {
        Box::new(Self {
            lock: Lock::default(),
            history: Draft::new(history),
        })
    }

    /// Decides on an offer of this peer, which cools down until `cooling_until`.
    pub(super) fn decide(
        &mut self,
        arrival: &Arrival<'_>,
        cooling_until: Tick,
        rules: &Rules<'_>,
        effects: &mut Effects,
    ) -> Verdict<Grant, Place> {
        let now = rules.now;
        if let Some(known) = self.history.find(arrival.fingerprint(), &rules.cutoff) {
            return Verdict::known(known, arrival, now);
        }
        self.expire_places(now, effects);
        self.take_over_if_overdue(now, effects);
        if let Some(verdict) = self.lock.meet_duplicate(arrival, rules) {
            return verdict;
        }
        if self.lock.holder.as_ref().is_some_and(Holder::is_abandoned) {
            self.take_over(Revoked::Abandoned, effects);
        }
        let in_flight = || InFlight::new(rules.numbers.next(), arrival, now);
        if self.lock.is_free() && cooling_until <= now {
            let in_flight = in_flight();
            let number = in_flight.id;
            return Verdict::Admitted(self.lock.grant(number, in_flight, arrival.is_detached, rules));
        }
        match rules.settings.when_busy {
            WhenBusy::Supersede => self.supersede(arrival, rules, effects),
            WhenBusy::Queue { depth, timeout } if self.lock.queue.len() < depth => {
                let deadline = arrival.first(now).after(timeout);
                let place = self
                    .lock
                    .enqueue(in_flight(), deadline, arrival.is_detached, cooling_until, rules);
                Verdict::Wait(place)
            }
            WhenBusy::Queue { .. } => Verdict::refused(Reason::QueueFull, Duration::ZERO),
            WhenBusy::Refuse => match &self.lock.holder {
                Some(holder) => Verdict::refused(Reason::Busy, now.since(holder.in_flight.since)),
                None => Verdict::cooling(cooling_until, now),
            },
        }
    }

    pub(super) fn is_vacant(&self) -> bool {
        self.lock.is_free() && self.history.is_written()
    }

    /// Returns the history, which may hold answers. The rest of a vacant state is empty.
    pub(super) fn into_history(self) -> Option<History> {
        self.history.into_history()
    }

    /// Gives the lock to the queued offer `id` if it is its turn.
    pub(super) fn turn(
        &mut self,
        id: ClaimNumber,
        cooling_until: Tick,
        rules: &Rules<'_>,
        effects: &mut Effects,
    ) -> Turn<Grant> {
        let now = rules.now;
        self.expire_places(now, effects);
        self.take_over_if_overdue(now, effects);
        self.lock.turn(id, cooling_until, rules)
    }

    /// Removes the queued offer `id`, whose future is gone.
    pub(super) fn leave(&mut self, id: ClaimNumber, effects: &mut Effects) {
        if let Some(position) = self.lock.position(id) {
            self.remove(position, Resolution::Retry, effects);
        }
    }

    /// Removes a follower that no longer waits. If nobody else waits for the claim, a queued offer takes over.
    pub(super) fn unfollow(&mut self, completion: &Arc<Completion>, effects: &mut Effects) {
        self.lock.unfollow(completion);
        self.release_if_abandoned(effects);
    }

    /// Notes that the response future of the claim is gone. If nobody else waits for it, a queued offer takes over.
    pub(super) fn abandon(&mut self, number: ClaimNumber, effects: &mut Effects) {
        self.lock.abandon(number);
        self.release_if_abandoned(effects);
    }

    /// Ends a claim and appends its memory. Returns whether a cooldown starts. A claim that has lost the
    /// lock changes nothing.
    pub(super) fn release(&mut self, number: ClaimNumber, end: End, rules: &Rules<'_>, effects: &mut Effects) -> bool {
        let Some(holder) = self.lock.holder.take_if(|holder| holder.number == number) else {
            return false;
        };
        let settings = rules.settings;
        let is_here = end.is_here();
        let (resolution, processed) = end.resolve(settings, rules.now);
        let counts = processed.is_some();
        let InFlight {
            id,
            fingerprint,
            completion,
            ..
        } = holder.in_flight;
        effects.resolve(completion, resolution);
        if counts && !holder.is_forgotten {
            // From now on the marks go with the memory of this claim.
            self.history.transfer_marks(id, number, &rules.cutoff, effects);
        } else {
            self.history.remove_marks_of(id, effects);
        }
        let is_remembered = settings.remembers() && !holder.is_superseded && !holder.is_forgotten;
        let processed = processed.filter(|_| is_remembered).map(|processed| Remembered {
            number,
            fence: processed.fence.or(holder.fence).unwrap_or(Fence::NONE),
            fingerprint,
            at: processed.at,
            kind: Kind::Processed(processed.record),
        });
        // A claim that `clear` has not reached yet may be below the floor already.
        if let Some(processed) = processed.filter(|processed| rules.cutoff.includes(processed)) {
            self.history.remember(processed, rules, effects);
        }
        // A place past its deadline must not keep the turn from the next.
        self.expire_places(rules.now, effects);
        self.lock.call_front(effects);
        counts && is_here && !holder.is_superseded
    }

    /// Ends what `scope` names, except a cooldown. Returns whether there was anything.
    pub(super) fn forget(&mut self, scope: Scope, cutoff: &Cutoff, now: Tick, effects: &mut Effects) -> bool {
        // A place past its deadline has lost its turn already, and is not known any more.
        self.expire_places(now, effects);
        match scope {
            Scope::Peer => {
                let was_known = self.history.is_live(cutoff) || !self.lock.is_free();
                self.lock.revoke(effects);
                for queued in self.lock.queue.drain(..) {
                    queued.resolve(Resolution::Retry, effects);
                }
                // Also if nothing was known: a write of an older version may still be under way.
                self.history.set(None, effects);
                was_known
            }
            Scope::Offer(fingerprint) => self.forget_offer(fingerprint, cutoff, effects),
            Scope::Claim(number) => {
                if let Some(holder) = self.lock.holder(number) {
                    holder.is_forgotten = true;
                    return true;
                }
                self.history.remove_marks_of(number, effects);
                self.history.remove(|offer| offer.is_claim(number), effects)
            }
            Scope::Older { fingerprint, fence } => self.forget_older(fingerprint, fence, effects),
            Scope::Fenced(fingerprint, fence) => {
                if let Some(holder) = self.lock.holder.as_mut().filter(|holder| holder.fence == Some(fence)) {
                    holder.is_forgotten = true;
                    return true;
                }
                let is_it = |offer: &Remembered| offer.fingerprint == fingerprint && offer.fence == fence;
                self.history
                    .remove(|offer| is_it(offer) && offer.is_claim(offer.number), effects)
            }
        }
    }

    /// Ends every claim below `floor`, every queue place and every memory.
    pub(super) fn clear(&mut self, floor: ClaimNumber, effects: &mut Effects) {
        if self.lock.holder.as_ref().is_some_and(|holder| holder.number < floor) {
            self.lock.revoke(effects);
        }
        for queued in self.lock.queue.drain(..) {
            let id = queued.in_flight.id;
            queued.resolve(Resolution::Retry, effects);
            self.history.remove_marks_of(id, effects);
        }
    }

    /// See [`Draft::written`].
    pub(super) fn written(&mut self, version: u64) -> Option<PendingWrite> {
        self.history.written(version)
    }

    /// Forgets what has a number up to `fence` in the shared store, of one offer or of all.
    fn forget_older(&mut self, fingerprint: Option<Fingerprint>, fence: Fence, effects: &mut Effects) -> bool {
        let is_meant = |other: Fingerprint| fingerprint.is_none_or(|fingerprint| fingerprint == other);
        let was_known = self
            .history
            .remove(|offer| offer.fence <= fence && is_meant(offer.fingerprint), effects);
        // A claim that is still to be decided by the store comes after what that has forgotten.
        let is_older = |holder: &&Holder| holder.fence.is_some_and(|number| number <= fence);
        let holder = self.lock.holder.as_ref().filter(is_older);
        let Some(holder) = holder.filter(|holder| is_meant(holder.in_flight.fingerprint)) else {
            if fingerprint.is_none() {
                // The cooldown, which the queue may wait for, is forgotten too.
                self.lock.call_front(effects);
            }
            return was_known;
        };
        let id = holder.in_flight.id;
        self.lock.revoke(effects);
        self.history.remove_marks_of(id, effects);
        self.lock.call_front(effects);
        true
    }

    fn forget_offer(&mut self, fingerprint: Fingerprint, cutoff: &Cutoff, effects: &mut Effects) -> bool {
        let known = self.history.find(fingerprint, cutoff);
        let was_known = known.is_some();
        // The marks of a processed offer go with it. A mark itself has the number of the offer that it names.
        if let Some(number) = known
            .filter(|known| known.is_claim(known.number))
            .map(|known| known.number)
        {
            self.history.remove_marks_of(number, effects);
        }
        self.history.remove(|offer| offer.fingerprint == fingerprint, effects);
        let is_same = |in_flight: &InFlight| in_flight.fingerprint == fingerprint;
        if let Some(holder) = self.lock.holder.as_ref().filter(|holder| is_same(&holder.in_flight)) {
            let id = holder.in_flight.id;
            self.lock.revoke(effects);
            self.history.remove_marks_of(id, effects);
            self.lock.call_front(effects);
            return true;
        }
        if let Some(position) = self.lock.queue.iter().position(|queued| is_same(&queued.in_flight)) {
            self.remove(position, Resolution::Retry, effects);
            return true;
        }
        was_known
    }

    /// Lets the newest offer win: it takes the only waiting place, or the free lock.
    fn supersede(&mut self, arrival: &Arrival<'_>, rules: &Rules<'_>, effects: &mut Effects) -> Verdict<Grant, Place> {
        let number = rules.numbers.next();
        let newcomer = InFlight::new(number, arrival, rules.now);
        // An offer that decides again may be older than one that came meanwhile.
        let newest = self.lock.in_flight().max_by_key(|in_flight| in_flight.rank);
        if let Some(newer) = newest.filter(|newest| newest.rank > newcomer.rank) {
            let (by, loser) = (newer.id, (number, arrival.fingerprint()));
            self.history.mark(loser, by, rules, effects);
            return Verdict::refused(Reason::Superseded, Duration::ZERO);
        }
        while let Some(queued) = self.lock.queue.pop_front() {
            let loser = (queued.in_flight.id, queued.in_flight.fingerprint);
            self.history.mark(loser, number, rules, effects);
            queued.resolve(Resolution::Refused(Refusal::new(Reason::Superseded)), effects);
        }
        let Some(holder) = &mut self.lock.holder else {
            return Verdict::Admitted(self.lock.grant(number, newcomer, arrival.is_detached, rules));
        };
        holder.supersede(rules.now, effects);
        // Marked again even if it was marked before: that mark is gone if the offer that it named was dropped.
        let (loser, fingerprint) = (holder.in_flight.id, holder.in_flight.fingerprint);
        self.history.mark((loser, fingerprint), number, rules, effects);
        // Settings with `Supersede` have no cooldown.
        let (deadline, cooling_until) = (Tick::NEVER, Tick::default());
        let place = self
            .lock
            .enqueue(newcomer, deadline, arrival.is_detached, cooling_until, rules);
        Verdict::Wait(place)
    }

    /// Removes every place past its deadline, also those whose future is not polled.
    fn expire_places(&mut self, now: Tick, effects: &mut Effects) {
        while let Some(position) = self.lock.queue.iter().position(|queued| queued.deadline <= now) {
            self.remove(position, Resolution::Refused(Refusal::new(Reason::TimedOut)), effects);
        }
    }

    /// Removes one place of the queue. Its own future gets `resolution`.
    fn remove(&mut self, position: usize, resolution: Resolution, effects: &mut Effects) {
        let Some(queued) = self.lock.queue.remove(position) else {
            return;
        };
        let id = queued.in_flight.id;
        queued.resolve(resolution, effects);
        self.history.remove_marks_of(id, effects);
        if position == 0 {
            self.lock.call_front(effects);
        }
    }

    fn take_over_if_overdue(&mut self, now: Tick, effects: &mut Effects) {
        if self.lock.holder.as_ref().is_some_and(|holder| holder.lease_end <= now) {
            self.take_over(Revoked::Overdue, effects);
        }
    }

    /// Lets the queue take over a claim that nobody waits for any more. With no queue, the claim goes on.
    fn release_if_abandoned(&mut self, effects: &mut Effects) {
        let Some(holder) = self.lock.holder.as_ref().filter(|holder| holder.is_abandoned()) else {
            return;
        };
        if self.lock.queue.is_empty() {
            // The processing tells other nodes that it is abandoned.
            effects.nudge(holder.revocation.clone());
        } else {
            self.take_over(Revoked::Abandoned, effects);
        }
    }

    /// Takes the lock from its holder for the next offer, and revokes the holder's claim.
    fn take_over(&mut self, cause: Revoked, effects: &mut Effects) {
        if let Some(holder) = &self.lock.holder {
            effects.revoke(holder.revocation.clone(), cause);
            let (id, since) = (holder.in_flight.id, holder.in_flight.since);
            effects.take_over(TakenOver { since, cause });
            self.lock.revoke(effects);
            self.history.remove_marks_of(id, effects);
            self.lock.call_front(effects);
        }
    }
}
