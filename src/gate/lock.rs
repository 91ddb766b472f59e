//! [`Lock`]: the lock of one peer and its queue. Plain state of [`Active`](super::active::Active).

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{
    clock::Tick,
    completion::{Completion, Resolution},
    decision::{Arrival, Grant, Place, Rules, Turn, Verdict},
    effects::Effects,
    in_flight::{Holder, InFlight, Queued, lease_wake},
    number::ClaimNumber,
};
use crate::{Reason, WhenBusy, answer::Duplicates, fence::Fence, settings::Settings};

/// The lock of one peer: the claim that holds it, and the offers that wait for it.
#[derive(Debug, Default)]
pub(super) struct Lock {
    pub(super) holder: Option<Holder>,
    /// First in, first out. Every place is different from the holder's offer and from all other places.
    pub(super) queue: VecDeque<Queued>,
}

impl Lock {
    /// Returns whether the lock is free and nobody is first in line for it.
    pub(super) fn is_free(&self) -> bool {
        self.holder.is_none() && self.queue.is_empty()
    }

    /// Refuses or follows if the same offer is processed or queued.
    pub(super) fn meet_duplicate(&mut self, arrival: &Arrival<'_>, rules: &Rules<'_>) -> Option<Verdict<Grant, Place>> {
        let followers: usize = match arrival.policy.duplicates {
            Duplicates::Refuse => 0,
            Duplicates::Wait { .. } => self.in_flight().map(|in_flight| in_flight.followers).sum(),
        };
        let (now, settings) = (rules.now, rules.settings);
        let is_same = |in_flight: &InFlight| in_flight.fingerprint == arrival.fingerprint();
        let (in_flight, wake) = match &mut self.holder {
            // It counts as superseded for as long as the newer offer waits, also where nothing is remembered.
            Some(holder) if is_same(&holder.in_flight) && holder.is_superseded && !self.queue.is_empty() => {
                return Some(Verdict::refused(Reason::Superseded, Duration::ZERO));
            }
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

    pub(super) fn in_flight(&self) -> impl Iterator<Item = &InFlight> {
        let holder = self.holder.iter().map(|holder| &holder.in_flight);
        holder.chain(self.queue.iter().map(|queued| &queued.in_flight))
    }

    pub(super) fn grant(
        &mut self,
        number: ClaimNumber,
        in_flight: InFlight,
        is_detached: bool,
        rules: &Rules<'_>,
    ) -> Grant {
        let settings = rules.settings;
        let ends_early = is_detached || settings.is_shared || settings.when_busy == WhenBusy::Supersede;
        let revocation = ends_early.then(Arc::default);
        let arrived = in_flight.arrived;
        self.holder = Some(Holder {
            number,
            fence: None,
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

    pub(super) fn enqueue(
        &mut self,
        in_flight: InFlight,
        deadline: Tick,
        is_detached: bool,
        cooling_until: Tick,
        rules: &Rules<'_>,
    ) -> Place {
        let (id, rank, seat) = (in_flight.id, in_flight.rank, Arc::default());
        let wake = self.turn_of(self.queue.len(), deadline, cooling_until, rules);
        self.queue.push_back(Queued {
            in_flight,
            seat: Arc::clone(&seat),
            deadline,
            is_detached,
        });
        Place::Queued { id, rank, seat, wake }
    }

    /// Gives the lock to the queued offer `id` if it is its turn.
    pub(super) fn turn(&mut self, id: ClaimNumber, cooling_until: Tick, rules: &Rules<'_>) -> Turn<Grant> {
        let Some(position) = self.position(id) else {
            return Turn::Removed;
        };
        let deadline = self.queue[position].deadline;
        if let Some(wake) = self.turn_of(position, deadline, cooling_until, rules) {
            return Turn::NotYet(wake);
        }
        match self.queue.pop_front() {
            // A new number: whatever was forgotten while the offer waited stays below it.
            Some(queued) => {
                let number = rules.numbers.next();
                Turn::Granted(self.grant(number, queued.in_flight, queued.is_detached, rules))
            }
            None => Turn::Removed,
        }
    }

    /// Returns when the offer at `position` of the queue must check its turn again even if nothing wakes it, or `None` if
    /// it is its turn.
    fn turn_of(&self, position: usize, deadline: Tick, cooling_until: Tick, rules: &Rules<'_>) -> Option<Tick> {
        let now = rules.now;
        let front = self.queue.front().filter(|_| position > 0);
        let wake = match (&self.holder, front) {
            (Some(holder), Some(front)) => holder.wake(now, rules.settings).min(front.deadline),
            (Some(holder), None) => holder.wake(now, rules.settings),
            // The first in line may have been called and not polled yet: it keeps its turn until its own deadline. Once it
            // is granted the lock, its lease may end before this one looks again for another reason.
            (None, Some(front)) => front.deadline.min(lease_wake(now, rules.settings)),
            (None, None) if cooling_until > now => cooling_until,
            (None, None) => return None,
        };
        Some(wake.min(deadline))
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

    /// Removes a follower that no longer waits.
    pub(super) fn unfollow(&mut self, completion: &Arc<Completion>) {
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
    }

    /// Notes that the response future of the claim is gone.
    pub(super) fn abandon(&mut self, number: ClaimNumber) {
        if let Some(holder) = self.holder(number) {
            holder.has_leader = false;
        }
    }

    /// Notes the number that the shared store has given a claim.
    pub(super) fn set_fence(&mut self, number: ClaimNumber, fence: Fence) {
        if let Some(holder) = self.holder(number) {
            holder.fence = Some(fence);
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

    /// Takes the lock from its holder, whose end counts for nothing from now on.
    pub(super) fn revoke(&mut self, effects: &mut Effects) {
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

    pub(super) fn position(&self, id: ClaimNumber) -> Option<usize> {
        self.queue.iter().position(|queued| queued.in_flight.id == id)
    }

    pub(super) fn holder(&mut self, number: ClaimNumber) -> Option<&mut Holder> {
        self.holder.as_mut().filter(|holder| holder.number == number)
    }
}
