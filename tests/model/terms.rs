//! What histories are made of.

use std::time::Duration;

use tower_offer_dedup::Reason;

/// Since the start.
pub(crate) type Time = Duration;
pub(crate) type Peer = &'static str;
/// The n-th request.
pub(crate) type Id = usize;

pub(crate) const PEERS: [Peer; 2] = ["p", "q"];

/// All deadlines fall between two steps of the clock, so that none is a tie.
pub(crate) const STEP: Duration = Duration::from_millis(500);

/// The settings of a layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) replays: bool,
    /// Whether answers are kept, if it replays.
    pub(crate) records: bool,
    /// Whether what is begun is finished when its sender goes away.
    pub(crate) detaches: bool,
    pub(crate) remembers_failures: bool,
    /// Whether the memory has room for anything.
    pub(crate) has_memory: bool,
    pub(crate) window: Duration,
    pub(crate) cooldown: Duration,
    pub(crate) lease: Duration,
    /// Depth and time-out.
    pub(crate) queue: Option<(usize, Duration)>,
    /// How many duplicates wait per peer, and how long.
    pub(crate) duplicates: (usize, Duration),
}

/// One step of a history.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Offer(Peer, u8),
    /// An offer on which the inner service panics in its `call`.
    Poison(Peer, u8),
    /// So many different offers one after another, each answered with success if it is processed.
    Crowd(Peer, u8),
    /// Ends the n-th of those that are processed.
    End(usize, End),
    /// Drops the n-th of those that are not answered.
    Drop(usize),
    Forget(Peer),
    Clear,
    /// The inner service gains or loses its readiness.
    Capacity(Capacity),
    Clock(u32),
}

/// Of the inner service.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Capacity {
    #[default]
    Ready,
    Full,
    Broken,
}

/// How the processing of an offer ends.
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

/// What its sender sees of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum State {
    Waits,
    Processed,
    /// With the answer to the call of that request.
    Answered(Id, Quality),
    Refused(Reason, Option<Duration>),
    Erred,
    Panicked,
    Dropped,
}
