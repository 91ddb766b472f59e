//! [`JsonOffers`]: finds offers in JSON messages.

use std::{convert::Infallible, fmt, future::Ready, sync::Arc};

use super::{
    rules::{Known, Presence, Rules},
    text::JsonText,
};
#[cfg(feature = "http")]
use crate::peer::Digest;
use crate::{
    Offer,
    extract::{ExtractOffer, Found, PeerParts},
    peer::BoundParts,
};

/// Finds offers in JSON messages by JSON pointers.
///
/// An extractor reads any request that is text (`AsRef<[u8]>`) or, with [`of`](JsonOffers::of), that holds text. It
/// needs an [`sdp`](Self::sdp) pointer and a peer, from [`peer`](Self::peer) or [`for_peer`](Self::for_peer). Without
/// both it finds no offers. For HTTP requests, pass it to [`HttpOffers::json`](crate::http::HttpOffers::json).
///
/// # Examples
///
/// ```
/// use tower_offer_dedup::{
///     Fingerprint, JsonOffers, PeerKey,
///     extract::{ExtractOffer, Found},
/// };
///
/// let offers = JsonOffers::new().sdp("/sdp").peer("/from").peer("/to");
///
/// let message = r#"{
///     "type": "offer", "from": "alice", "to": "bob",
///     "sdp": "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n"
/// }"#;
/// let Found::Offer(_, offer) = offers.extract(message) else {
///     panic!("an offer");
/// };
/// assert_eq!(offer.peer(), PeerKey::from(("alice", "bob")));
/// let sdp = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n";
/// assert_eq!(offer.fingerprint(), Fingerprint::sdp(sdp));
///
/// let answer = message.replace("offer", "answer");
/// assert!(matches!(offers.extract(answer), Found::Pass(_)));
/// ```
///
/// # Pointers
///
/// A JSON pointer (RFC 6901) is a list of tokens, each after a slash. A token is the name of an object's member, or an
/// index into a list: digits without a leading zero. In a token, `~1` stands for a slash and `~0` for `~`. The first
/// slash may be left out. The empty pointer is the whole message.
///
/// A pointer may go *through* a string, which RFC 6901 (§7) leaves to the application. Where tokens remain and the
/// value is a string, the string is read as JSON. If it is not JSON, it is read as base64 of JSON: in the standard or
/// the URL-safe alphabet, padded or not, with or without line breaks. Nothing in the pointer's syntax marks a string. A
/// pointer goes through four strings at most.
///
/// A pointer finds no value if a member is missing, if a string cannot be read, or if there is a fifth string. `null`
/// counts as no value, too. A message without a description, or without a required part of the peer, passes unchanged.
///
/// Amazon Kinesis Video Streams sends a description as base64 of JSON:
///
/// ```
/// use tower_offer_dedup::{
///     JsonOffers,
///     extract::{ExtractOffer, Found},
/// };
///
/// let offers = JsonOffers::new()
///     .kind("/action", "SDP_OFFER")
///     .sdp("/messagePayload/sdp")
///     .peer("/recipientClientId");
///
/// // {"type":"offer","sdp":"v=0\no=-"}
/// let payload = "eyJ0eXBlIjoib2ZmZXIiLCJzZHAiOiJ2PTBcbm89LSJ9";
/// let message = format!(
///     r#"{{"action":"SDP_OFFER","recipientClientId":"viewer-1",
///         "messagePayload":"{payload}"}}"#
/// );
/// assert!(matches!(offers.extract(message), Found::Offer(..)));
/// ```
///
/// # What counts as JSON
///
/// A message is read in one pass. No tree is built, and the work grows linearly with the message. An extractor finds
/// what [`serde_json::Value::pointer`] would find. Whitespace, escapes and the order of members do not matter, and the
/// last of equal members counts. A message that is not JSON from end to end is not an offer. The same holds inside
/// strings.
#[derive(Clone)]
pub struct JsonOffers<F = ()> {
    text: F,
    rules: Arc<Rules>,
    bound: Option<BoundParts>,
}

impl JsonOffers {
    /// Makes an extractor for requests that are text themselves.
    pub fn new() -> Self {
        Self::from_text(())
    }
}

impl<F> JsonOffers<F> {
    /// Makes an extractor for requests that hold text. `text` returns the JSON, or an empty slice if there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_offer_dedup::{
    ///     JsonOffers,
    ///     extract::{ExtractOffer, Found},
    /// };
    ///
    /// enum Frame { Text(String), Close }
    ///
    /// let offers = JsonOffers::of(|frame: &Frame| match frame {
    ///     // Socket.IO puts its packet type before the JSON.
    ///     Frame::Text(text) => {
    ///         text.trim_start_matches(|c: char| c.is_ascii_digit()).as_bytes()
    ///     }
    ///     Frame::Close => &[],
    /// })
    /// .sdp("/1/sdp")
    /// .for_peer("alice");
    ///
    /// let packet = r#"42["signal",{"type":"offer","sdp":"v=0\r\no=-\r\n"}]"#;
    /// let frame = Frame::Text(packet.to_owned());
    /// assert!(matches!(offers.extract(frame), Found::Offer(..)));
    /// assert!(matches!(offers.extract(Frame::Close), Found::Pass(_)));
    /// ```
    pub fn of<Req>(text: F) -> Self
    where
        F: Fn(&Req) -> &[u8],
    {
        Self::from_text(text)
    }

    /// Adds a pointer to the description. Of several pointers, the first that leads to a description counts.
    ///
    /// A string that is not SDP is fingerprinted with [`Fingerprint::exact`](crate::Fingerprint::exact); an empty
    /// string is not an offer. A string that is a JSON object or list, or base64 or a JSON string of one, is not a
    /// description: it may hold an answer as well as an offer. Continue the pointer into it, as in `/data/sdp`.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_offer_dedup::{
    ///     JsonOffers,
    ///     extract::{ExtractOffer, Found},
    /// };
    ///
    /// let message = r#"{"data":"{\"type\":\"offer\",\"sdp\":\"v=0\\no=-\"}"}"#;
    ///
    /// let inside = JsonOffers::new().sdp("/data/sdp").for_peer("alice");
    /// assert!(matches!(inside.extract(message), Found::Offer(..)));
    ///
    /// let outside = JsonOffers::new().sdp("/data").for_peer("alice");
    /// assert!(matches!(outside.extract(message), Found::Pass(_)));
    /// ```
    #[must_use]
    pub fn sdp(mut self, pointer: &str) -> Self {
        Arc::make_mut(&mut self.rules).sdp(pointer);
        self
    }

    /// Requires the string `value` at `pointer`, compared exactly.
    ///
    /// Several values for one pointer are alternatives; several pointers must all hold. Without any, the member `type`
    /// beside the description decides, in the same object. If it is a string, it must be `offer` in upper or lower
    /// case, as in [`RTCSessionDescription`](https://www.w3.org/TR/webrtc/#rtcsessiondescription-class). Without such a
    /// string, the description counts as an offer.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_offer_dedup::{
    ///     JsonOffers,
    ///     extract::{ExtractOffer, Found},
    /// };
    ///
    /// let offers = JsonOffers::new()
    ///     .kind("/method", "join")
    ///     .kind("/method", "offer")
    ///     .sdp("/params/sdp")
    ///     .for_peer("alice");
    ///
    /// let join = r#"{"method":"join","params":{"sdp":"v=0\r\no=-\r\n"}}"#;
    /// assert!(matches!(offers.extract(join), Found::Offer(..)));
    ///
    /// let answer = join.replace("join", "answer");
    /// assert!(matches!(offers.extract(answer), Found::Pass(_)));
    /// ```
    #[must_use]
    pub fn kind(mut self, pointer: &str, value: &str) -> Self {
        Arc::make_mut(&mut self.rules).kind(pointer, value);
        self
    }

    /// Adds the string or number at `pointer` to the peer's key. A message without it passes unchanged.
    ///
    /// The parts are keyed in the order of these calls, after those of [`for_peer`](Self::for_peer). With two pointers
    /// to strings, [`OfferDedupHandle::forget`](crate::OfferDedupHandle::forget) takes `("alice", "bob")`.
    ///
    /// An integer is keyed by its value, like an integer of Rust: `7`, `7.0` and `7_u8` are equal. A fraction, `true`
    /// and `false` are keyed as text. A list or an object is not a part, and the message passes.
    ///
    /// `serde_json` reads an integer that fits neither an `i64` nor a `u64` as the nearest `f64`. Ids of that size
    /// merge with their neighbours, so send them as strings. If `serde_json` is built with `arbitrary_precision`, it
    /// reads every number as an object, and no number is a part.
    #[must_use]
    pub fn peer(mut self, pointer: &str) -> Self {
        Arc::make_mut(&mut self.rules).part(pointer, Presence::Required);
        self
    }

    /// Adds the string or number at `pointer` to the peer's key if there is one.
    ///
    /// A missing value, or `null`, is a part that differs from every value.
    #[must_use]
    pub fn peer_if_present(mut self, pointer: &str) -> Self {
        Arc::make_mut(&mut self.rules).part(pointer, Presence::Optional);
        self
    }

    /// Binds the parts of the peer that are known without the message, such as the user of a socket.
    ///
    /// They come first in the key, before those of [`peer`](Self::peer) pointers, and all together make one key.
    /// Binding other parts replaces them. A [`PeerKey`](crate::PeerKey) is one part, or the whole key if there are no
    /// pointers.
    ///
    /// One extractor serves all sockets of a server, each with its own peer. Cloning is cheap.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_offer_dedup::{
    ///     JsonOffers, PeerKey,
    ///     extract::{ExtractOffer, Found},
    /// };
    ///
    /// let offers = JsonOffers::new().sdp("/sdp").peer("/to");
    ///
    /// let of_alice = offers.clone().for_peer(("lobby", "alice"));
    /// let message = r#"{"to":"bob","sdp":"v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\n"}"#;
    /// let Found::Offer(_, offer) = of_alice.extract(message) else {
    ///     panic!("an offer");
    /// };
    /// // What `OfferDedupHandle::forget` takes, too.
    /// assert_eq!(offer.peer(), PeerKey::from(("lobby", "alice", "bob")));
    /// ```
    #[must_use]
    #[allow(clippy::needless_pass_by_value, reason = "it takes what `PeerKey::from` takes")]
    pub fn for_peer(mut self, parts: impl PeerParts) -> Self {
        self.bound = Some(BoundParts::new(&parts));
        self
    }

    /// Returns the offer in `text`.
    pub(crate) fn find(&self, text: &[u8]) -> Option<Offer> {
        let known = self.bound.as_ref().map_or(Known::Nothing, Known::Bound);
        self.rules.offer(text, known)
    }

    /// Returns whether a peer is bound or named by a pointer.
    #[cfg(feature = "http")]
    pub(crate) fn has_peer(&self) -> bool {
        self.bound.is_some() || self.rules.has_peer()
    }

    /// Returns the offer in the body of an HTTP request. The parts in its `head` replace the bound ones.
    #[cfg(feature = "http")]
    pub(crate) fn find_after(&self, head: &Digest, body: &[u8]) -> Option<Offer> {
        self.rules.offer(body, Known::Head(head))
    }

    fn extract_from<Req>(&self, request: Req, text: impl FnOnce(&Req) -> &[u8]) -> Found<Req, Never<Req>> {
        match self.find(text(&request)) {
            Some(offer) => Found::Offer(request, offer),
            None => Found::Pass(request),
        }
    }

    fn from_text(text: F) -> Self {
        Self {
            text,
            rules: Arc::default(),
            bound: None,
        }
    }
}

impl Default for JsonOffers {
    fn default() -> Self {
        Self::new()
    }
}

impl<F> fmt::Debug for JsonOffers<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonOffers")
            .field("rules", &self.rules)
            .field("bound", &self.bound)
            .finish_non_exhaustive()
    }
}

/// A message needs no reading.
type Never<Req> = Ready<Found<Req, Infallible>>;

impl<Req: JsonText> ExtractOffer<Req> for JsonOffers {
    type Request = Req;
    type Read = Never<Req>;

    fn extract(&self, request: Req) -> Found<Req, Self::Read> {
        self.extract_from(request, Req::text)
    }
}

impl<Req, F> ExtractOffer<Req> for JsonOffers<F>
where
    F: Fn(&Req) -> &[u8],
{
    type Request = Req;
    type Read = Never<Req>;

    fn extract(&self, request: Req) -> Found<Req, Self::Read> {
        self.extract_from(request, &self.text)
    }
}
