//! The processing of admitted offers in the model: calls, leases and ends.

use tower_offer_dedup::Reason;

use crate::{
    memory::Kind,
    reference::Model,
    request::{Cause, Ending, Outcome, Request, Work},
    terms::{Capacity, End, Id, Peer, Quality, State, Time},
};

impl Model {
    /// Gives the lock to a request, and calls the inner service unless it is full. The lease begins with the call.
    pub(crate) fn process(&mut self, id: Id, now: Time) {
        let peer = self.requests[id].peer;
        self.changed.insert(peer);
        let request = &mut self.requests[id];
        (request.state, request.place, request.work) = (State::Processed, None, Some(Work::default()));
        match self.capacity {
            Capacity::Full => {}
            Capacity::Ready => self.call(id, now),
            Capacity::Broken => {
                self.start_lease(id, now);
                // A detached task fails a moment later. An offer that has waited has no task yet.
                if !self.rules.detaches || self.requests[id].has_waited {
                    self.finish(id, End::Err, now);
                }
            }
        }
    }

    /// Returns `true` if the processing goes on at its next poll.
    pub(crate) fn is_due(&self, id: Id) -> bool {
        let request = &self.requests[id];
        let is_due = |work: &Work| {
            let may_call = !work.was_called && self.capacity != Capacity::Full;
            work.must_end.is_some() || work.end.is_some() || may_call
        };
        request.is_open() && request.work.as_ref().is_some_and(is_due)
    }

    /// Polls the processing. An early end comes before anything else.
    pub(crate) fn run(&mut self, id: Id, now: Time) {
        let Work { must_end, end, .. } = *self.work(id);
        match (must_end, end) {
            (Some(cause), _) => self.end_early(id, cause),
            (None, Some(end)) => self.finish(id, end, now),
            (None, None) if self.capacity == Capacity::Broken => self.finish(id, End::Err, now),
            (None, None) => self.call(id, now),
        }
    }

    pub(crate) fn take_over_if_overdue(&mut self, peer: Peer, now: Time) {
        let holder = self.holder(peer);
        if let Some(holder) = holder.filter(|holder| self.is_overdue(*holder, now)) {
            let is_loser = self.requests[holder].must_end(Cause::Superseded);
            self.note(if is_loser {
                "loser was overdue"
            } else {
                "claim was overdue"
            });
            self.take_over(holder, Cause::Overdue);
        }
    }

    /// Takes the lock from its holder for the next offer.
    pub(crate) fn take_over(&mut self, holder: Id, cause: Cause) {
        self.end_soon(holder, cause);
        self.revoke(holder);
        self.remove_marks_of(holder);
        self.taken_over += 1;
    }

    /// Takes the lock from its holder, whose end counts for nothing from now on.
    pub(crate) fn revoke(&mut self, holder: Id) {
        self.changed.insert(self.requests[holder].peer);
        self.work(holder).is_revoked = true;
        self.end_followers(holder, Ending::DecidesAgain(None));
    }

    /// Returns `true` if the lease of the holder is over.
    pub(crate) fn is_overdue(&self, holder: Id, now: Time) -> bool {
        let lease_end = self.requests[holder].work.as_ref().and_then(|work| work.lease_end);
        lease_end.is_some_and(|lease_end| lease_end <= now)
    }

    /// Ends a claim without a result, so that the offers it superseded may be sent again.
    pub(crate) fn abort(&mut self, id: Id, outcome: Outcome, state: State) {
        if self.requests[id].holds_lock() {
            self.remove_marks_of(id);
        }
        self.close(id, outcome, state);
    }

    /// Ends the processing of a request. Its followers decide again.
    fn close(&mut self, id: Id, outcome: Outcome, state: State) {
        if self.requests[id].holds_lock() {
            self.changed.insert(self.requests[id].peer);
            self.end_followers(id, Ending::DecidesAgain(None));
        }
        self.work(id).outcome = Some(outcome);
        let request = &mut self.requests[id];
        if request.state != State::Dropped {
            request.state = state;
        }
    }

    pub(crate) fn work(&mut self, id: Id) -> &mut Work {
        let work = self.requests[id].work.as_mut();
        work.expect("the request is admitted")
    }

    fn call(&mut self, id: Id, now: Time) {
        self.start_lease(id, now);
        self.work(id).was_called = true;
        if self.requests[id].is_poison {
            self.finish(id, End::Panic, now);
        }
    }

    fn start_lease(&mut self, id: Id, now: Time) {
        let lease_end = now + self.rules.lease;
        self.work(id).lease_end = Some(lease_end);
        self.deadlines.push((self.requests[id].peer, lease_end));
    }

    fn finish(&mut self, id: Id, end: End, now: Time) {
        let Request { peer, offer, .. } = self.requests[id];
        let (outcome, state) = match end {
            End::Answer(quality @ Quality::Success) => (Outcome::Completed, State::Answered(id, quality)),
            End::Answer(quality @ Quality::Failure) => (Outcome::Failed, State::Answered(id, quality)),
            End::Err => (Outcome::Failed, State::Erred),
            End::Panic => (Outcome::Abandoned, State::Panicked),
        };
        let counts = match outcome {
            Outcome::Completed => true,
            Outcome::Failed => self.rules.remembers_failures,
            Outcome::Abandoned | Outcome::Superseded => false,
        };
        let answer = match end {
            End::Answer(quality) => (self.rules.replays && self.rules.records).then_some((id, quality)),
            End::Err | End::Panic => None,
        };
        if self.requests[id].holds_lock() {
            if let End::Answer(_) = end {
                self.end_followers(
                    id,
                    match answer {
                        Some((call, quality)) => Ending::Answered(call, quality),
                        None if counts => Ending::Refused(Reason::NotRecorded),
                        // An offer that is not remembered may be retried, also if there is no answer to share.
                        None => Ending::Refused(Reason::InFlight),
                    },
                );
            }
            if counts {
                self.cool_down(peer, now);
                self.remember(peer, offer, Kind::Processed(id, answer), now);
            } else {
                self.remove_marks_of(id);
            }
        }
        self.close(id, outcome, state);
    }

    /// Ends a claim early, and refuses its offer.
    fn end_early(&mut self, id: Id, cause: Cause) {
        let (outcome, reason) = match cause {
            Cause::Superseded => (Outcome::Superseded, Reason::Superseded),
            Cause::Overdue => (Outcome::Abandoned, Reason::TimedOut),
            Cause::Abandoned => (Outcome::Abandoned, Reason::Aborted),
        };
        self.abort(id, outcome, Request::refused(reason));
    }
}
