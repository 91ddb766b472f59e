//! Offers in requests: the trait [`ExtractOffer`] and the types of its methods.
//!
//! # Examples
//!
//! An extractor that marks each admitted request with its session:
//!
//! ```
//! use std::{convert::Infallible, future::{Ready, ready}};
//! use tower::{Layer, Service, service_fn};
//! use tower_offer_dedup::{
//!     Fingerprint, Offer, OfferDedupLayer, OfferSession, Refuse,
//!     extract::{Admission, ExtractOffer, Found},
//! };
//!
//! struct Request { sdp: &'static str, session: Option<OfferSession> }
//!
//! struct Offers;
//!
//! impl ExtractOffer<Request> for Offers {
//!     type Request = Request;
//!     type Read = Ready<Found<Request, Infallible>>;
//!
//!     fn extract(&self, request: Request) -> Found<Request, Self::Read> {
//!         let offer = Offer::new("alice", Fingerprint::sdp(request.sdp));
//!         Found::Offer(request, offer)
//!     }
//!
//!     fn prepare(&self, request: &mut Request, admission: &Admission) {
//!         request.session = Some(admission.session().clone());
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Infallible> {
//! let layer = OfferDedupLayer::builder()
//!     .offers(Offers)
//!     .answer(Refuse::with(|_| None))
//!     .cooldown(std::time::Duration::ZERO)
//!     .build();
//! let mut service = layer.layer(service_fn(|request: Request| {
//!     ready(Ok::<_, Infallible>(request.session))
//! }));
//!
//! let offer = || Request { sdp: "v=0\r\n", session: None };
//! let session = service.call(offer()).await?.expect("the offer is admitted");
//! assert!(service.call(offer()).await?.is_none(), "the duplicate is refused");
//!
//! session.forget();
//! assert!(service.call(offer()).await?.is_some());
//! # Ok(())
//! # }
//! ```

use std::{convert::Infallible, fmt, iter::successors, sync::Arc};

use crate::{Offer, OfferSession, Refusal, fence::Fence, gate::Gate};
pub use crate::{peer::PeerParts, session::ForgetOnDrop};

/// Finds the offer in a request.
///
/// A closure `Fn(&Req) -> Option<Offer>` is an extractor: a request that it returns `None` for passes through
/// unchanged.
///
/// # Examples
///
/// ```
/// use tower_offer_dedup::{Fingerprint, Offer, extract::{ExtractOffer, Found}};
///
/// struct Message { from: String, kind: &'static str, sdp: String }
///
/// let offers = |message: &Message| {
///     let is_offer = message.kind == "offer";
///     is_offer.then(|| Offer::new(&message.from, Fingerprint::sdp(&message.sdp)))
/// };
///
/// let answer = Message { from: "bob".into(), kind: "answer", sdp: String::new() };
/// assert!(matches!(offers.extract(answer), Found::Pass(_)));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not find offers in `{Req}`",
    note = "configure the layer with `.offers(..)`: a closure `|request: &{Req}| -> Option<Offer>`, `JsonOffers` for \
            messages that are JSON text, or for HTTP requests `http::HttpOffers`, also with JSON bodies: \
            `HttpOffers::new().json(JsonOffers::new()..)`"
)]
pub trait ExtractOffer<Req> {
    /// The request that the inner service gets: `Req`, or `Req` with a body that has been read.
    type Request;

    /// The future that reads what the decision needs, such as a body. No lock is held meanwhile. It is dropped with the
    /// response future.
    type Read: Future<Output = Found<Self::Request, Infallible>>;

    /// Looks for an offer in `request`.
    fn extract(&self, request: Req) -> Found<Self::Request, Self::Read>;

    /// Returns the admission that `request` carries already, if [`prepare`](Self::prepare) has put one into it.
    ///
    /// A layer that finds an admission of its own state passes the request through: the layer is around its own clone.
    /// The admission stands for those that it replaced, so other layers may lie in between.
    fn carried<'a>(&self, request: &'a Self::Request) -> Option<&'a Admission> {
        let _ = request;
        None
    }

    /// Changes an admitted request just before the inner service is called.
    fn prepare(&self, request: &mut Self::Request, admission: &Admission) {
        let _ = (request, admission);
    }
}

/// The result of [`ExtractOffer::extract`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Found<R, F> {
    /// The request is not an offer, or has no peer. It passes through unchanged.
    Pass(R),
    /// The request is an offer.
    Offer(R, Offer),
    /// More has to be read first.
    Read(F),
    /// The request cannot be handled. Its sender is given the reason.
    Refused(Refusal),
    /// The request may be an offer but could not be checked. It passes through unchanged, with a counter and an event
    /// of its own.
    Unchecked(R),
    /// The request is of a kind that offers come in, but of another media type. It passes through unchanged. It counts
    /// as unchecked if the same service has admitted an offer before.
    Other(R),
    /// The request may end a session. It passes through unchanged.
    Ending(R, SessionUri),
}

impl<R> Found<R, Infallible> {
    /// Converts what was found after reading.
    pub(crate) fn read<F>(self) -> Found<R, F> {
        match self {
            Self::Pass(request) => Found::Pass(request),
            Self::Offer(request, offer) => Found::Offer(request, offer),
            Self::Refused(refusal) => Found::Refused(refusal),
            Self::Unchecked(request) => Found::Unchecked(request),
            Self::Other(request) => Found::Other(request),
            Self::Ending(request, uri) => Found::Ending(request, uri),
        }
    }
}

/// Proof that an offer was admitted, for [`ExtractOffer::prepare`].
#[derive(Clone, Debug)]
pub struct Admission {
    session: OfferSession,
    fence: Option<Fence>,
    /// The admission by a layer outside this one, which this one replaces in the request.
    outer: Option<Arc<Self>>,
}

impl Admission {
    #[inline]
    pub(crate) fn new(session: OfferSession, fence: Option<Fence>, outer: Option<&Self>) -> Self {
        Self {
            session,
            fence,
            outer: outer.cloned().map(Arc::new),
        }
    }

    /// Returns the session that the offer is about to create.
    pub fn session(&self) -> &OfferSession {
        &self.session
    }

    /// Returns the number that the [shared store](crate::store) has given the claim. `None` without a store, and where the
    /// node decides alone because the store cannot be reached.
    pub fn fence(&self) -> Option<Fence> {
        self.fence
    }

    /// Returns whether `gate` has admitted the offer, in this layer or in one outside it.
    pub(crate) fn is_by(&self, gate: &Arc<Gate>) -> bool {
        // A gate passes what it has admitted already, so the chain has each gate once.
        let mut admissions = successors(Some(self), |admission| admission.outer.as_deref());
        admissions.any(|admission| admission.session.is_of(gate))
    }
}

/// The URI of a session and the credentials it was requested with, as digests: neither is kept.
///
/// # Examples
///
/// ```
/// use tower_offer_dedup::extract::SessionUri;
///
/// let uri = SessionUri::new(b"/session/7", b"example.com", b"Bearer s3cret");
/// let anonymous = SessionUri::new(b"/session/7", b"example.com", b"");
/// assert_ne!(uri, anonymous);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionUri {
    path_and_query: [u8; 16],
    authority: [u8; 16],
    credentials: [u8; 16],
}

impl SessionUri {
    /// Digests the normalised path and query, the authority, and the sender's credentials in any form.
    pub fn new(path_and_query: &[u8], authority: &[u8], credentials: &[u8]) -> Self {
        Self {
            path_and_query: digest(path_and_query),
            authority: digest(authority),
            credentials: digest(credentials),
        }
    }

    /// Returns the digests as bytes, for a store that several nodes share.
    pub fn to_bytes(self) -> [u8; 48] {
        let mut bytes = [0; 48];
        bytes[..16].copy_from_slice(&self.path_and_query);
        bytes[16..32].copy_from_slice(&self.authority);
        bytes[32..].copy_from_slice(&self.credentials);
        bytes
    }

    /// Returns the value that [`to_bytes`](Self::to_bytes) gave these bytes for.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_offer_dedup::extract::SessionUri;
    ///
    /// let uri = SessionUri::new(b"/session/7", b"example.com", b"");
    /// assert_eq!(SessionUri::from_bytes(uri.to_bytes()), uri);
    /// ```
    pub fn from_bytes(bytes: [u8; 48]) -> Self {
        let part = |index: usize| {
            let mut part = [0; 16];
            part.copy_from_slice(&bytes[16 * index..16 * (index + 1)]);
            part
        };
        Self {
            path_and_query: part(0),
            authority: part(1),
            credentials: part(2),
        }
    }

    pub(crate) fn path_and_query(&self) -> &[u8; 16] {
        &self.path_and_query
    }

    pub(crate) fn authority(&self) -> &[u8; 16] {
        &self.authority
    }

    pub(crate) fn credentials(&self) -> &[u8; 16] {
        &self.credentials
    }
}

/// Returns the first 128 bits of the BLAKE3 digest.
fn digest(bytes: &[u8]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
    short
}

impl fmt::Debug for SessionUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionUri").finish_non_exhaustive()
    }
}

#[diagnostic::do_not_recommend]
impl<F, Req> ExtractOffer<Req> for F
where
    F: Fn(&Req) -> Option<Offer>,
{
    type Request = Req;
    type Read = std::future::Ready<Found<Req, Infallible>>;

    fn extract(&self, request: Req) -> Found<Req, Self::Read> {
        match self(&request) {
            Some(offer) => Found::Offer(request, offer),
            None => Found::Pass(request),
        }
    }
}
