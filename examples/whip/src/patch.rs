//! Changes of a session: trickled candidates and ICE restarts.

use str0m::RtcError;
use tokio::sync::oneshot;

use crate::fragment::Fragment;

/// A `PATCH` for the connection.
pub(crate) struct Patch {
    pub(crate) fragment: Fragment,
    pub(crate) if_match: IfMatch,
    pub(crate) done: oneshot::Sender<Patched>,
}

#[derive(Debug, PartialEq)]
pub(crate) enum IfMatch {
    Any,
    Tags(Vec<String>),
}

#[derive(Debug)]
pub(crate) enum Patched {
    Trickled,
    Restarted { etag: String, fragment: String },
    OtherIceSession,
    Failed(RtcError),
}

impl IfMatch {
    /// Parses a field value (RFC 9110 §13.1.1). RFC 9725's own example has the asterisk in quotes.
    pub(crate) fn parse(value: &str) -> Self {
        match value.trim() {
            "*" | "\"*\"" => Self::Any,
            tags => Self::Tags(tags.split(',').map(|tag| tag.trim().to_owned()).collect()),
        }
    }

    pub(crate) fn holds(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|tag| tag == etag),
        }
    }
}
