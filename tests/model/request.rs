//! A request as the model sees it.

use crate::terms::{Peer, State, Time};

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) peer: Peer,
    pub(crate) offer: u8,
    pub(crate) is_poison: bool,
    pub(crate) arrived: Time,
    pub(crate) state: State,
    /// `true` while the request waits in the queue, `false` while it follows another.
    pub(crate) in_queue: bool,
    /// `true` if the request has lost its leader.
    pub(crate) must_decide_again: bool,
    /// The position in the queue.
    pub(crate) place: usize,
    /// The processing, once the request is admitted.
    pub(crate) work: Option<Work>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Work {
    /// `true` once the inner service was called.
    pub(crate) was_called: bool,
    /// The start of the lease.
    pub(crate) leased: Option<Time>,
    /// `true` once the claim has lost the lock. Its result then counts for nothing.
    pub(crate) is_revoked: bool,
    pub(crate) outcome: Option<Outcome>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outcome {
    Completed,
    Failed,
    Abandoned,
}

impl Request {
    pub(crate) fn new(peer: Peer, offer: u8, is_poison: bool, arrived: Time) -> Self {
        Self {
            peer,
            offer,
            is_poison,
            arrived,
            state: State::Waits,
            in_queue: false,
            must_decide_again: false,
            place: 0,
            work: None,
        }
    }

    /// Returns `true` while the layer processes the request, attended or not.
    pub(crate) fn is_open(&self) -> bool {
        self.work.as_ref().is_some_and(|work| work.outcome.is_none())
    }

    /// Returns `true` while the inner service processes the request.
    pub(crate) fn is_called(&self) -> bool {
        self.is_open() && self.work.as_ref().is_some_and(|work| work.was_called)
    }

    pub(crate) fn holds_lock(&self) -> bool {
        self.is_open() && self.work.as_ref().is_some_and(|work| !work.is_revoked)
    }
}
