//! The state of one peer: the holder of its lock, its queue, and its history meanwhile.
//!
//! Plain state under the shard's mutex. Nothing in here wakes, waits or calls out; what has to follow is collected in
//! [`Effects`].

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{
    clock::Tick,
    completion::{Completion, Resolution},
    decision::{Arrival, Grant, Place, Rules, Scope, Turn, Verdict},
    draft::Draft,
    effects::{Effects, TakenOver},
    history::{Cutoff, History, Kind, Record, Remembered},
    in_flight::{Holder, InFlight, Queued, lease_wake},
    memory::PendingWrite,
    number::ClaimNumber,
    revocation::Revoked,
};
use crate::{
    Fingerprint, Reason, Refusal, WhenBusy, answer::Duplicates, fence::Fence, outcome::Outcome, settings::Settings,
};

/// The entry of a peer that is busy, cooling down or waited for.
#[derive(Debug, Default)]
pub(super) struct Peer {
    pub(super) cooling_until: Tick,
    /// Boxed: most entries only cool down.
    pub(super) active: Option<Box<Active>>,
}

impl Peer {
    pub(super) fn is_idle(&self, now: Tick) -> bool {
        self.active.is_none() && self.cooling_until <= now
    }
}

/// The lock, the queue and the history of a peer that is busy or waited for.
#[derive(Debug)]
pub(super) struct Active {
    holder: Option<Holder>,
    /// First in, first out. Every place is different from the holder's offer and from all other places.
    queue: VecDeque<Queued>,
    history: Draft,
}

/// The end of a claim.
#[derive(Debug)]
pub(super) enum End {
    /// The offer was processed here.
    Here(Outcome, Option<Record>),
    /// Another node has processed the offer.
    Elsewhere(Elsewhere),
    /// The shared store refuses the offer.
    Refused(Refusal),
}

/// What another node has processed.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    pub(crate) record: Option<Record>,
    /// The rest of its window.
    pub(crate) left: Duration,
    pub(crate) fence: Fence,
}

impl End {
    pub(super) fn record(&self) -> Option<&Record> {
        match self {
            Self::Here(_, record) | Self::Elsewhere(Elsewhere { record, .. }) => record.as_ref(),
            Self::Refused(_) => None,
        }
    }
}

impl Active {
    pub(super) fn new(history: Option<History>) -> Box<Self> {
        Box::new(Self {
            holder: None,
            queue: VecDeque::new(),
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
        if let Some(verdict) = self.meet_duplicate(arrival, rules) {
            return verdict;
        }
        if self.holder.as_ref().is_some_and(Holder::is_abandoned) {
            self.take_over(Revoked::Abandoned, effects);
        }
        let in_flight = || InFlight::new(rules.numbers.next(), arrival, now);
        if self.is_free() && cooling_until <= now {
            let in_flight = in_flight();
            let number = in_flight.id;
            return Verdict::Admitted(self.grant(number, in_flight, arrival.is_detached, rules));
        }
        match rules.settings.when_busy {
            WhenBusy::Supersede => self.supersede(arrival, rules, effects),
            WhenBusy::Queue { depth, timeout } if self.queue.len() < depth => {
                let deadline = arrival.again.map_or(now, |again| again.arrived).after(timeout);
                Verdict::Wait(self.enqueue(in_flight(), deadline, arrival.is_detached))
            }
            WhenBusy::Queue { .. } => Verdict::refused(Reason::QueueFull, Duration::ZERO),
            WhenBusy::Refuse => match &self.holder {
                Some(holder) => Verdict::refused(Reason::Busy, now.since(holder.in_flight.since)),
                None => Verdict::cooling(cooling_until, now),
            },
        }
    }

    /// Returns whether the lock is free and nobody is first in line for it.
    pub(super) fn is_free(&self) -> bool {
        self.holder.is_none() && self.queue.is_empty()
    }

    pub(super) fn is_vacant(&self) -> bool {
        self.is_free() && self.history.is_written()
    }

    pub(super) fn is_processing(&self) -> bool {
        self.holder.is_some()
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
        let Some(position) = self.position(id) else {
            return Turn::Removed;
        };
        let deadline = self.queue[position].deadline;
        let wake = match (&self.holder, self.queue.front()) {
            (Some(holder), Some(front)) if position > 0 => holder.wake(now, rules.settings).min(front.deadline),
            (Some(holder), _) => holder.wake(now, rules.settings),
            // The first in line may have been called and not polled yet: it keeps its turn until its own deadline. Once it
            // is granted the lock, its lease may end before this one looks again for another reason.
            (None, Some(front)) if position > 0 => front.deadline.min(lease_wake(now, rules.settings)),
            _ if cooling_until > now => cooling_until,
            _ => match self.queue.pop_front() {
                // A new number: whatever was forgotten while the offer waited stays below it.
                Some(queued) => {
                    let number = rules.numbers.next();
                    return Turn::Granted(self.grant(number, queued.in_flight, queued.is_detached, rules));
                }
                None => return Turn::Removed,
            },
        };
        Turn::NotYet(wake.min(deadline))
    }

    /// Removes the queued offer `id`, whose future is gone.
    pub(super) fn leave(&mut self, id: ClaimNumber, effects: &mut Effects) {
        if let Some(position) = self.position(id) {
            self.remove(position, Resolution::Retry, effects);
        }
    }

    /// Returns when a follower of `id` must look again, or `None` if it has to decide anew now.
    pub(super) fn follow_again(&self, id: ClaimNumber, now: Tick, settings: &Settings) -> Option<Tick> {
        match &self.holder {
            Some(holder) if holder.in_flight.id == id => (holder.lease_end > now).then(|| holder.wake(now, settings)),
            _ => {
                let deadline = self.queue[self.position(id)?].deadline;
                (deadline > now).then(|| lease_wake(now, settings).min(deadline))
            }
        }
    }

    /// Removes a follower that no longer waits. If nobody else waits for the claim, a queued offer takes over.
    pub(super) fn unfollow(&mut self, completion: &Arc<Completion>, effects: &mut Effects) {
        let holder = self.holder.iter_mut().map(|holder| &mut holder.in_flight);
        let queued = self.queue.iter_mut().map(|queued| &mut queued.in_flight);
        // By the completion, not by the id: a superseded claim has let its first followers go already.
        let is_followed = |in_flight: &&mut InFlight| {
            let current = in_flight.completion.as_ref();
            current.is_some_and(|current| Arc::ptr_eq(current, completion))
        };
        if let Some(in_flight) = holder.chain(queued).find(is_followed) {
            in_flight.followers = in_flight.followers.saturating_sub(1);
        }
        self.release_if_abandoned(effects);
    }

    /// Notes that the response future of the claim is gone. If nobody else waits for it, a queued offer takes over.
    pub(super) fn abandon(&mut self, number: ClaimNumber, effects: &mut Effects) {
        if let Some(holder) = self.holder(number) {
            holder.has_leader = false;
        }
        self.release_if_abandoned(effects);
    }

    /// Notes the number that the shared store has given a claim.
    pub(super) fn set_fence(&mut self, number: ClaimNumber, fence: Fence) {
        if let Some(holder) = self.holder(number) {
            holder.fence = fence;
        }
    }

    /// Returns whether no response future waits for a claim any more.
    pub(super) fn is_abandoned(&mut self, number: ClaimNumber) -> bool {
        self.holder(number).is_some_and(|holder| holder.is_abandoned())
    }

    /// Sets when the lease of a claim ends; [`Tick::NEVER`] while the claim waits for capacity.
    pub(super) fn set_lease(&mut self, number: ClaimNumber, lease_end: Tick) {
        // The lease of a superseded claim has been cut short and stays so.
        if let Some(holder) = self.holder(number).filter(|holder| !holder.is_superseded) {
            holder.lease_end = lease_end;
        }
    }

    /// Ends a claim and appends its memory. Returns whether a cooldown starts. A claim that has lost the
    /// lock changes nothing.
    pub(super) fn release(&mut self, number: ClaimNumber, end: End, rules: &Rules<'_>, effects: &mut Effects) -> bool {
        let Some(holder) = self.holder.take_if(|holder| holder.number == number) else {
            return false;
        };
        let settings = rules.settings;
        let is_here = matches!(end, End::Here(..));
        let refused = |reason| Resolution::Refused(Refusal::new(reason));
        let (resolution, processed) = match end {
            End::Here(outcome, record) => {
                let counts = settings.counts(outcome);
                let resolution = match (outcome, &record) {
                    (Outcome::Broken | Outcome::Abandoned | Outcome::Superseded, _) => Resolution::Retry,
                    (_, Some(record)) => Resolution::Replay(record.clone()),
                    (_, None) if counts => refused(Reason::NotRecorded),
                    // A failure that may be tried again, without an answer to share.
                    (_, None) => refused(Reason::InFlight),
                };
                (resolution, counts.then_some((record, holder.fence, rules.now)))
            }
            End::Elsewhere(Elsewhere { record, left, fence }) => {
                let resolution = record
                    .clone()
                    .map_or_else(|| refused(Reason::NotRecorded), Resolution::Replay);
                let at = rules.now.before(settings.window.saturating_sub(left));
                (resolution, Some((record, fence, at)))
            }
            End::Refused(refusal) => (Resolution::Refused(refusal), None),
        };
        let InFlight {
            id,
            fingerprint,
            completion,
            ..
        } = holder.in_flight;
        effects.resolve(completion, resolution);
        let counts = processed.is_some();
        if counts && !holder.is_forgotten {
            // From now on the marks go with the memory of this claim.
            self.history.transfer_marks(id, number, &rules.cutoff, effects);
        } else {
            self.history.remove_marks_of(id, effects);
        }
        let processed = processed.map(|(record, fence, at)| Remembered {
            number,
            fence,
            fingerprint,
            at,
            kind: Kind::Processed(record),
        });
        let is_remembered = settings.remembers() && !holder.is_superseded && !holder.is_forgotten;
        // A claim that `clear` has not reached yet may be below the floor already.
        let is_included = |processed: &Remembered| is_remembered && rules.cutoff.includes(processed);
        if let Some(processed) = processed.filter(is_included) {
            self.history.remember(processed, rules, effects);
        }
        // A place past its deadline must not keep the turn from the next.
        self.expire_places(rules.now, effects);
        self.call_front(effects);
        counts && is_here && !holder.is_superseded
    }

    /// Ends what `scope` names, except a cooldown. Returns whether there was anything.
    pub(super) fn forget(&mut self, scope: Scope, cutoff: &Cutoff, now: Tick, effects: &mut Effects) -> bool {
        // A place past its deadline has lost its turn already, and is not known any more.
        self.expire_places(now, effects);
        match scope {
            Scope::Peer => {
                let was_known = self.history.is_live(cutoff) || !self.is_free();
                self.revoke(effects);
                for queued in self.queue.drain(..) {
                    queued.resolve(Resolution::Retry, effects);
                }
                // Also if nothing was known: a write of an older version may still be under way.
                self.history.set(None, effects);
                was_known
            }
            Scope::Offer(fingerprint) => self.forget_offer(fingerprint, cutoff, effects),
            Scope::Claim(number) => {
                if let Some(holder) = self.holder(number) {
                    holder.is_forgotten = true;
                    return true;
                }
                self.history.remove_marks_of(number, effects);
                self.history.remove(|offer| offer.is_claim(number), effects)
            }
            Scope::Older { fingerprint, fence } => self.forget_older(fingerprint, fence, effects),
            Scope::Fenced(fingerprint, fence) => {
                if let Some(holder) = self.holder.as_mut().filter(|holder| holder.fence == fence) {
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
        if self.holder.as_ref().is_some_and(|holder| holder.number < floor) {
            self.revoke(effects);
        }
        for queued in self.queue.drain(..) {
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
        let mut was_known = self
            .history
            .remove(|offer| offer.fence <= fence && is_meant(offer.fingerprint), effects);
        // A claim without a number is still to be decided by the store, which has forgotten already.
        let is_older = |holder: &&Holder| holder.fence != Fence::NONE && holder.fence <= fence;
        let holder = self.holder.as_ref().filter(is_older);
        if let Some(holder) = holder.filter(|holder| is_meant(holder.in_flight.fingerprint)) {
            let id = holder.in_flight.id;
            self.revoke(effects);
            self.history.remove_marks_of(id, effects);
            self.call_front(effects);
            was_known = true;
        }
        was_known
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
        if let Some(holder) = self.holder.as_ref().filter(|holder| is_same(&holder.in_flight)) {
            let id = holder.in_flight.id;
            self.revoke(effects);
            self.history.remove_marks_of(id, effects);
            self.call_front(effects);
            return true;
        }
        if let Some(position) = self.queue.iter().position(|queued| is_same(&queued.in_flight)) {
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
        let newest = self.in_flight().max_by_key(|in_flight| in_flight.rank);
        if let Some(newer) = newest.filter(|newest| newest.rank > newcomer.rank) {
            let (by, loser) = (newer.id, (number, arrival.fingerprint()));
            self.history.mark(loser, by, rules, effects);
            return Verdict::refused(Reason::Superseded, Duration::ZERO);
        }
        while let Some(queued) = self.queue.pop_front() {
            let loser = (queued.in_flight.id, queued.in_flight.fingerprint);
            self.history.mark(loser, number, rules, effects);
            queued.resolve(Resolution::Refused(Refusal::new(Reason::Superseded)), effects);
        }
        let Some(holder) = &mut self.holder else {
            return Verdict::Admitted(self.grant(number, newcomer, arrival.is_detached, rules));
        };
        holder.supersede(rules.now, effects);
        // Marked again even if it was marked before: that mark is gone if the offer that it named was dropped.
        let (loser, fingerprint) = (holder.in_flight.id, holder.in_flight.fingerprint);
        self.history.mark((loser, fingerprint), number, rules, effects);
        Verdict::Wait(self.enqueue(newcomer, Tick::NEVER, arrival.is_detached))
    }

    /// Refuses or follows if the same offer is processed or queued.
    fn meet_duplicate(&mut self, arrival: &Arrival<'_>, rules: &Rules<'_>) -> Option<Verdict<Grant, Place>> {
        let followers: usize = match arrival.policy.duplicates {
            Duplicates::Refuse => 0,
            Duplicates::Wait { .. } => self.in_flight().map(|in_flight| in_flight.followers).sum(),
        };
        let (now, settings) = (rules.now, rules.settings);
        let is_same = |in_flight: &InFlight| in_flight.fingerprint == arrival.fingerprint();
        let (in_flight, wake) = match &mut self.holder {
            Some(holder) if is_same(&holder.in_flight) => {
                let wake = holder.wake(now, settings);
                (&mut holder.in_flight, wake)
            }
            _ => {
                let queued = self.queue.iter_mut().find(|queued| is_same(&queued.in_flight))?;
                let wake = lease_wake(now, settings).min(queued.deadline);
                (&mut queued.in_flight, wake)
            }
        };
        Some(match arrival.policy.duplicates {
            Duplicates::Refuse => Verdict::refused(Reason::InFlight, now.since(in_flight.since)),
            // An offer that has waited before was let in already: later ones must not take its place.
            Duplicates::Wait { max_waiters, .. } if arrival.again.is_none() && followers >= max_waiters => {
                Verdict::refused(Reason::QueueFull, Duration::ZERO)
            }
            Duplicates::Wait { .. } => {
                in_flight.followers += 1;
                Verdict::Wait(Place::Following {
                    completion: Arc::clone(in_flight.completion.get_or_insert_default()),
                    id: in_flight.id,
                    rank: in_flight.rank,
                    wake,
                })
            }
        })
    }

    fn in_flight(&self) -> impl Iterator<Item = &InFlight> {
        let holder = self.holder.iter().map(|holder| &holder.in_flight);
        holder.chain(self.queue.iter().map(|queued| &queued.in_flight))
    }

    fn grant(&mut self, number: ClaimNumber, in_flight: InFlight, is_detached: bool, rules: &Rules<'_>) -> Grant {
        let settings = rules.settings;
        let ends_early = is_detached || settings.is_shared || settings.when_busy == WhenBusy::Supersede;
        let revocation = ends_early.then(Arc::default);
        let arrived = in_flight.arrived;
        self.holder = Some(Holder {
            number,
            fence: Fence::NONE,
            in_flight,
            lease_end: rules.now.after(settings.lease),
            has_leader: true,
            is_superseded: false,
            is_forgotten: false,
            revocation: revocation.clone(),
        });
        Grant {
            number,
            since: rules.now,
            arrived,
            revocation,
        }
    }

    fn enqueue(&mut self, in_flight: InFlight, deadline: Tick, is_detached: bool) -> Place {
        let (id, rank, seat) = (in_flight.id, in_flight.rank, Arc::default());
        self.queue.push_back(Queued {
            in_flight,
            seat: Arc::clone(&seat),
            deadline,
            is_detached,
        });
        Place::Queued { id, rank, seat }
    }

    /// Removes every place past its deadline, also those whose future is not polled.
    fn expire_places(&mut self, now: Tick, effects: &mut Effects) {
        while let Some(position) = self.queue.iter().position(|queued| queued.deadline <= now) {
            self.remove(position, Resolution::Refused(Refusal::new(Reason::TimedOut)), effects);
        }
    }

    /// Removes one place of the queue. Its own future gets `resolution`.
    fn remove(&mut self, position: usize, resolution: Resolution, effects: &mut Effects) {
        let Some(queued) = self.queue.remove(position) else {
            return;
        };
        let id = queued.in_flight.id;
        queued.resolve(resolution, effects);
        self.history.remove_marks_of(id, effects);
        if position == 0 {
            self.call_front(effects);
        }
    }

    fn take_over_if_overdue(&mut self, now: Tick, effects: &mut Effects) {
        if self.holder.as_ref().is_some_and(|holder| holder.lease_end <= now) {
            self.take_over(Revoked::Overdue, effects);
        }
    }

    /// Lets the queue take over a claim that nobody waits for any more. With no queue, the claim goes on.
    fn release_if_abandoned(&mut self, effects: &mut Effects) {
        let Some(holder) = self.holder.as_ref().filter(|holder| holder.is_abandoned()) else {
            return;
        };
        if self.queue.is_empty() {
            // The processing tells other nodes that it is abandoned.
            effects.nudge(holder.revocation.clone());
        } else {
            self.take_over(Revoked::Abandoned, effects);
        }
    }

    /// Takes the lock from its holder for the next offer, and revokes the holder's claim.
    fn take_over(&mut self, cause: Revoked, effects: &mut Effects) {
        if let Some(holder) = &self.holder {
            effects.revoke(holder.revocation.clone(), cause);
            let (id, since) = (holder.in_flight.id, holder.in_flight.since);
            effects.taken_over = Some(TakenOver { since, cause });
            self.revoke(effects);
            self.history.remove_marks_of(id, effects);
            self.call_front(effects);
        }
    }

    /// Takes the lock from its holder, whose end counts for nothing from now on.
    fn revoke(&mut self, effects: &mut Effects) {
        if let Some(holder) = self.holder.take() {
            effects.resolve(holder.in_flight.completion, Resolution::Retry);
        }
    }

    /// Wakes the first in line if the lock is free or cooling down.
    pub(super) fn call_front(&self, effects: &mut Effects) {
        if let (None, Some(front)) = (&self.holder, self.queue.front()) {
            effects.call(&front.seat);
        }
    }

    fn position(&self, id: ClaimNumber) -> Option<usize> {
        self.queue.iter().position(|queued| queued.in_flight.id == id)
    }

    fn holder(&mut self, number: ClaimNumber) -> Option<&mut Holder> {
        self.holder.as_mut().filter(|holder| holder.number == number)
    }
}
