//! What is deduplicated: [`Offer`], and [`ExtractOffer`], which finds it.

use std::{borrow::Cow, convert::Infallible};

use crate::{Fingerprint, PeerKey, Refusal};

/// An SDP offer found in a request: who sent it, and which offer it is.
///
/// # Examples
///
/// ```
/// use tower_offer_dedup::{Fingerprint, Offer};
///
/// let sdp = "v=0\r\no=- 20518 0 IN IP4 203.0.113.1\r\ns=-\r\nt=0 0\r\n";
/// let offer = Offer::new(("room-7", "alice", "bob"), Fingerprint::sdp(sdp)).label("alice");
/// assert_eq!(offer.fingerprint(), Fingerprint::sdp(sdp));
/// ```
#[derive(Clone, Debug)]
pub struct Offer {
    peer: PeerKey,
    fingerprint: Fingerprint,
    label: Option<Cow<'static, str>>,
}

impl Offer {
    /// An offer of `peer`.
    pub fn new(peer: impl Into<PeerKey>, fingerprint: Fingerprint) -> Self {
        Self {
            peer: peer.into(),
            fingerprint,
            label: None,
        }
    }

    /// Names the peer in log events, which show a short digest otherwise.
    ///
    /// It ends up in logs: never a token. It is escaped there, so line breaks in it forge no log line.
    #[must_use]
    pub fn label(mut self, label: impl Into<Cow<'static, str>>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// The peer that the offer is serialised by.
    pub fn peer(&self) -> PeerKey {
        self.peer
    }

    /// The identity of the offer.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.label.as_deref()
    }
}

/// Finds the offer in a request.
///
/// A closure `Fn(&Req) -> Option<Offer>` is an extractor: what it returns `None` for passes untouched.
///
/// # Examples
///
/// ```
/// use tower_offer_dedup::{ExtractOffer, Fingerprint, Found, Offer};
///
/// struct Message { from: String, kind: &'static str, sdp: String }
///
/// let offers = |message: &Message| {
///     (message.kind == "offer").then(|| Offer::new(&message.from, Fingerprint::sdp(&message.sdp)))
/// };
///
/// let answer = Message { from: "bob".into(), kind: "answer", sdp: String::new() };
/// assert!(matches!(offers.extract(answer), Found::Pass(_)));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not find offers in `{Req}`",
    note = "configure the layer with `.offers(..)`: `JsonOffers`, or a closure `|request: &{Req}| -> Option<Offer>`"
)]
pub trait ExtractOffer<Req> {
    /// What the inner service gets: `Req`, or `Req` with a body that has been read.
    type Request;

    /// Reads what is needed to tell, a body say, holding no lock meanwhile. It is dropped with the response future.
    type Read: Future<Output = Found<Self::Request, Infallible>>;

    /// Looks for an offer in `request`.
    fn extract(&self, request: Req) -> Found<Self::Request, Self::Read>;
}

/// What [`ExtractOffer`] found in a request.
#[derive(Debug)]
pub enum Found<R, F> {
    /// No offer, or no peer: the request passes untouched.
    Pass(R),
    /// An offer, and the request it came in.
    Offer(R, Offer),
    /// More has to be read first.
    Read(F),
    /// A request that cannot be handled, with the reason its sender is given.
    Refused(Refusal),
}

impl<R> Found<R, Infallible> {
    /// The same, after the reading is done.
    pub(crate) fn read<F>(self) -> Found<R, F> {
        match self {
            Self::Pass(request) => Found::Pass(request),
            Self::Offer(request, offer) => Found::Offer(request, offer),
            Self::Refused(refusal) => Found::Refused(refusal),
        }
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
