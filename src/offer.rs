//! [`Offer`]: what is deduplicated.

use std::{borrow::Cow, sync::Arc};

use crate::{Fingerprint, PeerKey};

/// An SDP offer found in a request: its peer and its fingerprint.
///
/// # Examples
///
/// ```
/// use tower_offer_dedup::{Fingerprint, Offer};
///
/// let sdp = "v=0\r\no=- 20518 0 IN IP4 203.0.113.1\r\ns=-\r\nt=0 0\r\n";
/// let peer = ("room-7", "alice", "bob");
/// let offer = Offer::new(peer, Fingerprint::sdp(sdp)).label("alice");
/// assert_eq!(offer.fingerprint(), Fingerprint::sdp(sdp));
/// ```
#[derive(Clone, Debug)]
pub struct Offer {
    peer: PeerKey,
    fingerprint: Fingerprint,
    label: Option<Cow<'static, str>>,
    origin: Option<Arc<[u8]>>,
}

impl Offer {
    /// Makes an offer of `peer`.
    pub fn new(peer: impl Into<PeerKey>, fingerprint: Fingerprint) -> Self {
        Self {
            peer: peer.into(),
            fingerprint,
            label: None,
            origin: None,
        }
    }

    /// Names the peer in log events. Without a label they show a short digest, keyed per process.
    ///
    /// Never use a token: labels appear in logs. They are escaped there, so a line break cannot forge a log line.
    #[must_use]
    pub fn label(mut self, label: impl Into<Cow<'static, str>>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Attaches bytes for [`Answer::settle`](crate::answer::Answer::settle): where the offer came from, in whatever
    /// form the extractor and the answer agree on.
    #[must_use]
    pub fn origin(mut self, bytes: impl Into<Arc<[u8]>>) -> Self {
        self.origin = Some(bytes.into());
        self
    }

    /// Returns the bytes attached by [`origin`](Self::origin), or an empty slice.
    pub fn origin_bytes(&self) -> &[u8] {
        self.origin.as_deref().unwrap_or_default()
    }

    /// Returns the peer that the offer is serialised by.
    pub fn peer(&self) -> PeerKey {
        self.peer
    }

    /// Returns the identity of the offer.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.label.as_deref()
    }
}
