//! The model's decision on an offer, and when a waiter decides again.

use std::time::Duration;

use tower_offer_dedup::Reason;

use crate::{
    reference::{Memory, Model},
    request::{Outcome, Request, Work},
    terms::{Capacity, End, Id, Peer, Quality, State, Time},
};

impl Model {
    pub(crate) fn has_reason(&self, id: Id, now: Time) -> bool {
        let request = &self.requests[id];
        if request.state != State::Waits {
            return false;
        }
        let (queue_timeout, duplicate_timeout) =
            (self.rules.queue.map(|(_, timeout)| timeout), self.rules.duplicates.1);
        // A waiter behind a lease of zero checks a moment later, so that it does not spin.
        let is_overdue = self
            .holder(request.peer)
            .is_some_and(|holder| self.is_overdue(holder, now, Duration::from_millis(1)));
        if request.in_queue {
            let is_front = self.queue(request.peer).next() == Some(id);
            let is_free = self.holder(request.peer).is_none() && self.cools(request.peer, now).is_none();
            is_overdue || (is_front && is_free) || queue_timeout.is_some_and(|timeout| request.arrived + timeout <= now)
        } else {
            is_overdue
                || request.must_decide_again
                || self.leader(id).is_none()
                || request.arrived + duplicate_timeout <= now
        }
    }

    pub(crate) fn decide_again(&mut self, id: Id, now: Time) {
        let has_leader = self.leader(id).is_some() && !self.requests[id].must_decide_again;
        self.requests[id].must_decide_again = false;
        let Request {
            peer,
            arrived,
            in_queue,
            ..
        } = self.requests[id];
        if in_queue {
            self.take_over(peer, now);
            let is_front = self.queue(peer).next() == Some(id);
            if is_front && self.holder(peer).is_none() && self.cools(peer, now).is_none() {
                self.process(id, now);
            } else if arrived + self.rules.queue.unwrap_or_default().1 <= now {
                self.refuse(id, Reason::TimedOut);
            }
        } else if has_leader && arrived + self.rules.duplicates.1 <= now {
            self.refuse(id, Reason::TimedOut);
        } else {
            self.decide(id, now);
        }
    }

    /// The behaviour table of `docs/design.md`.
    pub(crate) fn decide(&mut self, id: Id, now: Time) {
        let Request { peer, offer, .. } = self.requests[id];
        let mut remembered = self
            .live_memories(now)
            .filter(|memory| memory.peer == peer && memory.offer == offer);
        if let Some(memory) = remembered.next() {
            let answer = memory.answer;
            drop(remembered);
            return if self.rules.replays {
                self.repeat(id, answer, Reason::NotRecorded)
            } else {
                self.refuse(id, Reason::Processed)
            };
        }
        drop(remembered);
        // The request has no state while its next one is decided.
        self.requests[id].state = State::Dropped;
        self.take_over(peer, now);
        let cools = self.cools(peer, now);
        if self.active_offer(peer, offer).is_some() {
            let (limit, _) = self.rules.duplicates;
            if !self.rules.replays {
                self.refuse(id, Reason::InFlight);
            } else if self.waiting(peer).filter(|id| !self.requests[*id].in_queue).count() >= limit {
                self.refuse(id, Reason::QueueFull);
            } else {
                self.requests[id].in_queue = false;
                self.requests[id].state = State::Waits;
            }
        } else if self.holder(peer).is_none() && self.queue(peer).next().is_none() && cools.is_none() {
            self.process(id, now);
        } else if let Some((depth, _)) = self.rules.queue {
            if self.queue(peer).count() >= depth {
                self.refuse(id, Reason::QueueFull);
            } else {
                self.places += 1;
                let place = self.places;
                let request = &mut self.requests[id];
                (request.in_queue, request.place, request.state) = (true, place, State::Waits);
            }
        } else if self.holder(peer).is_some() {
            self.refuse(id, Reason::Busy);
        } else {
            self.requests[id].state = State::Refused(Reason::CoolingDown, cools);
        }
    }

    /// Gives the lock to a request, and calls the inner service.
    pub(crate) fn process(&mut self, id: Id, now: Time) {
        self.leave(id, State::Processed);
        self.requests[id].work = Some(Work::default());
        self.changed.insert(self.requests[id].peer);
        self.call(id, now);
    }

    /// Calls the inner service, unless it is full. The lease begins with the call.
    pub(crate) fn call(&mut self, id: Id, now: Time) {
        let Request { peer, is_poison, .. } = self.requests[id];
        if self.capacity == Capacity::Full {
            return;
        }
        let work = self.requests[id].work.as_mut().expect("the request is admitted");
        work.leased = Some(now);
        work.was_called = self.capacity == Capacity::Ready;
        self.deadlines.push((peer, now + self.rules.lease));
        let was_called = work.was_called;
        if !was_called && !self.rules.detaches {
            // A detached task fails a moment later.
            self.finish(id, End::Err, now);
        } else if was_called && is_poison {
            self.finish(id, End::Panic, now);
        }
    }

    pub(crate) fn repeat(&mut self, id: Id, answer: Option<(Id, Quality)>, or_else: Reason) {
        match answer {
            Some((call, quality)) => {
                self.replayed.insert(id);
                self.requests[id].state = State::Answered(call, quality);
            }
            None => self.refuse(id, or_else),
        }
    }

    fn refuse(&mut self, id: Id, reason: Reason) {
        let is_final = matches!(reason, Reason::Processed | Reason::NotRecorded);
        self.leave(
            id,
            State::Refused(reason, (!is_final).then_some(Duration::from_secs(1))),
        );
    }

    /// Revokes the claim of an overdue holder, and aborts its task.
    fn take_over(&mut self, peer: Peer, now: Time) {
        let Some(holder) = self.holder(peer) else { return };
        if self.is_overdue(holder, now, Duration::ZERO) {
            self.revoke(holder);
            self.taken_over += 1;
            if self.rules.detaches {
                let refused = State::Refused(Reason::TimedOut, Some(Duration::from_secs(1)));
                self.close(holder, Outcome::Abandoned, refused);
            }
        }
    }

    fn is_overdue(&self, holder: Id, now: Time, at_least: Duration) -> bool {
        let leased = self.requests[holder].work.as_ref().and_then(|work| work.leased);
        leased.is_some_and(|leased| leased + self.rules.lease.max(at_least) <= now)
    }

    pub(crate) fn is_live(&self, memory: &Memory, now: Time) -> bool {
        self.rules.has_memory && now < memory.at + self.rules.window
    }

    /// The rest of the peer's cooldown, or `None` if the peer is not cooling down.
    pub(crate) fn cools(&self, peer: Peer, now: Time) -> Option<Duration> {
        let mut cooling = self.cooling.iter();
        let (_, until) = cooling.rfind(|(whose, until)| *whose == peer && *until > now)?;
        Some(*until - now)
    }

    fn waiting(&self, peer: Peer) -> impl Iterator<Item = Id> {
        (0..self.requests.len())
            .filter(move |id| self.requests[*id].peer == peer && self.requests[*id].state == State::Waits)
    }

    /// The queue of a peer, in first-in-first-out order.
    pub(crate) fn queue(&self, peer: Peer) -> impl Iterator<Item = Id> + use<> {
        let mut queue: Vec<Id> = self.waiting(peer).filter(|id| self.requests[*id].in_queue).collect();
        queue.sort_by_key(|id| self.requests[*id].place);
        queue.into_iter()
    }

    fn active_offer(&self, peer: Peer, offer: u8) -> Option<Id> {
        self.holder(peer)
            .into_iter()
            .chain(self.queue(peer))
            .find(|id| self.requests[*id].offer == offer)
    }

    /// The request whose answer a follower waits for.
    fn leader(&self, duplicate: Id) -> Option<Id> {
        let Request { peer, offer, .. } = self.requests[duplicate];
        self.active_offer(peer, offer)
    }

    /// The followers of an offer that is in flight or queued.
    pub(crate) fn duplicates(&self, peer: Peer, offer: u8) -> Vec<Id> {
        self.waiting(peer)
            .filter(|id| !self.requests[*id].in_queue && self.requests[*id].offer == offer)
            .collect()
    }
}
