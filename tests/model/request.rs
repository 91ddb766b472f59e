//! A request as the model sees it.

use std::time::Duration;

use tower_offer_dedup::Reason;

use crate::terms::{End, Id, Peer, Quality, State, Time};

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) peer: Peer,
    pub(crate) offer: u8,
    pub(crate) is_poison: bool,
    pub(crate) arrived: Time,
    pub(crate) state: State,
    /// The place of a request whose state is [`State::Waits`].
    pub(crate) place: Option<Place>,
    /// The time at which a follower checks its leader even if nothing wakes it.
    pub(crate) checks_at: Time,
    /// `true` while the client keeps the future without polling it.
    pub(crate) is_held: bool,
    /// `true` once the request has waited. It then decides with the deadlines of its arrival.
    pub(crate) has_waited: bool,
    /// The request in which the offer arrived first: that of the leader for a follower.
    pub(crate) rank: Id,
    /// The processing, once the request is admitted.
    pub(crate) work: Option<Work>,
}

/// The place of a waiting request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Place {
    /// In the queue of its peer. Places with a lower turn are ahead.
    Queued { turn: usize, deadline: Option<Time> },
    /// Behind the same offer, which is processed or queued.
    Following(Id),
    /// Nowhere any more: the next poll brings this.
    Ended(Ending),
}

/// The fate of a request whose place has ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ending {
    Answered(Id, Quality),
    Refused(Reason),
    /// It decides again, unless this deadline has passed.
    DecidesAgain(Option<Time>),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Work {
    /// `true` once the inner service was called.
    pub(crate) was_called: bool,
    /// The end of the lease, or `None` while the inner service has no capacity.
    pub(crate) lease_end: Option<Time>,
    /// `true` once the claim has lost the lock. Its result then counts for nothing.
    pub(crate) is_revoked: bool,
    /// The cause for which the processing ends at its next poll.
    pub(crate) must_end: Option<Cause>,
    /// The end of the inner call, until the next poll.
    pub(crate) end: Option<End>,
    pub(crate) outcome: Option<Outcome>,
}

/// The cause for which the processing of a claim ends early.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cause {
    Overdue,
    Abandoned,
    Superseded,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outcome {
    Completed,
    Failed,
    Abandoned,
    Superseded,
}

impl Request {
    pub(crate) fn new(id: Id, peer: Peer, offer: u8, is_poison: bool, arrived: Time) -> Self {
        Self {
            peer,
            offer,
            is_poison,
            arrived,
            state: State::Waits,
            place: None,
            checks_at: arrived,
            is_held: false,
            has_waited: false,
            rank: id,
            work: None,
        }
    }

    /// Returns `true` while the layer processes the request, attended or not.
    pub(crate) fn is_open(&self) -> bool {
        self.work.as_ref().is_some_and(|work| work.outcome.is_none())
    }

    /// Returns `true` while the inner service processes the request.
    pub(crate) fn is_called(&self) -> bool {
        let is_called = |work: &Work| work.was_called && work.end.is_none();
        self.is_open() && self.work.as_ref().is_some_and(is_called)
    }

    pub(crate) fn holds_lock(&self) -> bool {
        self.is_open() && self.work.as_ref().is_some_and(|work| !work.is_revoked)
    }

    pub(crate) fn must_end(&self, cause: Cause) -> bool {
        self.work.as_ref().is_some_and(|work| work.must_end == Some(cause))
    }

    /// Returns `true` while the request waits in the queue.
    pub(crate) fn is_queued(&self) -> bool {
        matches!(self.place, Some(Place::Queued { .. }))
    }

    pub(crate) fn follows(&self, leader: Id) -> bool {
        self.place == Some(Place::Following(leader))
    }

    /// Returns `true` if the request waits in the queue and its deadline has passed.
    pub(crate) fn is_late(&self, now: Time) -> bool {
        matches!(self.place, Some(Place::Queued { deadline: Some(deadline), .. }) if deadline <= now)
    }

    /// The position of a queued request among those of its peer.
    pub(crate) fn turn(&self) -> usize {
        match self.place {
            Some(Place::Queued { turn, .. }) => turn,
            _ => usize::MAX,
        }
    }

    /// Returns the refusal as its client sees it.
    pub(crate) fn refused(reason: Reason) -> State {
        let is_final = matches!(reason, Reason::Processed | Reason::NotRecorded | Reason::Superseded);
        State::Refused(reason, (!is_final).then_some(Duration::from_secs(1)))
    }
}
