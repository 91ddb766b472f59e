//! The reply to one request, and the sessions that replies make.

use std::{collections::BTreeSet, fmt, time::Duration};

/// The outcome of one request.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// Distinguishes the offers of one check.
    pub(crate) offer: usize,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// Success, with an SDP answer.
    Answered(Answer),
    /// Success without an SDP answer.
    Empty { status: u16 },
    /// A status that is no success.
    Refused { status: u16, retry_after: bool },
    /// No usable response.
    Lost(Lost),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Answer {
    /// 0 over a WebSocket.
    pub(crate) status: u16,
    /// The URL of the session, absolute.
    pub(crate) location: Option<String>,
    /// The server's ICE user fragment.
    pub(crate) ufrag: Option<String>,
    /// `true` if the media type is the one that WHIP requires.
    pub(crate) is_sdp: bool,
}

/// The reason for a missing response.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Lost {
    TimedOut,
    /// The server closed the connection first.
    Closed,
    /// A WebSocket that stayed open and silent.
    Silent,
    TooLarge,
    Unreachable(String),
    Tls(String),
    Invalid(String),
}

impl Reply {
    pub(crate) fn answer(&self) -> Option<&Answer> {
        match &self.outcome {
            Outcome::Answered(answer) => Some(answer),
            Outcome::Empty { .. } | Outcome::Refused { .. } | Outcome::Lost(_) => None,
        }
    }
}

impl Answer {
    /// Returns `true` if both were given for one session. Some servers have one `Location` for all sessions of a stream,
    /// so the ICE credentials decide where both are known.
    pub(crate) fn is_session_of(&self, other: &Self) -> bool {
        match (&self.ufrag, &other.ufrag) {
            (Some(one), Some(other)) => one == other,
            _ => self.location.is_some() && self.location == other.location,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(Answer { status: 0, .. }) => f.write_str("answer"),
            Self::Answered(Answer { status, .. }) | Self::Refused { status, .. } => write!(f, "{status}"),
            Self::Empty { status } => write!(f, "{status} without an answer"),
            Self::Lost(lost) => write!(f, "{lost}"),
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("timed out"),
            Self::Closed => f.write_str("connection closed"),
            Self::Silent => f.write_str("no answer"),
            Self::TooLarge => f.write_str("response too large"),
            Self::Unreachable(error) => write!(f, "cannot connect: {error}"),
            Self::Tls(error) => write!(f, "TLS failed: {error}"),
            Self::Invalid(error) => write!(f, "invalid response: {error}"),
        }
    }
}

/// Counts sessions by distinct `Location`s or by distinct ICE user fragments, whichever are more: a server may have one
/// `Location` for each stream, or one user fragment for all sessions.
pub(crate) fn sessions<'a>(replies: impl IntoIterator<Item = &'a Reply>) -> usize {
    let (mut locations, mut ufrags) = (BTreeSet::new(), BTreeSet::new());
    let mut unnamed = false;
    for answer in replies.into_iter().filter_map(Reply::answer) {
        locations.extend(&answer.location);
        ufrags.extend(&answer.ufrag);
        unnamed |= answer.location.is_none() && answer.ufrag.is_none();
    }
    locations.len().max(ufrags.len()).max(usize::from(unnamed))
}
