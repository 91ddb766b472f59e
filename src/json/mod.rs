//! Offers in JSON messages: [`JsonOffers`].

mod scan;

use std::{convert::Infallible, fmt, future::Ready, sync::Arc};

use self::scan::{Places, Value, Wanted};
use crate::{
    Fingerprint, Offer, PeerKey,
    extract::{ExtractOffer, Found},
    peer::{Digest, Part},
};

/// Finds offers in JSON messages, at places given as JSON pointers (RFC 6901).
///
/// Works on any request that is text, `AsRef<[u8]>`, and through [`of`](JsonOffers::of) on any that holds some. It needs
/// an [`sdp`](Self::sdp) pointer and a peer, from [`peer`](Self::peer) or [`for_peer`](Self::for_peer); before it has
/// both it finds nothing.
///
/// A message is read in one pass that builds no tree and copies no description. What it finds is what
/// [`serde_json::Value::pointer`] would find: whitespace, escapes and the order of members do not matter, of equal members
/// the last one counts, and what is not JSON from end to end is no offer.
///
/// A pointer may be written without its leading slash. The empty pointer is the whole message.
///
/// # Examples
///
/// ```
/// use tower_offer_dedup::{Fingerprint, JsonOffers, PeerKey, extract::{ExtractOffer, Found}};
///
/// let offers = JsonOffers::new().sdp("/sdp").peer("/from").peer("/to");
///
/// let message = r#"{"type":"offer","from":"alice","to":"bob","sdp":"v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n"}"#;
/// let Found::Offer(_, offer) = offers.extract(message) else { panic!("an offer") };
/// assert_eq!(offer.peer(), PeerKey::from(("alice", "bob")));
/// assert_eq!(offer.fingerprint(), Fingerprint::sdp("v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n"));
///
/// let answer = message.replace("offer", "answer");
/// assert!(matches!(offers.extract(answer), Found::Pass(_)));
/// ```
///
/// One extractor serves all sockets of a server where each binds the peer that it has authenticated. Cloning is cheap.
///
/// ```
/// # use tower_offer_dedup::{JsonOffers, PeerKey, extract::{ExtractOffer, Found}};
/// let offers = JsonOffers::new().sdp("/description/sdp").peer("/to");
///
/// let of_alice = offers.clone().for_peer(("room-7", "alice"));
/// let message = r#"{"to":"bob","description":{"type":"offer","sdp":"v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n"}}"#;
/// let Found::Offer(_, offer) = of_alice.extract(message) else { panic!("an offer") };
/// assert_eq!(offer.peer(), PeerKey::from((PeerKey::from(("room-7", "alice")), "bob")));
/// ```
#[derive(Clone)]
pub struct JsonOffers<F = ()> {
    text: F,
    rules: Arc<Rules>,
    fixed: Option<PeerKey>,
}

impl JsonOffers {
    /// An extractor for requests that are text themselves.
    pub fn new() -> Self {
        Self::from_text(())
    }
}

impl<F> JsonOffers<F> {
    /// An extractor for requests of which `text` gives the JSON; an empty slice for those without any.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_offer_dedup::{JsonOffers, extract::{ExtractOffer, Found}};
    ///
    /// enum Frame { Text(String), Close }
    ///
    /// let offers = JsonOffers::of(|frame: &Frame| match frame {
    ///     // Socket.IO puts its packet type before the JSON.
    ///     Frame::Text(text) => text.trim_start_matches(|c: char| c.is_ascii_digit()).as_bytes(),
    ///     Frame::Close => &[],
    /// })
    /// .sdp("/1/sdp")
    /// .for_peer("alice");
    ///
    /// let frame = Frame::Text(r#"42["signal",{"type":"offer","sdp":"v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n"}]"#.into());
    /// assert!(matches!(offers.extract(frame), Found::Offer(..)));
    /// assert!(matches!(offers.extract(Frame::Close), Found::Pass(_)));
    /// ```
    pub fn of<Req>(text: F) -> Self
    where
        F: Fn(&Req) -> &[u8],
    {
        Self::from_text(text)
    }

    /// Where the description is. Of several pointers the first that leads to a string counts.
    ///
    /// A string that is no session description is an offer of its own, told by its bytes; an empty one is none.
    #[must_use]
    pub fn sdp(mut self, pointer: &str) -> Self {
        Arc::make_mut(&mut self.rules).sdp(pointer);
        self
    }

    /// Requires the string `value` at `pointer`, compared exactly.
    ///
    /// Several values for one pointer are alternatives; several pointers must all hold. Without any, the member `type`
    /// beside the description decides: if it is a string it has to be `offer` in any case, as in
    /// [`RTCSessionDescription`](https://www.w3.org/TR/webrtc/#rtcsessiondescription-class), and if there is none the
    /// description is taken for an offer.
    #[must_use]
    pub fn kind(mut self, pointer: &str, value: &str) -> Self {
        Arc::make_mut(&mut self.rules).kind(pointer, value);
        self
    }

    /// Adds the string or number at `pointer` to the peer's key. Without it the message has no peer and passes untouched.
    ///
    /// The key is that of the parts in the order of these calls, so that for two pointers to strings
    /// [`OfferDedupHandle::forget`](crate::OfferDedupHandle::forget) takes `("alice", "bob")`. A number is the part that a
    /// `u64` is; a negative or fractional one, `true` and `false` are their JSON text. A list or an object names no peer, nor
    /// does a number where `serde_json` is built with `arbitrary_precision`: it comes as an object then.
    #[must_use]
    pub fn peer(mut self, pointer: &str) -> Self {
        Arc::make_mut(&mut self.rules).part(pointer, Presence::Required);
        self
    }

    /// Adds the string or number at `pointer` to the peer's key if there is one.
    ///
    /// A missing one, or null, is a part of its own, which is no value's.
    #[must_use]
    pub fn peer_if_present(mut self, pointer: &str) -> Self {
        Arc::make_mut(&mut self.rules).part(pointer, Presence::Optional);
        self
    }

    /// Binds a peer that is known without the message, such as the one that a socket belongs to.
    ///
    /// Alone it is the whole key. With [`peer`](Self::peer) pointers its key is the first part: to forget alice's offers
    /// to bob, after `for_peer("alice").peer("/to")`, is `forget((PeerKey::from("alice"), "bob"))`.
    #[must_use]
    pub fn for_peer(mut self, peer: impl Into<PeerKey>) -> Self {
        self.fixed = Some(peer.into());
        self
    }

    /// Returns whether a peer is bound or is looked for in the message.
    #[cfg(feature = "http")]
    pub(crate) fn has_peer(&self) -> bool {
        self.fixed.is_some() || !self.rules.parts.is_empty()
    }

    /// The offer in `text`.
    pub(crate) fn find(&self, text: &[u8]) -> Option<Offer> {
        let found = self.rules.places.scan(text)?;
        let fingerprint = self.rules.fingerprint(&found)?;
        let peer = self.rules.peer(&found, self.fixed)?;
        Some(Offer::new(peer, fingerprint))
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
            fixed: None,
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
            .field("fixed", &self.fixed)
            .finish_non_exhaustive()
    }
}

type Never<Req> = Ready<Found<Req, Infallible>>;

impl<Req: AsRef<[u8]>> ExtractOffer<Req> for JsonOffers {
    type Request = Req;
    type Read = Never<Req>;

    fn extract(&self, request: Req) -> Found<Req, Self::Read> {
        self.extract_from(request, Req::as_ref)
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

/// What makes a message an offer, and whose, told of the places in it.
#[derive(Clone, Debug, Default)]
struct Rules {
    places: Places,
    /// The descriptions, each with the place of the `type` beside it.
    sdp: Vec<(usize, Option<usize>)>,
    /// The values that each place may have.
    kinds: Vec<(usize, Vec<Box<str>>)>,
    parts: Vec<(usize, Presence)>,
}

#[derive(Clone, Copy, Debug)]
enum Presence {
    Required,
    Optional,
}

impl Rules {
    const TEXT: Wanted = Wanted {
        text: true,
        fingerprint: false,
    };
    const FINGERPRINT: Wanted = Wanted {
        text: false,
        fingerprint: true,
    };

    fn sdp(&mut self, pointer: &str) {
        let mut tokens = tokens(pointer);
        let sdp = self.places.want(&tokens, Self::FINGERPRINT);
        let kind = tokens.pop().map(|_| {
            tokens.push("type".to_owned());
            self.places.want(&tokens, Self::TEXT)
        });
        self.sdp.push((sdp, kind));
    }

    fn kind(&mut self, pointer: &str, value: &str) {
        let place = self.places.want(&tokens(pointer), Self::TEXT);
        match self.kinds.iter_mut().find(|(known, _)| *known == place) {
            Some((_, values)) => values.push(value.into()),
            None => self.kinds.push((place, vec![value.into()])),
        }
    }

    fn part(&mut self, pointer: &str, presence: Presence) {
        let place = self.places.want(&tokens(pointer), Self::TEXT);
        self.parts.push((place, presence));
    }

    fn fingerprint(&self, found: &[Value<'_>]) -> Option<Fingerprint> {
        let (fingerprint, beside) = self.sdp.iter().find_map(|(sdp, beside)| match found[*sdp] {
            Value::String { fingerprint, .. } => Some((fingerprint, *beside)),
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

    fn peer(&self, found: &[Value<'_>], fixed: Option<PeerKey>) -> Option<PeerKey> {
        if self.parts.is_empty() {
            return fixed;
        }
        let mut key = Digest::default();
        if let Some(fixed) = fixed {
            fixed.feed(&mut key);
        }
        for (place, presence) in &self.parts {
            match (&found[*place], presence) {
                (Value::String { text, .. }, _) => key.bytes(text.as_bytes()),
                (Value::Number(number), _) => key.number(*number),
                (Value::Literal(text), _) => key.bytes(text.as_bytes()),
                (Value::Missing, Presence::Optional) => key.absent(),
                (Value::Missing, Presence::Required) | (Value::Compound, _) => return None,
            }
        }
        Some(key.finish())
    }
}

fn text<'a>(value: &'a Value<'_>) -> Option<&'a str> {
    match value {
        Value::String { text, .. } => Some(text),
        _ => None,
    }
}

/// The reference tokens of a JSON pointer (RFC 6901 §4).
fn tokens(pointer: &str) -> Vec<String> {
    if pointer.is_empty() {
        return Vec::new();
    }
    let tokens = pointer.strip_prefix('/').unwrap_or(pointer).split('/');
    tokens
        .map(|token| token.replace("~1", "/").replace("~0", "~"))
        .collect()
}
