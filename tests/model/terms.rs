//! The vocabulary of histories.

use std::time::Duration;

use tower_offer_dedup::{Reason, WhenBusy};

/// Time since the start.
pub(crate) type Time = Duration;
pub(crate) type Peer = &'static str;
/// The index of a request.
pub(crate) type Id = usize;

pub(crate) const PEERS: [Peer; 2] = ["p", "q"];

/// Every deadline falls between two steps of the clock, so that none coincides with a step.
pub(crate) const STEP: Duration = Duration::from_millis(500);

/// The settings of a layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) replays: bool,
    /// Records answers, if the layer replays.
    pub(crate) records: bool,
    /// Finishes abandoned processing in a task.
    pub(crate) detaches: bool,
    pub(crate) remembers_failures: bool,
    /// `false` if the memory has no room.
    pub(crate) has_memory: bool,
    pub(crate) window: Duration,
    pub(crate) cooldown: Duration,
    pub(crate) lease: Duration,
    pub(crate) when_busy: WhenBusy,
    /// Limit and time-out of followers.
    pub(crate) duplicates: (usize, Duration),
}

/// One step of a history.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Offer(Peer, u8),
    /// An offer on which the inner service's `call` panics.
    Poison(Peer, u8),
    /// Sends this many different offers in turn. Each is answered with success if it is processed.
    Crowd(Peer, u8),
    /// Ends the n-th call from the end that is in progress.
    End(usize, End),
    /// Drops the n-th request from the end that has no result yet.
    Drop(usize),
    /// Stops the polls of the n-th request from the end that has no result yet.
    Hold(usize),
    /// Polls the n-th held request from the end again.
    Resume(usize),
    Forget(Peer),
    ForgetOffer(Peer, u8),
    Clear,
    /// The inner service gains or loses its readiness.
    Capacity(Capacity),
    Clock(u32),
}

/// Readiness of the inner service.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Capacity {
    #[default]
    Ready,
    Full,
    Broken,
}

/// The end of an offer's processing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Answer(Quality),
    Err,
    Panic,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Quality {
    Success,
    Failure,
}

/// The state of a request as its client sees it, or will see it at the next poll of a held request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum State {
    Waits,
    Processed,
    /// Answered with the result of that request's call.
    Answered(Id, Quality),
    Refused(Reason, Option<Duration>),
    Erred,
    Panicked,
    Dropped,
}
