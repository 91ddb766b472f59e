//! [`HttpOffers`]: which requests are offers, and whose.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, Method, Request, header::CONTENT_TYPE, request::Parts};
use http_body::Body;

use super::{
    BufferedBody, PeerFrom,
    body::{Outcome, Reading},
    peer::NoPeer,
};
#[cfg(feature = "json")]
use crate::JsonOffers;
use crate::{
    Fingerprint, Offer, PeerKey, Reason, Refusal,
    extract::{ExtractOffer, Found},
    peer::Digest,
};

/// Finds offers in HTTP requests: a `POST` of `application/sdp`, as WHIP (RFC 9725 §4.2) and WHEP have it, or of
/// `application/json` if [`json`](Self::json) says where.
///
/// Everything else passes unread: other methods and media types, upgrades, WHIP's `PATCH`, and requests without a peer.
/// So does an empty body; any other of `application/sdp` is an offer, be it SDP or not.
///
/// A body is read up to a cap, without holding any lock. The inner service gets the request with its body whole and, if it
/// is an offer, the [`PeerKey`] in its extensions: keep it to [`forget`](crate::OfferDedupHandle::forget) the peer when its
/// session ends.
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
/// let offers = HttpOffers::new().peer(PeerFrom::segment(1)).peer(PeerFrom::bearer().required()).max_body(32 * 1024);
///
/// let get = Request::get("/whip/stage").body(String::new()).unwrap();
/// assert!(matches!(offers.extract(get), Found::Pass(_)));
/// ```
///
/// # Errors
///
/// Refused are: an `application/sdp` body over the cap, as [`BodyTooLarge`](Reason::BodyTooLarge), unread if its length
/// says so; a request without a required part of its peer, as
/// [`PeerMissing`](Reason::PeerMissing). A JSON body over the cap is somebody else's upload, and passes whole.
#[derive(Clone)]
pub struct HttpOffers {
    rules: Arc<Rules>,
}

#[derive(Clone)]
struct Rules {
    peer: Vec<PeerFrom>,
    is_offer_in_peer: bool,
    #[cfg(feature = "json")]
    json: Option<JsonOffers>,
    only_if: Option<Arc<Predicate>>,
    label: Option<Arc<Label>>,
    max_body: usize,
}

type Predicate = dyn Fn(&Parts) -> bool + Send + Sync;
type Label = dyn Fn(&Parts) -> String + Send + Sync;

/// What an offer's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Media {
    Sdp,
    #[cfg(feature = "json")]
    Json,
}

impl HttpOffers {
    /// `POST`s of `application/sdp`, up to 64 KiB.
    pub fn new() -> Self {
        Self {
            rules: Arc::new(Rules {
                peer: Vec::new(),
                is_offer_in_peer: false,
                #[cfg(feature = "json")]
                json: None,
                only_if: None,
                label: None,
                max_body: 64 * 1024,
            }),
        }
    }

    /// Adds a part to the peer. All of them together make it, in the order given; with none, it is the path.
    #[must_use]
    pub fn peer(self, part: PeerFrom) -> Self {
        self.with(|rules| rules.peer.push(part))
    }

    /// Makes the offer itself a part of the peer, for senders that nothing else tells apart, such as WHEP viewers without
    /// a token: different offers are then never in each other's way, and only duplicates are stopped.
    #[must_use]
    pub fn offer_in_peer(self) -> Self {
        self.with(|rules| rules.is_offer_in_peer = true)
    }

    /// Finds offers in `POST`s of `application/json` as well.
    ///
    /// The parts that [`peer`](Self::peer) finds in the head come first in the key, then those in the body. They replace
    /// parts bound by [`JsonOffers::for_peer`]. Without any `peer`, the key is made of the parts in the body alone.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_offer_dedup::{JsonOffers, http::{HttpOffers, PeerFrom}};
    ///
    /// // {"type": "offer", "sdp": …, "from": …}
    /// let by_body = HttpOffers::new().json(JsonOffers::new().sdp("/sdp").peer("/from"));
    /// // {"sdp": …}, from whoever has this cookie
    /// let by_cookie = HttpOffers::new().json(JsonOffers::new().sdp("/sdp")).peer(PeerFrom::cookie("sid"));
    /// # let _ = (by_body, by_cookie);
    /// ```
    #[cfg(feature = "json")]
    #[must_use]
    pub fn json(self, json: JsonOffers) -> Self {
        self.with(|rules| rules.json = Some(json))
    }

    /// Looks only at requests for which `predicate` holds; the others pass.
    #[must_use]
    pub fn only_if(self, predicate: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.with(|rules| rules.only_if = Some(Arc::new(predicate)))
    }

    /// Names offers in log events by what `label` makes of their head. Without it, events show the beginning of the
    /// peer's digest, since a path may well hold a stream key.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_offer_dedup::http::HttpOffers;
    ///
    /// let offers = HttpOffers::new().label(|head| head.uri.path().to_owned());
    /// # let _ = offers;
    /// ```
    #[must_use]
    pub fn label(self, label: impl Fn(&Parts) -> String + Send + Sync + 'static) -> Self {
        self.with(|rules| rules.label = Some(Arc::new(label)))
    }

    /// How many bytes of a body are read; 64 KiB by default.
    #[must_use]
    pub fn max_body(self, bytes: usize) -> Self {
        self.with(|rules| rules.max_body = bytes)
    }

    /// The peer of a request as its head tells it; `None` if it has none. With [`json`](Self::json) or
    /// [`offer_in_peer`](Self::offer_in_peer) the body has a say as well: the whole key is in the request's extensions.
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
        let Some(media) = self.rules.media(request.method(), request.headers()) else {
            return Found::Pass(request.map(BufferedBody::untouched));
        };
        let (head, body) = request.into_parts();
        if self.rules.only_if.as_ref().is_some_and(|holds| !holds(&head)) {
            return pass(head, body);
        }
        let parts = match (self.rules.parts_of(&head), media) {
            (Ok(parts), _) => Some(Box::new(parts)),
            (Err(NoPeer::Pass), _) => return pass(head, body),
            (Err(NoPeer::Refuse), Media::Sdp) => return Found::Refused(Refusal::new(Reason::PeerMissing)),
            // Whether it is an offer at all is in the body.
            #[cfg(feature = "json")]
            (Err(NoPeer::Refuse), Media::Json) => None,
        };
        if body.size_hint().lower() > self.rules.max_body as u64 {
            return match media {
                Media::Sdp => Found::Refused(Refusal::new(Reason::BodyTooLarge)),
                #[cfg(feature = "json")]
                Media::Json => pass(head, body),
            };
        }
        Found::Read(ReadOffer {
            reading: Reading::new(body, self.rules.max_body),
            head: Some(Box::new(head)),
            parts,
            media,
            rules: Arc::clone(&self.rules),
        })
    }
}

fn pass<B: Body, F>(head: Parts, body: B) -> Found<Request<BufferedBody<B>>, F> {
    Found::Pass(Request::from_parts(head, BufferedBody::untouched(body)))
}

impl Rules {
    #[cfg_attr(
        not(feature = "json"),
        allow(clippy::unused_self, reason = "JSON is for the rules to say")
    )]
    fn media(&self, method: &Method, headers: &HeaderMap) -> Option<Media> {
        if method != Method::POST {
            return None;
        }
        let media = headers
            .get(CONTENT_TYPE)?
            .as_bytes()
            .split(|byte| *byte == b';')
            .next()?
            .trim_ascii();
        if media.eq_ignore_ascii_case(b"application/sdp") {
            return Some(Media::Sdp);
        }
        #[cfg(feature = "json")]
        if self.json.is_some() && media.eq_ignore_ascii_case(b"application/json") {
            return Some(Media::Json);
        }
        None
    }

    fn parts_of(&self, head: &Parts) -> Result<Digest, NoPeer> {
        let mut digest = Digest::default();
        match &*self.peer {
            [] => PeerFrom::path().feed(head, &mut digest)?,
            parts => parts.iter().try_for_each(|part| part.feed(head, &mut digest))?,
        }
        Ok(digest)
    }

    fn offer(&self, media: Media, head: Option<&Digest>, body: &[u8]) -> Option<Offer> {
        // If the head lacks a part, any key will do to find out whether this would be an offer.
        let none = Digest::default();
        let head = head.unwrap_or(&none);
        let offer = match media {
            Media::Sdp if body.trim_ascii().is_empty() => return None,
            Media::Sdp => {
                let fingerprint = std::str::from_utf8(body).map_or_else(|_| Fingerprint::exact(body), Fingerprint::sdp);
                Offer::new(head.finish(), fingerprint)
            }
            #[cfg(feature = "json")]
            Media::Json => {
                let json = self.json.as_ref()?;
                if self.peer.is_empty() {
                    json.find(body)
                } else {
                    json.find_after(head, body)
                }?
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

/// Reads the body of a request that may be an offer.
pub struct ReadOffer<B> {
    reading: Reading<B>,
    /// There until the body is read.
    head: Option<Box<Parts>>,
    /// The parts of the peer in the head, or `None` if a required one is missing.
    parts: Option<Box<Digest>>,
    media: Media,
    rules: Arc<Rules>,
}

impl<B: Body> Future for ReadOffer<B> {
    type Output = Found<Request<BufferedBody<B>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.reading).poll(cx));
        let mut head = *self.head.take().expect("`ReadOffer` polled after completion");
        Poll::Ready(match outcome {
            Outcome::Broken(body) => Found::Unchecked(Request::from_parts(head, body)),
            Outcome::TooLarge(_) if self.media == Media::Sdp => Found::Refused(Refusal::new(Reason::BodyTooLarge)),
            Outcome::TooLarge(body) => Found::Pass(Request::from_parts(head, body)),
            Outcome::Whole(bytes, body) => match self.rules.offer(self.media, self.parts.as_deref(), &bytes) {
                None => Found::Pass(Request::from_parts(head, body)),
                Some(_) if self.parts.is_none() => Found::Refused(Refusal::new(Reason::PeerMissing)),
                Some(offer) => {
                    let offer = match &self.rules.label {
                        Some(label) => offer.label(label(&head)),
                        None => offer,
                    };
                    head.extensions.insert(offer.peer());
                    Found::Offer(Request::from_parts(head, body), offer)
                }
            },
        })
    }
}

impl<B> fmt::Debug for ReadOffer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadOffer")
            .field("peer", &self.parts.as_ref().map(|parts| parts.finish()))
            .field("media", &self.media)
            .finish_non_exhaustive()
    }
}
