//! The JSON messages between clients and the server.

use std::{fmt, sync::Arc};

use axum::extract::ws::Utf8Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The longest message accepted from a client, in bytes.
pub(crate) const MAX_MESSAGE: usize = 64 * 1024;

/// The name of a room or of a peer in it: 1 to 128 bytes of text without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub(crate) struct Name(Arc<str>);

impl Name {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        match name.trim() {
            "" => Err("a name cannot be empty"),
            _ if name.len() > 128 => Err("a name has at most 128 bytes"),
            _ if name.contains(char::is_control) => Err("a name has no control characters"),
            _ => Ok(Self(name.into())),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A parsed message from a client.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// The client leaves the room.
    Leave,
    /// A message for another peer, with the text to send to it.
    For { to: Name, kind: Kind, text: Utf8Bytes },
}

/// The kind of a message between peers.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Offer {
        sdp: Arc<str>,
        /// `true` for an offer on the connection that the peers have, such as an ICE restart.
        goes_on: bool,
        /// The sender's own number of the offer, for notices about it.
        number: Option<u64>,
    },
    Answer,
    Candidate,
    Leave,
}

impl Kind {
    /// The number of an offer, if its sender has given it one.
    pub(crate) fn number(&self) -> Option<u64> {
        match self {
            Self::Offer { number, .. } => *number,
            Self::Answer | Self::Candidate | Self::Leave => None,
        }
    }
}

impl Incoming {
    /// Parses a message of the peer `from`, and sets its sender to that name.
    pub(crate) fn parse(text: &str, from: &Name) -> Result<Self, String> {
        let mut wire: Wire = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let kind = match (wire.kind, &wire.sdp) {
            (WireKind::Offer, Some(sdp)) => Kind::Offer {
                sdp: Arc::clone(sdp),
                goes_on: wire.rest.get("goesOn") == Some(&Value::Bool(true)),
                number: wire.rest.get("number").and_then(Value::as_u64),
            },
            (WireKind::Answer, Some(_)) => Kind::Answer,
            (WireKind::Offer | WireKind::Answer, None) => {
                return Err(r#"an offer or answer needs its SDP as text in "sdp""#.into());
            }
            (WireKind::Candidate, _) => Kind::Candidate,
            (WireKind::Leave, _) => Kind::Leave,
        };
        let Some(to) = wire.to.take() else {
            return match kind {
                Kind::Leave => Ok(Self::Leave),
                _ => Err(r#"the message needs its target peer in "to""#.into()),
            };
        };
        wire.rest.insert("from".into(), from.as_str().into());
        let text = json(&wire);
        Ok(Self::For { to, kind, text })
    }
}

#[derive(Deserialize, Serialize)]
#[serde(expecting = "an object")]
struct Wire {
    #[serde(rename = "type")]
    kind: WireKind,
    #[serde(skip_serializing)]
    to: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sdp: Option<Arc<str>>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum WireKind {
    Offer,
    Answer,
    Candidate,
    Leave,
}

/// A message from the server itself.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Notice<'a> {
    /// Sent to a client that joins: the peers already in the room.
    Peers {
        peers: Vec<&'a Name>,
    },
    Joined {
        peer: &'a Name,
    },
    Left {
        peer: &'a Name,
    },
    /// The offer to this peer was ignored.
    Ignored {
        to: &'a Name,
        #[serde(skip_serializing_if = "Option::is_none")]
        number: Option<u64>,
        reason: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    Error {
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<&'a Name>,
    },
}

impl Notice<'_> {
    pub(crate) fn text(&self) -> Utf8Bytes {
        json(self)
    }
}

fn json(message: &impl Serialize) -> Utf8Bytes {
    serde_json::to_string(message)
        .expect("text keys and plain values make JSON")
        .into()
}

/// The reason why the server closes a socket.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CloseReason {
    Left,
    Replaced,
    RoomFull,
    TooSlow,
    TooLarge,
    Unresponsive,
    Broken,
    ShuttingDown,
}

impl CloseReason {
    /// Close code and reason. Codes from 4000 on are this server's own.
    pub(crate) fn code_and_reason(self) -> (u16, &'static str) {
        match self {
            Self::Left => (1000, "left the room"),
            Self::ShuttingDown => (1001, "the server is shutting down"),
            Self::Broken => (1002, "broken message"),
            Self::TooLarge => (1009, "message too large"),
            Self::Replaced => (4001, "the same name joined from another place"),
            Self::RoomFull => (4002, "the room is full"),
            Self::TooSlow => (4003, "messages were read too slowly"),
            Self::Unresponsive => (4004, "the client does not respond"),
        }
    }
}
