//! A request, as the model sees it.

use crate::terms::{Peer, State, Time};

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) peer: Peer,
    pub(crate) offer: u8,
    pub(crate) is_poison: bool,
    pub(crate) arrived: Time,
    pub(crate) state: State,
    /// Whether it is in the queue rather than a duplicate, as long as it waits.
    pub(crate) in_queue: bool,
    /// Whether it has lost whom it followed.
    pub(crate) looks_again: bool,
    /// Where it is in the queue.
    pub(crate) place: usize,
    /// What the layer does for it, once it is admitted.
    pub(crate) work: Option<Work>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Work {
    /// Whether the inner service was called.
    pub(crate) was_called: bool,
    /// When the lease began.
    pub(crate) leased: Option<Time>,
    /// It lost the lock: what becomes of it counts for nothing.
    pub(crate) is_stray: bool,
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
            looks_again: false,
            place: 0,
            work: None,
        }
    }

    /// Whether the layer works on it, seen by its sender or not.
    pub(crate) fn is_open(&self) -> bool {
        self.work.as_ref().is_some_and(|work| work.outcome.is_none())
    }

    /// Whether the inner service works on it.
    pub(crate) fn is_called(&self) -> bool {
        self.is_open() && self.work.as_ref().is_some_and(|work| work.was_called)
    }

    pub(crate) fn holds_lock(&self) -> bool {
        self.is_open() && self.work.as_ref().is_some_and(|work| !work.is_stray)
    }
}
