//! [`HttpOffers`]: finds the offers in HTTP requests, and their peers.

use std::{fmt, sync::Arc, time::Duration};

use http::{Method, Request, request::Parts};
use http_body::Body;

use super::{
    BufferedBody, PeerFrom,
    origin::credentials,
    peer::NoPeer,
    read::ReadOffer,
    rules::{Media, Passed, Rules},
    target::{authority, path_and_query},
};
#[cfg(feature = "json")]
use crate::JsonOffers;
use crate::{
    PeerKey, Reason, Refusal,
    extract::{Admission, ExtractOffer, Found, SessionUri},
};

/// Finds offers in HTTP requests: in each `POST` of `application/sdp`, as in WHIP (RFC 9725 §4.2) and WHEP, and of
/// `application/json` if [`json`](Self::json) says where. [`decode`](Self::decode) adds other media types.
///
/// Other methods, upgrades and WHIP's `PATCH` pass through unread. So do requests without a peer and empty bodies. Any
/// other body of `application/sdp` is an offer, even if it is not SDP.
///
/// A body is read up to a cap and for a limited time, and no lock is held meanwhile. The inner service gets the request
/// with its whole body. In the extensions of an offer it finds the [`PeerKey`] and the
/// [`OfferSession`](crate::OfferSession).
///
/// # The peer
///
/// By default, offers are serialised by [target URI](PeerFrom::target_uri) and [credentials](PeerFrom::credentials).
/// [`peer`](Self::peer) replaces this key, and so does a [`JsonOffers`] that names a peer, for the offers in JSON.
///
/// The default never gives the answer of one stream, tenant or user to another. Its price is a missed duplicate where a
/// retry differs: by a changed query, a refreshed token or cookie, or another host. HTTP/1 and HTTP/2 agree on the key,
/// unless the `Host` of HTTP/1 spells out the default port. Behind a proxy that rewrites `Host` for each upstream,
/// leave the authority out:
///
/// ```
/// use tower_offer_dedup::http::{HttpOffers, PeerFrom};
///
/// let offers = HttpOffers::new()
///     .peer(PeerFrom::path())
///     .peer(PeerFrom::query().optional())
///     .peer(PeerFrom::credentials().optional());
/// # let _ = offers;
/// ```
///
/// # Examples
///
/// ```
/// use http::Request;
/// use tower_offer_dedup::{
///     extract::{ExtractOffer, Found},
///     http::{HttpOffers, PeerFrom},
/// };
///
/// let offers = HttpOffers::new()
///     .peer(PeerFrom::path_segment(1))
///     .peer(PeerFrom::bearer().required())
///     .max_body(32 * 1024);
///
/// let get = Request::get("/whip/stage").body(String::new()).unwrap();
/// assert!(matches!(offers.extract(get), Found::Pass(_)));
/// ```
///
/// # Errors
///
/// | request | result |
/// |---|---|
/// | `application/sdp` over the cap | refused as [`BodyTooLarge`](Reason::BodyTooLarge), unread if its length says so |
/// | `application/sdp` that takes too long | refused as [`BodyTimedOut`](Reason::BodyTimedOut) |
/// | offer without a required part of its peer | refused as [`PeerMissing`](Reason::PeerMissing) |
/// | JSON or another media type over the cap, or too slow | passes whole, unchecked |
/// | body that fails while it is read | passes with its error, unchecked |
/// | `POST` of another media type | passes, unchecked if the service has admitted an offer before |
#[derive(Clone)]
pub struct HttpOffers {
    rules: Arc<Rules>,
}

impl HttpOffers {
    /// Finds offers in `POST`s of `application/sdp`, up to 64 KiB.
    pub fn new() -> Self {
        Self {
            rules: Arc::new(Rules::new()),
        }
    }

    /// Adds a part to the peer. The parts make the key together, in the order of these calls, in place of the default.
    #[must_use]
    pub fn peer(self, part: PeerFrom) -> Self {
        self.with(|rules| rules.peer.push(part))
    }

    /// Adds the offer itself to the peer, for senders that nothing else distinguishes, such as WHEP viewers without a
    /// token. Different offers are then independent of each other, and only duplicates are stopped.
    #[must_use]
    pub fn key_by_offer(self) -> Self {
        self.with(|rules| rules.is_offer_in_peer = true)
    }

    /// Finds offers in `POST`s of `application/json` too.
    ///
    /// The parts that [`peer`](Self::peer) finds in the head come before those in the body. They replace a peer bound
    /// by [`JsonOffers::for_peer`]. Without any, the peer is in the body alone, or the default if `json` names none.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_offer_dedup::{JsonOffers, http::{HttpOffers, PeerFrom}};
    ///
    /// // {"type": "offer", "sdp": …, "from": …}
    /// let by_body = HttpOffers::new()
    ///     .json(JsonOffers::new().sdp("/sdp").peer("/from"));
    /// // {"sdp": …} and a session cookie
    /// let by_cookie = HttpOffers::new()
    ///     .json(JsonOffers::new().sdp("/sdp"))
    ///     .peer(PeerFrom::cookie("sid"));
    /// # let _ = (by_body, by_cookie);
    /// ```
    #[cfg(feature = "json")]
    #[must_use]
    pub fn json(self, json: JsonOffers) -> Self {
        self.with(|rules| rules.json = Some(json))
    }

    /// Finds offers in `POST`s of any other media type, or of none, with a closure that returns the SDP of a body.
    ///
    /// The request passes if it returns `None`. It also passes, unchecked, if its body is over the cap of
    /// [`max_body`](Self::max_body) or too slow.
    ///
    /// # Examples
    ///
    /// SDP that is sent without a content type:
    ///
    /// ```
    /// use http::header::CONTENT_TYPE;
    /// use tower_offer_dedup::http::HttpOffers;
    ///
    /// let offers = HttpOffers::new().decode(|head, body| {
    ///     let is_plain = !head.headers.contains_key(CONTENT_TYPE);
    ///     (is_plain && body.starts_with(b"v=0")).then(|| body.to_vec())
    /// });
    /// # let _ = offers;
    /// ```
    #[must_use]
    pub fn decode(self, decode: impl Fn(&Parts, &[u8]) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        self.with(|rules| rules.decode = Some(Arc::new(decode)))
    }

    /// Looks for offers only in requests for which `filter` returns `true`. The others pass.
    ///
    /// A `DELETE` is not filtered: it may end the session of an offer whatever its path.
    #[must_use]
    pub fn filter(self, filter: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.with(|rules| rules.filter = Some(Arc::new(filter)))
    }

    /// Labels offers in log events. Without it, events show a short digest of the peer, since a path may hold a stream
    /// key.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_offer_dedup::http::HttpOffers;
    ///
    /// let offers = HttpOffers::new()
    ///     .label(|head| head.uri.path().to_owned());
    /// # let _ = offers;
    /// ```
    #[must_use]
    pub fn label(self, label: impl Fn(&Parts) -> String + Send + Sync + 'static) -> Self {
        self.with(|rules| rules.label = Some(Arc::new(label)))
    }

    /// Sets how many bytes of a body are read, unless it is JSON. The default is 64 KiB.
    #[must_use]
    pub fn max_body(self, bytes: usize) -> Self {
        self.with(|rules| rules.max_body = bytes)
    }

    /// Sets how many bytes of a JSON body are read. The default is 256 KiB.
    #[cfg(feature = "json")]
    #[must_use]
    pub fn max_json(self, bytes: usize) -> Self {
        self.with(|rules| rules.max_json = bytes)
    }

    /// Sets how long reading a body may take. The default is 10 s.
    ///
    /// The time starts when the body is first waited for. Zero admits only bodies that are there at once.
    #[must_use]
    pub fn body_timeout(self, time: Duration) -> Self {
        self.with(|rules| rules.body_timeout = time)
    }

    /// Returns the peer of a request by its head, or `None` if it has none.
    ///
    /// With [`json`](Self::json) or [`key_by_offer`](Self::key_by_offer) the body counts too. The request's extensions
    /// hold the whole key.
    pub fn peer_of(&self, head: &Parts) -> Option<PeerKey> {
        self.rules.parts_of(head).ok().map(|parts| parts.finish())
    }

    fn with(mut self, set: impl FnOnce(&mut Rules)) -> Self {
        set(Arc::make_mut(&mut self.rules));
        self
    }
}

impl Default for HttpOffers {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for HttpOffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpOffers")
            .field("peer", &self.rules.peer)
            .field("is_offer_in_peer", &self.rules.is_offer_in_peer)
            .field("max_body", &self.rules.max_body)
            .finish_non_exhaustive()
    }
}

impl<B: Body> ExtractOffer<Request<B>> for HttpOffers {
    type Request = Request<BufferedBody<B>>;
    type Read = ReadOffer<B>;

    fn extract(&self, request: Request<B>) -> Found<Self::Request, ReadOffer<B>> {
        if request.method() != Method::POST {
            let is_delete = request.method() == Method::DELETE;
            let request = request.map(BufferedBody::untouched);
            return if is_delete {
                ending(request)
            } else {
                Found::Pass(request)
            };
        }
        let rules = &self.rules;
        let (head, body) = request.into_parts();
        let passed = |why: Passed, head, body| why.request(head, BufferedBody::untouched(body));
        if rules.filter.as_ref().is_some_and(|filter| !filter(&head)) {
            return Found::Pass(passed(Passed::Unchecked, head, body));
        }
        let Some(media) = rules.media(&head.headers) else {
            return Found::Other(passed(Passed::NoOffer, head, body));
        };
        let credentials = credentials(&head.headers);
        let is_sdp = media == Media::Sdp;
        let peer = match rules.parts_with(&head, &credentials) {
            Ok(parts) => Some(parts.finish()),
            Err(NoPeer::Pass) => return Found::Pass(passed(Passed::Unchecked, head, body)),
            Err(NoPeer::Refuse) if is_sdp => return Found::Refused(Refusal::new(Reason::PeerMissing)),
            // Only the body shows whether it is an offer at all.
            Err(NoPeer::Refuse) => None,
        };
        if body.size_hint().lower() > rules.cap(media) as u64 {
            return if is_sdp {
                Found::Refused(Refusal::new(Reason::BodyTooLarge))
            } else {
                Found::Unchecked(passed(Passed::Unchecked, head, body))
            };
        }
        Found::Read(ReadOffer::new(head, body, credentials, peer, media, rules))
    }

    fn carried<'a>(&self, request: &'a Self::Request) -> Option<&'a Admission> {
        request.extensions().get()
    }

    fn prepare(&self, request: &mut Self::Request, admission: &Admission) {
        let extensions = request.extensions_mut();
        extensions.insert(admission.session().clone());
        extensions.insert(admission.clone());
        if let Some(fence) = admission.fence() {
            extensions.insert(fence);
        }
    }
}

fn ending<B, F>(request: Request<B>) -> Found<Request<B>, F> {
    let (head, body) = request.into_parts();
    let uri = SessionUri::new(
        path_and_query(&head).as_bytes(),
        authority(&head).unwrap_or_default().as_bytes(),
        &credentials(&head.headers),
    );
    Found::Ending(Request::from_parts(head, body), uri)
}
