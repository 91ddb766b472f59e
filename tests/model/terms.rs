//! What histories are made of.

use std::time::Duration;

use tower_offer_dedup::Reason;

/// Since the start.
pub(crate) type Time = Duration;
pub(crate) type Peer = &'static str;
/// The n-th request.
pub(crate) type Id = usize;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) replays: bool,
    pub(crate) window: Duration,
    pub(crate) cooldown: Duration,
    pub(crate) lease: Duration,
    /// Depth and time-out.
    pub(crate) queue: Option<(usize, Duration)>,
    /// How many duplicates wait per peer, and how long.
    pub(crate) duplicates: (usize, Duration),
    pub(crate) remembers_failures: bool,
}

/// What its sender sees of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum State {
    Waits,
    Processed,
    /// The answer to the n-th call of the inner service.
    Answered(usize, Quality),
    Refused(Reason, Option<Duration>),
    Erred,
    Panicked,
    Dropped,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Quality {
    Success,
    Failure,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Answer(Quality),
    Err,
    Panic,
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) peer: Peer,
    pub(crate) offer: u8,
    pub(crate) arrived: Time,
    pub(crate) state: State,
    /// Whether it is in the queue rather than a duplicate, as long as it waits.
    pub(crate) in_queue: bool,
    /// Where it is in the queue.
    pub(crate) place: usize,
    /// When it was called and as which call, once it is processed.
    pub(crate) called: Option<(Time, usize)>,
    /// It lost the lock: what becomes of it counts for nothing.
    pub(crate) is_stray: bool,
}
