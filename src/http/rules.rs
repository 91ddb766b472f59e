//! The rules of [`HttpOffers`](super::HttpOffers): which bodies hold offers, and whose they are.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Request, header::CONTENT_TYPE, request::Parts};

use super::{
    PeerFrom,
    origin::credentials,
    peer::{NoPeer, feed_default},
};
#[cfg(feature = "json")]
use crate::JsonOffers;
use crate::{Fingerprint, Offer, PeerKey, peer::Digest};

/// The settings of [`HttpOffers`](super::HttpOffers).
#[derive(Clone)]
pub(super) struct Rules {
    /// Empty stands for target URI and credentials.
    pub(super) peer: Vec<PeerFrom>,
    pub(super) is_offer_in_peer: bool,
    #[cfg(feature = "json")]
    pub(super) json: Option<JsonOffers>,
    pub(super) decode: Option<Arc<Decode>>,
    pub(super) filter: Option<Arc<Filter>>,
    pub(super) label: Option<Arc<Label>>,
    pub(super) max_body: usize,
    #[cfg(feature = "json")]
    pub(super) max_json: usize,
    pub(super) body_timeout: Duration,
}

pub(super) type Decode = dyn Fn(&Parts, &[u8]) -> Option<Vec<u8>> + Send + Sync;
pub(super) type Filter = dyn Fn(&Parts) -> bool + Send + Sync;
pub(super) type Label = dyn Fn(&Parts) -> String + Send + Sync;

/// The reason why a `POST` passes, for handlers that take an [`OfferSession`](crate::OfferSession).
#[derive(Clone, Copy, Debug)]
pub(super) enum Passed {
    NoOffer,
    Unchecked,
}

impl Passed {
    /// Builds the request, with this mark in its extensions.
    pub(super) fn request<B>(self, mut head: Parts, body: B) -> Request<B> {
        // Only axum's extractor reads it.
        if cfg!(feature = "axum") {
            head.extensions.insert(self);
        }
        Request::from_parts(head, body)
    }
}

/// The encoding of an offer in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    Sdp,
    #[cfg(feature = "json")]
    Json,
    /// For [`HttpOffers::decode`](super::HttpOffers::decode).
    Other,
}

impl Rules {
    pub(super) fn new() -> Self {
        Self {
            peer: Vec::new(),
            is_offer_in_peer: false,
            #[cfg(feature = "json")]
            json: None,
            decode: None,
            filter: None,
            label: None,
            max_body: 64 * 1024,
            #[cfg(feature = "json")]
            max_json: 256 * 1024,
            body_timeout: Duration::from_secs(10),
        }
    }

    /// Returns the encoding to expect in a `POST`, or `None` if it is not one of those that offers come in.
    pub(super) fn media(&self, headers: &HeaderMap) -> Option<Media> {
        let field = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
        let media = field.and_then(|field| field.split(|byte| *byte == b';').next());
        let is = |name: &[u8]| media.is_some_and(|media| media.trim_ascii().eq_ignore_ascii_case(name));
        if is(b"application/sdp") {
            return Some(Media::Sdp);
        }
        #[cfg(feature = "json")]
        if self.json.is_some() && is(b"application/json") {
            return Some(Media::Json);
        }
        self.decode.is_some().then_some(Media::Other)
    }

    pub(super) fn cap(&self, media: Media) -> usize {
        match media {
            Media::Sdp | Media::Other => self.max_body,
            #[cfg(feature = "json")]
            Media::Json => self.max_json,
        }
    }

    pub(super) fn parts_of(&self, head: &Parts) -> Result<Digest, NoPeer> {
        self.parts_with(head, &credentials(&head.headers))
    }

    /// Returns the parts of the peer in the head of a request with these credentials.
    pub(super) fn parts_with(&self, head: &Parts, credentials: &[u8; 16]) -> Result<Digest, NoPeer> {
        let mut digest = Digest::default();
        if self.peer.is_empty() {
            feed_default(head, credentials, &mut digest);
        }
        self.peer.iter().try_for_each(|part| part.feed(head, &mut digest))?;
        Ok(digest)
    }

    /// Returns the offer in a body. `peer` is the peer by the head alone.
    pub(super) fn offer(&self, media: Media, head: &Parts, peer: PeerKey, body: &[u8]) -> Option<Offer> {
        let offer = match media {
            Media::Sdp => Offer::new(peer, fingerprint(body)?),
            #[cfg(feature = "json")]
            Media::Json => {
                let json = self.json.as_ref()?;
                if self.peer.is_empty() && json.has_peer() {
                    json.find(body)
                } else {
                    // If a required part is missing, any key shows whether this would be an offer.
                    json.find_after(&self.parts_of(head).unwrap_or_default(), body)
                }?
            }
            Media::Other => {
                let decode = self.decode.as_ref()?;
                Offer::new(peer, fingerprint(&decode(head, body)?)?)
            }
        };
        if !self.is_offer_in_peer {
            return Some(offer);
        }
        let fingerprint = offer.fingerprint();
        let peer = PeerKey::from((offer.peer(), fingerprint.to_bytes().as_slice()));
        Some(Offer::new(peer, fingerprint))
    }
}

/// Returns the fingerprint of a description, or `None` if it is empty.
fn fingerprint(body: &[u8]) -> Option<Fingerprint> {
    let is_empty = body.trim_ascii().is_empty();
    (!is_empty).then(|| std::str::from_utf8(body).map_or_else(|_| Fingerprint::exact(body), Fingerprint::sdp))
}
