//! The state of one peer: who holds its lock, who waits, and what is remembered meanwhile.
//!
//! Plain state under the shard's mutex. Nothing in here wakes, waits or calls out; what has to follow is collected in
//! [`Effects`].

use std::{collections::VecDeque, mem, sync::Arc, time::Duration};

use super::{
    clock::Tick,
    completion::{Completion, Resolution},
    decision::{Arrival, Grant, Place, Rules, Scope, Turn, Verdict},
    effects::{Effects, TakenOver},
    history::{Cutoff, History, Kind, Record, Remembered},
    memory::PendingWrite,
    number::ClaimNumber,
    revocation::{Revocation, Revoked},
};
use crate::{Fingerprint, Reason, Refusal, WhenBusy, answer::Duplicates, outcome::Outcome, settings::Settings};

/// How long a superseded claim may hold the lock until its processing has been dropped.
const SUPERSEDED_LEASE: Duration = Duration::from_millis(100);

/// What the lock table keeps of a peer that is busy, cooling down or waited for.
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
    /// The newest history. The cache has it too once no write is pending.
    history: Option<History>,
    /// Counts the changes of `history`.
    version: u64,
    /// Writes of `history` under way. The entry stays until all have arrived.
    pending_writes: usize,
}

/// The claim that holds the lock.
#[derive(Debug)]
struct Holder {
    number: ClaimNumber,
    in_flight: InFlight,
    lease_end: Tick,
    /// Whether the leader's response future lives.
    has_leader: bool,
    /// A newer offer arrived: the claim is told to end, and nothing of it is remembered.
    is_superseded: bool,
    /// The session of this claim has ended already: nothing of it is remembered.
    is_forgotten: bool,
    revocation: Option<Arc<Revocation>>,
}

/// An offer that waits for the lock.
#[derive(Debug)]
struct Queued {
    in_flight: InFlight,
    seat: Arc<Completion>,
    deadline: Tick,
    is_detached: bool,
}

/// An offer that is processed or queued.
#[derive(Debug)]
struct InFlight {
    /// Given on arrival and never changed: followers and marks refer to it.
    id: ClaimNumber,
    /// Orders offers by their first arrival. It is the id unless the offer has waited before.
    arrival: ClaimNumber,
    fingerprint: Fingerprint,
    since: Tick,
    followers: usize,
    /// Made for the first follower.
    completion: Option<Arc<Completion>>,
}

/// How a claim ends.
#[derive(Debug)]
pub(super) struct End {
    pub(super) outcome: Outcome,
    pub(super) record: Option<Record>,
}

/// What the end of a claim changed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Released {
    /// Whether the cooldown of the peer starts.
    pub(super) cools: bool,
}

impl Active {
    pub(super) fn new(history: Option<History>) -> Box<Self> {
        Box::new(Self {
            holder: None,
            queue: VecDeque::new(),
            history,
            version: 0,
            pending_writes: 0,
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
        let history = self.history.as_ref();
        if let Some(known) = history.and_then(|history| history.find(arrival.fingerprint(), &rules.cutoff)) {
            return known.verdict(arrival, now);
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
                let deadline = arrival.arrived.unwrap_or(now).after(timeout);
                Verdict::Wait(self.enqueue(in_flight(), deadline, arrival.is_detached))
            }
            WhenBusy::Queue { .. } => Verdict::refused(Reason::QueueFull, Duration::ZERO),
            WhenBusy::Refuse => match &self.holder {
                Some(holder) => Verdict::refused(Reason::Busy, now.since(holder.in_flight.since)),
                None => cooling(cooling_until, now),
            },
        }
    }

    /// Returns whether the lock is free and nobody is first in line for it.
    pub(super) fn is_free(&self) -> bool {
        self.holder.is_none() && self.queue.is_empty()
    }

    pub(super) fn is_vacant(&self) -> bool {
        self.is_free() && self.pending_writes == 0
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
        // The last place ahead may never be polled. It keeps its turn until its own deadline.
        let ahead = position.checked_sub(1).map(|ahead| self.queue[ahead].deadline);
        let deadline = self.queue[position].deadline.min(ahead.unwrap_or(Tick::NEVER));
        let wake = match &self.holder {
            Some(holder) => holder.wake(now, rules.settings),
            // The first in line may begin its lease at any time.
            None if position > 0 => lease_wake(now, rules.settings),
            None if cooling_until > now => cooling_until,
            None => match self.queue.pop_front() {
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

    /// Removes a follower that no longer waits for `completion`. If nobody else waits for the claim, a queued offer takes over.
    pub(super) fn unfollow(&mut self, completion: &Arc<Completion>, effects: &mut Effects) {
        let holder = self.holder.iter_mut().map(|holder| &mut holder.in_flight);
        let queued = self.queue.iter_mut().map(|queued| &mut queued.in_flight);
        // Followers that were superseded are not counted any more. They wait for a completion that is gone.
        let is_followed = |in_flight: &&mut InFlight| {
            let followed = in_flight.completion.as_ref();
            followed.is_some_and(|followed| Arc::ptr_eq(followed, completion))
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

    /// Sets when the lease of a claim ends; [`Tick::NEVER`] while the claim waits for capacity.
    pub(super) fn set_lease(&mut self, number: ClaimNumber, lease_end: Tick) {
        // The lease of a superseded claim has been cut short and stays so.
        if let Some(holder) = self.holder(number).filter(|holder| !holder.is_superseded) {
            holder.lease_end = lease_end;
        }
    }

    /// Ends a claim and appends what is to be remembered. Returns `None` if the claim had lost the lock.
    pub(super) fn release(
        &mut self,
        number: ClaimNumber,
        end: End,
        rules: &Rules<'_>,
        effects: &mut Effects,
    ) -> Option<Released> {
        let holder = self.holder.take_if(|holder| holder.number == number)?;
        let settings = rules.settings;
        let is_failure = matches!(end.outcome, Outcome::Failure | Outcome::Broken);
        let counts = end.outcome == Outcome::Success || is_failure && settings.remember_failures;
        let resolution = match (end.outcome, &end.record) {
            (Outcome::Broken | Outcome::Abandoned | Outcome::Superseded, _) => Resolution::Retry,
            (_, Some(record)) => Resolution::Replay(record.clone()),
            (_, None) if counts => Resolution::Refused(Reason::NotRecorded),
            // A failure that may be tried again, without an answer to share.
            (_, None) => Resolution::Refused(Reason::InFlight),
        };
        let InFlight {
            id,
            fingerprint,
            completion,
            ..
        } = holder.in_flight;
        effects.resolve(completion, resolution);
        if !counts {
            self.remove_marks_of(id, effects);
        }
        let processed = Remembered {
            number,
            fingerprint,
            at: rules.now,
            kind: Kind::Processed(end.record),
        };
        let is_remembered = counts && settings.remembers() && !holder.is_superseded && !holder.is_forgotten;
        // A claim that `clear` has not reached yet may be below the floor already.
        if is_remembered && rules.cutoff.includes(&processed) {
            self.remember(processed, rules, effects);
        }
        self.call_front(effects);
        Some(Released {
            cools: counts && !holder.is_superseded,
        })
    }

    /// Ends what `scope` names, except a cooldown. Returns whether there was anything.
    pub(super) fn forget(&mut self, scope: Scope, cutoff: &Cutoff, effects: &mut Effects) -> bool {
        match scope {
            Scope::Peer => {
                let is_remembered = self.history.as_ref().is_some_and(|history| history.is_live(cutoff));
                let was_known = is_remembered || !self.is_free();
                self.revoke(effects);
                for queued in self.queue.drain(..) {
                    queued.resolve(Resolution::Retry, effects);
                }
                // Also if nothing was known: a write of an older version may still be under way.
                self.set_history(None, effects);
                was_known
            }
            Scope::Offer(fingerprint) => self.forget_offer(fingerprint, cutoff, effects),
            Scope::Claim(number) => {
                if let Some(holder) = self.holder(number) {
                    holder.is_forgotten = true;
                    return true;
                }
                let known = self.history.as_ref();
                let kept = known.and_then(|history| history.without(|offer| offer.is_claim(number)));
                kept.map(|kept| self.set_history(kept, effects)).is_some()
            }
        }
    }

    /// Ends every claim below `floor`, every queue place and every memory.
    pub(super) fn clear(&mut self, floor: ClaimNumber, effects: &mut Effects) {
        if self.holder.as_ref().is_some_and(|holder| holder.number < floor) {
            self.revoke(effects);
        }
        for queued in self.queue.drain(..) {
            queued.resolve(Resolution::Retry, effects);
        }
    }

    /// Notes that `version` of the history is in the cache. Returns a newer version if there is one: it must be written
    /// after this one, in case the two have overtaken each other.
    pub(super) fn written(&mut self, version: u64) -> Option<PendingWrite> {
        if self.version != version {
            return Some(self.pending_write());
        }
        self.pending_writes -= 1;
        None
    }

    fn forget_offer(&mut self, fingerprint: Fingerprint, cutoff: &Cutoff, effects: &mut Effects) -> bool {
        let mut was_known = false;
        let known = self.history.as_ref();
        let kept = known.and_then(|history| history.without(|offer| offer.fingerprint == fingerprint));
        if let Some(kept) = kept {
            was_known = known.is_some_and(|history| history.find(fingerprint, cutoff).is_some());
            self.set_history(kept, effects);
        }
        let is_same = |in_flight: &InFlight| in_flight.fingerprint == fingerprint;
        if let Some(holder) = self.holder.as_ref().filter(|holder| is_same(&holder.in_flight)) {
            let id = holder.in_flight.id;
            self.revoke(effects);
            self.remove_marks_of(id, effects);
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
        // The newest offer is the last to arrive. A waiter that decides again may be older than what it meets.
        let is_newer = |other: &InFlight| arrival.number.is_some_and(|number| other.arrival > number);
        if self.in_flight().any(is_newer) {
            return Verdict::refused(Reason::Superseded, Duration::ZERO);
        }
        let number = rules.numbers.next();
        let newcomer = InFlight::new(number, arrival, rules.now);
        while let Some(queued) = self.queue.pop_front() {
            let InFlight { id, fingerprint, .. } = queued.in_flight;
            self.mark(id, fingerprint, number, rules, effects);
            queued.resolve(Resolution::Refused(Reason::Superseded), effects);
        }
        let Some(holder) = &mut self.holder else {
            return Verdict::Admitted(self.grant(number, newcomer, arrival.is_detached, rules));
        };
        if !holder.is_superseded {
            holder.is_superseded = true;
            holder.lease_end = holder.lease_end.min(rules.now.after(SUPERSEDED_LEASE));
            effects.revoke(holder.revocation.clone(), Revoked::Superseded);
        }
        holder.in_flight.followers = 0;
        let followers = holder.in_flight.completion.take();
        effects.resolve(followers, Resolution::Refused(Reason::Superseded));
        // Marked again even if it was marked before: that mark is gone if the offer that it named was dropped.
        let InFlight { id, fingerprint, .. } = holder.in_flight;
        self.mark(id, fingerprint, number, rules, effects);
        Verdict::Wait(self.enqueue(newcomer, Tick::NEVER, arrival.is_detached))
    }

    /// Remembers that the offer `id` was superseded by `by`, which takes over the loser's own marks.
    fn mark(
        &mut self,
        id: ClaimNumber,
        fingerprint: Fingerprint,
        by: ClaimNumber,
        rules: &Rules<'_>,
        effects: &mut Effects,
    ) {
        if !rules.settings.remembers() {
            return;
        }
        if let Some(history) = &mut self.history {
            history.transfer_marks(id, by);
        }
        let mark = Remembered {
            number: by,
            fingerprint,
            at: rules.now,
            kind: Kind::Superseded,
        };
        self.remember(mark, rules, effects);
    }

    /// Removes the marks of the offers that `id` superseded: it has not succeeded, so they may be sent again.
    fn remove_marks_of(&mut self, id: ClaimNumber, effects: &mut Effects) {
        let known = self.history.as_ref();
        if let Some(kept) = known.and_then(|history| history.without(|offer| offer.is_mark_of(id))) {
            self.set_history(kept, effects);
        }
    }

    fn remember(&mut self, offer: Remembered, rules: &Rules<'_>, effects: &mut Effects) {
        let max_memory = rules.settings.memory_bytes();
        let (history, trimmed) = History::append(self.history.as_ref(), offer, &rules.cutoff, max_memory);
        effects.trimmed.offers += trimmed.offers;
        effects.trimmed.answers += trimmed.answers;
        self.set_history(Some(history), effects);
    }

    /// Replaces the history. Several replacements in one change are one write.
    fn set_history(&mut self, history: Option<History>, effects: &mut Effects) {
        effects.discard(mem::replace(&mut self.history, history));
        self.version += 1;
        if effects.write.is_none() {
            self.pending_writes += 1;
        }
        effects.write = Some(self.pending_write());
        effects.expires |= self.history.is_some();
    }

    fn pending_write(&self) -> PendingWrite {
        PendingWrite {
            history: self.history.clone(),
            version: self.version,
        }
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
                (&mut queued.in_flight, lease_wake(now, settings).min(queued.deadline))
            }
        };
        Some(match arrival.policy.duplicates {
            Duplicates::Refuse => Verdict::refused(Reason::InFlight, now.since(in_flight.since)),
            // An offer that has waited before was let in already: later ones must not take its place.
            Duplicates::Wait { max_waiters, .. } if arrival.arrived.is_none() && followers >= max_waiters => {
                Verdict::refused(Reason::QueueFull, Duration::ZERO)
            }
            Duplicates::Wait { .. } => {
                in_flight.followers += 1;
                Verdict::Wait(Place::Following {
                    completion: Arc::clone(in_flight.completion.get_or_insert_default()),
                    id: in_flight.id,
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
        let ends_early = is_detached || rules.settings.when_busy == WhenBusy::Supersede;
        let revocation = ends_early.then(Arc::default);
        self.holder = Some(Holder {
            number,
            in_flight,
            lease_end: rules.now.after(rules.settings.lease),
            has_leader: true,
            is_superseded: false,
            is_forgotten: false,
            revocation: revocation.clone(),
        });
        Grant {
            number,
            since: rules.now,
            revocation,
        }
    }

    fn enqueue(&mut self, in_flight: InFlight, deadline: Tick, is_detached: bool) -> Place {
        let (id, seat) = (in_flight.id, Arc::default());
        self.queue.push_back(Queued {
            in_flight,
            seat: Arc::clone(&seat),
            deadline,
            is_detached,
        });
        Place::Queued { id, seat }
    }

    /// Removes every place past its deadline, also those whose future is not polled.
    fn expire_places(&mut self, now: Tick, effects: &mut Effects) {
        while let Some(position) = self.queue.iter().position(|queued| queued.deadline <= now) {
            self.remove(position, Resolution::Refused(Reason::TimedOut), effects);
        }
    }

    /// Removes one place of the queue. Its own future gets `resolution`.
    fn remove(&mut self, position: usize, resolution: Resolution, effects: &mut Effects) {
        let Some(queued) = self.queue.remove(position) else {
            return;
        };
        let id = queued.in_flight.id;
        queued.resolve(resolution, effects);
        self.remove_marks_of(id, effects);
        if position == 0 {
            self.call_front(effects);
        } else if let Some(next) = self.queue.get(position) {
            // It may have waited for the deadline of the removed place.
            effects.call(&next.seat);
        }
    }

    fn take_over_if_overdue(&mut self, now: Tick, effects: &mut Effects) {
        if self.holder.as_ref().is_some_and(|holder| holder.lease_end <= now) {
            self.take_over(Revoked::Overdue, effects);
        }
    }

    /// Lets the queue take over a claim that nobody waits for any more. With no queue, the claim goes on.
    fn release_if_abandoned(&mut self, effects: &mut Effects) {
        if !self.queue.is_empty() && self.holder.as_ref().is_some_and(Holder::is_abandoned) {
            self.take_over(Revoked::Abandoned, effects);
        }
    }

    /// Takes the lock from its holder for the next offer, and tells the holder's processing to end.
    fn take_over(&mut self, cause: Revoked, effects: &mut Effects) {
        if let Some(holder) = &self.holder {
            effects.revoke(holder.revocation.clone(), cause);
            let (id, since) = (holder.in_flight.id, holder.in_flight.since);
            effects.taken_over = Some(TakenOver { since, cause });
            self.revoke(effects);
            self.remove_marks_of(id, effects);
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

impl Holder {
    fn is_abandoned(&self) -> bool {
        !self.has_leader && self.in_flight.followers == 0
    }

    /// Returns when the claim is past its lease at the earliest. While it waits for capacity, no lease runs.
    fn wake(&self, now: Tick, settings: &Settings) -> Tick {
        if self.lease_end == Tick::NEVER {
            lease_wake(now, settings)
        } else {
            self.lease_end
        }
    }
}

impl Queued {
    /// Ends the place: its own future gets `resolution`, its followers decide again or are superseded with it.
    fn resolve(self, resolution: Resolution, effects: &mut Effects) {
        let followers = match &resolution {
            Resolution::Refused(Reason::Superseded) => resolution.clone(),
            _ => Resolution::Retry,
        };
        effects.resolve(self.in_flight.completion, followers);
        effects.resolve(Some(self.seat), resolution);
    }
}

impl InFlight {
    fn new(id: ClaimNumber, arrival: &Arrival<'_>, since: Tick) -> Self {
        Self {
            id,
            arrival: arrival.number.unwrap_or(id),
            fingerprint: arrival.fingerprint(),
            since,
            followers: 0,
            completion: None,
        }
    }
}

impl Remembered {
    /// Decides on a duplicate of this offer.
    pub(super) fn verdict<C, W>(&self, arrival: &Arrival<'_>, now: Tick) -> Verdict<C, W> {
        let age = now.since(self.at);
        match (&self.kind, arrival.policy.duplicates) {
            (Kind::Superseded, _) => Verdict::refused(Reason::Superseded, age),
            (Kind::Processed(_), Duplicates::Refuse) => Verdict::refused(Reason::Processed, age),
            (Kind::Processed(record), Duplicates::Wait { .. }) => Verdict::replay(record.clone(), arrival.policy, age),
        }
    }
}

pub(super) fn cooling<C, W>(until: Tick, now: Tick) -> Verdict<C, W> {
    Verdict::Refused {
        refusal: Refusal::with_retry_after(Reason::CoolingDown, until.since(now)),
        age: Duration::ZERO,
    }
}

/// Returns when a claim whose lease has not begun may be past it at the earliest. A lease of zero must not make its
/// waiters spin.
fn lease_wake(now: Tick, settings: &Settings) -> Tick {
    now.after(settings.lease.max(Duration::from_millis(1)))
}
