//! What is deduplicated: [`Offer`], the [`PeerKey`] it is serialised by, and [`ExtractOffer`], which finds it.

use std::{borrow::Cow, convert::Infallible, fmt, sync::Arc};

use crate::{Fingerprint, Refusal};

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

/// Whatever must be serialised: the parts that tell one negotiation from another.
///
/// For WHIP that is the path and the principal, for a mesh room `(room, from, to)`: a key of the sender alone would
/// serialise a mesh, since one sender rightly offers to several targets at once.
///
/// It is a 128-bit BLAKE3 digest of the parts, each with its kind and length before it, so that no choice of ids makes
/// two peers one: `("ab", "c")` is not `("a", "bc")`, and the text `"7"` is not the number `7`. The digest is the same
/// on every machine. Ids and tokens are not kept.
///
/// # Examples
///
/// ```
/// use tower_offer_dedup::PeerKey;
///
/// assert_eq!(PeerKey::from("alice"), PeerKey::from(b"alice"));
/// assert_ne!(PeerKey::from(("ab", "c")), PeerKey::from(("a", "bc")));
/// assert_ne!(PeerKey::from(7_u64), PeerKey::from("7"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerKey([u8; 16]);

impl PeerKey {
    /// The key of a number of parts known only at run time; the same as that of a tuple of them.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_offer_dedup::PeerKey;
    ///
    /// assert_eq!(PeerKey::of_parts(["room-7", "alice"]), PeerKey::from(("room-7", "alice")));
    /// ```
    pub fn of_parts<P: Part>(parts: impl IntoIterator<Item = P>) -> Self {
        let mut digest = Digest::default();
        parts.into_iter().for_each(|part| part.feed(&mut digest));
        digest.finish()
    }

    /// The first 32 bits, to tell peers apart in a log.
    pub(crate) fn short(self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }

    /// The low bits, to spread peers over shards.
    pub(crate) fn shard(self, shards: usize) -> usize {
        let [.., y, z] = self.0;
        usize::from(u16::from_be_bytes([y, z])) % shards
    }
}

impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerKey({:08x}…)", self.short())
    }
}

/// What a [`PeerKey`] is made of: text, bytes, a number, or another key. A `u32` is the `u64` of its value.
///
/// Sealed: it is implemented for the types listed, and for references to them.
pub trait Part: sealed::Sealed {
    #[doc(hidden)]
    #[allow(private_interfaces, reason = "sealed: called by this crate alone")]
    fn feed(&self, digest: &mut Digest);
}

macro_rules! parts {
    ($($part:ty: |$self:ident, $digest:ident| $feed:expr;)*) => {$(
        impl sealed::Sealed for $part {}

        impl Part for $part {
            #[allow(private_interfaces, reason = "sealed: called by this crate alone")]
            fn feed(&self, $digest: &mut Digest) {
                let $self = self;
                $feed;
            }
        }
    )*};
}

parts! {
    u32: |part, digest| digest.number(u64::from(*part));
    Box<str>: |part, digest| digest.bytes(part.as_bytes());
    Arc<str>: |part, digest| digest.bytes(part.as_bytes());
    str: |part, digest| digest.bytes(part.as_bytes());
    String: |part, digest| digest.bytes(part.as_bytes());
    [u8]: |part, digest| digest.bytes(part);
    Vec<u8>: |part, digest| digest.bytes(part);
    u64: |part, digest| digest.number(*part);
    PeerKey: |part, digest| digest.key(*part);
}

impl<const N: usize> sealed::Sealed for [u8; N] {}

impl<const N: usize> Part for [u8; N] {
    #[allow(private_interfaces, reason = "sealed: called by this crate alone")]
    fn feed(&self, digest: &mut Digest) {
        digest.bytes(self);
    }
}

impl<P: Part + ?Sized> sealed::Sealed for &P {}

impl<P: Part + ?Sized> Part for &P {
    #[allow(private_interfaces, reason = "sealed: called by this crate alone")]
    fn feed(&self, digest: &mut Digest) {
        (**self).feed(digest);
    }
}

mod sealed {
    #[allow(unnameable_types, reason = "that is what seals `Part`")]
    pub trait Sealed {}
}

/// Collects parts, each behind its kind and length, so that no two lists of parts read the same.
#[derive(Default)]
pub(crate) struct Digest(blake3::Hasher);

impl Digest {
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.part(b'b', bytes);
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.part(b'n', &number.to_le_bytes());
    }

    /// A part that is not there, unlike any that is.
    #[cfg(any(feature = "http", feature = "json"))]
    pub(crate) fn absent(&mut self) {
        self.part(b'-', &[]);
    }

    pub(crate) fn key(&mut self, key: PeerKey) {
        self.part(b'k', &key.0);
    }

    fn part(&mut self, kind: u8, bytes: &[u8]) {
        let [a, b, c, d, e, f, g, h] = (bytes.len() as u64).to_le_bytes();
        self.0.update(&[kind, a, b, c, d, e, f, g, h]);
        self.0.update(bytes);
    }

    pub(crate) fn finish(&self) -> PeerKey {
        let mut key = [0; 16];
        key.copy_from_slice(&self.0.finalize().as_bytes()[..16]);
        PeerKey(key)
    }
}

macro_rules! key_of_one {
    ($($part:ty),*) => {$(
        impl From<$part> for PeerKey {
            fn from(part: $part) -> Self {
                Self::of_parts([part])
            }
        }
    )*};
}

key_of_one!(&str, &String, String, Box<str>, Arc<str>, &[u8], &Vec<u8>, u32, u64);

impl<const N: usize> From<&[u8; N]> for PeerKey {
    fn from(part: &[u8; N]) -> Self {
        Self::of_parts([part])
    }
}

macro_rules! key_of_tuple {
    ($($part:ident),*) => {
        impl<$($part: Part),*> From<($($part,)*)> for PeerKey {
            fn from(parts: ($($part,)*)) -> Self {
                #[allow(non_snake_case, reason = "one binding a type parameter")]
                let ($($part,)*) = parts;
                let mut digest = Digest::default();
                $($part.feed(&mut digest);)*
                digest.finish()
            }
        }
    };
}

key_of_tuple!(A);
key_of_tuple!(A, B);
key_of_tuple!(A, B, C);
key_of_tuple!(A, B, C, D);
key_of_tuple!(A, B, C, D, E);
key_of_tuple!(A, B, C, D, E, F);

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
