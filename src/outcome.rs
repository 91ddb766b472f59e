//! [`Outcome`]: the end of an offer's processing.

/// The end of an offer's processing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The inner service answered with success. The offer is remembered.
    Success,
    /// The inner service answered with a failure. Waiting followers share that answer.
    Failure,
    /// The inner service returned `Err`, or its answer broke off. A follower processes the offer next.
    Broken,
    /// Processing was dropped, panicked, or was ended after its claim was lost.
    Abandoned,
    /// Processing was ended because a newer offer of the peer arrived.
    Superseded,
}
