//! The rules of one extractor: which places make a message an offer, and which make its peer.

use super::{
    places::{Places, Wanted},
    scan::{Description, Value, scan},
};
use crate::{
    Fingerprint, Offer, PeerKey,
    peer::{BoundParts, Digest},
};

/// Holds what the caller asked for, as indices of places in a message.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    places: Places,
    /// The descriptions, each with the place of the `type` beside it.
    sdp: Vec<(usize, Option<usize>)>,
    /// The values that each place may have.
    kinds: Vec<(usize, Vec<Box<str>>)>,
    parts: Vec<(usize, Presence)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Presence {
    Required,
    Optional,
}

/// The parts of the peer that are known without the message. They come first in its key.
#[derive(Clone, Copy)]
pub(super) enum Known<'a> {
    Nothing,
    Bound(&'a BoundParts),
    /// Those in the head of an HTTP request.
    #[cfg(feature = "http")]
    Head(&'a Digest),
}

impl Rules {
    pub(super) fn sdp(&mut self, pointer: &str) {
        let mut tokens = tokens(pointer);
        let sdp = self.places.want(&tokens, Wanted::DESCRIPTION);
        let kind = tokens.pop().map(|_| {
            tokens.push("type".to_owned());
            self.places.want(&tokens, Wanted::TEXT)
        });
        self.sdp.push((sdp, kind));
    }

    pub(super) fn kind(&mut self, pointer: &str, value: &str) {
        let place = self.places.want(&tokens(pointer), Wanted::TEXT);
        match self.kinds.iter_mut().find(|(known, _)| *known == place) {
            Some((_, values)) => values.push(value.into()),
            None => self.kinds.push((place, vec![value.into()])),
        }
    }

    pub(super) fn part(&mut self, pointer: &str, presence: Presence) {
        let place = self.places.want(&tokens(pointer), Wanted::TEXT);
        self.parts.push((place, presence));
    }

    /// Returns whether the message names a part of the peer.
    #[cfg(feature = "http")]
    pub(super) fn has_peer(&self) -> bool {
        !self.parts.is_empty()
    }

    /// Returns the offer in `text`, of a peer that begins with the `known` parts.
    pub(super) fn offer(&self, text: &[u8], known: Known<'_>) -> Option<Offer> {
        let found = scan(&self.places, text)?;
        let fingerprint = self.fingerprint(&found)?;
        let peer = self.peer(&found, known)?;
        Some(Offer::new(peer, fingerprint))
    }

    /// Returns the fingerprint of the offer in the message, or `None` if it is no offer.
    fn fingerprint(&self, found: &[Value<'_>]) -> Option<Fingerprint> {
        let (fingerprint, beside) = self.sdp.iter().find_map(|(sdp, beside)| match found[*sdp] {
            Value::String { ref description, .. } => match *description {
                Description::Offer(fingerprint) => Some((Some(fingerprint), *beside)),
                Description::Missing => Some((None, *beside)),
                Description::Json => None,
            },
            _ => None,
        })?;
        let is_offer = if self.kinds.is_empty() {
            beside
                .and_then(|place| text(&found[place]))
                .is_none_or(|kind| kind.eq_ignore_ascii_case("offer"))
        } else {
            self.kinds.iter().all(|(place, values)| {
                text(&found[*place]).is_some_and(|kind| values.iter().any(|value| **value == *kind))
            })
        };
        fingerprint.filter(|_| is_offer)
    }

    /// Returns the key of the message's peer, or `None` if a part of it is missing.
    fn peer(&self, found: &[Value<'_>], known: Known<'_>) -> Option<PeerKey> {
        if self.parts.is_empty() {
            return known.key();
        }
        let mut key = known.digest();
        for (place, presence) in &self.parts {
            match (&found[*place], presence) {
                (Value::String { text, .. }, _) => key.bytes(text.as_bytes()),
                (Value::Integer(number), _) => key.signed(*number),
                (Value::Literal(text), _) => key.bytes(text.as_bytes()),
                (Value::Missing, Presence::Optional) => key.absent(),
                (Value::Missing, Presence::Required) | (Value::Structure, _) => return None,
            }
        }
        Some(key.finish())
    }
}

impl Known<'_> {
    /// Returns the key of these parts alone, if there are any.
    fn key(self) -> Option<PeerKey> {
        match self {
            Self::Nothing => None,
            Self::Bound(parts) => Some(parts.key()),
            #[cfg(feature = "http")]
            Self::Head(parts) => Some(parts.finish()),
        }
    }

    /// Starts a key with these parts.
    fn digest(self) -> Digest {
        match self {
            Self::Nothing => Digest::default(),
            Self::Bound(parts) => parts.digest(),
            #[cfg(feature = "http")]
            Self::Head(parts) => parts.clone(),
        }
    }
}

fn text<'a>(value: &'a Value<'_>) -> Option<&'a str> {
    match value {
        Value::String { text, .. } => Some(text),
        _ => None,
    }
}

/// Splits a JSON pointer into its reference tokens (RFC 6901 §4).
fn tokens(pointer: &str) -> Vec<String> {
    if pointer.is_empty() {
        return Vec::new();
    }
    let tokens = pointer.strip_prefix('/').unwrap_or(pointer).split('/');
    // In this order, or `~01` would become `/` instead of `~1`.
    tokens
        .map(|token| token.replace("~1", "/").replace("~0", "~"))
        .collect()
}
