//! Where the peer of an HTTP request comes from.

use std::{fmt, net::SocketAddr, sync::Arc};

use http::{
    HeaderMap, HeaderName,
    header::{AUTHORIZATION, COOKIE},
    request::Parts,
};

use crate::{PeerKey, peer::Digest};

/// One part of the peer of an HTTP request; several make the peer together, see
/// [`HttpOffers::peer`](super::HttpOffers::peer).
///
/// A request that lacks the part has no peer and passes untouched, unless the part is [`optional`](Self::optional) or
/// [`required`](Self::required). Values are digested as they are: what looks different is different, and neither ids nor
/// tokens are kept.
///
/// # Examples
///
/// ```
/// use tower_offer_dedup::http::{HttpOffers, PeerFrom};
///
/// let offers = HttpOffers::new().peer(PeerFrom::path()).peer(PeerFrom::bearer().optional());
/// let (post, ()) = http::Request::post("/whip/stage").body(()).unwrap().into_parts();
/// assert!(offers.peer_of(&post).is_some());
/// ```
///
/// Each source, and a request that has them all:
///
/// ```
/// use std::net::SocketAddr;
/// use tower_offer_dedup::{PeerKey, http::{HttpOffers, PeerFrom}};
///
/// #[derive(Clone)]
/// struct User(u64);
///
/// let (mut post, ()) = http::Request::post("/whip/stage?user=7")
///     .header("x-room", "lobby")
///     .header("cookie", "theme=dark; sid=31d4d96e")
///     .header("authorization", "Bearer s3cret")
///     .extension(SocketAddr::from(([203, 0, 113, 7], 4711)))
///     .extension(User(7))
///     .body(())
///     .unwrap()
///     .into_parts();
///
/// for part in [
///     PeerFrom::header(http::HeaderName::from_static("x-room")),
///     PeerFrom::cookie("sid"),
///     PeerFrom::bearer(),
///     PeerFrom::path(),
///     PeerFrom::segment(1),
///     PeerFrom::query("user"),
///     PeerFrom::client_address(),
///     PeerFrom::extension(|user: &User| PeerKey::from(user.0)),
///     PeerFrom::request(|head| Some(PeerKey::from(head.uri.host().unwrap_or_default()))),
/// ] {
///     assert!(HttpOffers::new().peer(part).peer_of(&post).is_some());
/// }
/// ```
#[derive(Clone)]
pub struct PeerFrom {
    name: &'static str,
    find: Arc<Find>,
    if_missing: IfMissing,
}

/// Digests the part. `None`: it is missing.
type Find = dyn Fn(&Parts, &mut Digest) -> Option<()> + Send + Sync;

/// What becomes of a request that lacks the part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IfMissing {
    Pass,
    Omit,
    Refuse,
}

/// Why there is no peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPeer {
    Pass,
    Refuse,
}

impl PeerFrom {
    /// A header's value. Of several with the name, all count, in order.
    pub fn header(name: HeaderName) -> Self {
        // One part however many values there are, or those of one header could pass for another's.
        Self::key("header", move |parts| {
            let values = parts.headers.get_all(&name).iter().map(|value| value.as_bytes());
            parts.headers.contains_key(&name).then(|| PeerKey::of_parts(values))
        })
    }

    /// A cookie's value (RFC 6265 §5.4).
    pub fn cookie(name: impl Into<String>) -> Self {
        let name = name.into();
        Self::bytes("cookie", move |parts| cookie(&parts.headers, name.as_bytes()))
    }

    /// The bearer token (RFC 6750 §2.1), which is what WHIP identifies a publisher by (RFC 9725 §4.7).
    pub fn bearer() -> Self {
        Self::bytes("bearer", |parts| bearer(&parts.headers))
    }

    /// The path, as the layer sees it.
    ///
    /// Inside axum's `nest`, that is the path without the prefix of the nest. To tell nests apart, key on
    /// `OriginalUri`: `PeerFrom::extension(|uri: &OriginalUri| PeerKey::from(uri.path()))`.
    pub fn path() -> Self {
        Self::bytes("path", |parts| Some(parts.uri.path().as_bytes()))
    }

    /// A segment of the path, from 0: in `/whip/stage`, 1 is `stage`. It is not percent-decoded.
    pub fn segment(index: usize) -> Self {
        Self::bytes("segment", move |parts| {
            let segment = parts.uri.path().split('/').skip(1).nth(index)?;
            Some(segment.as_bytes()).filter(|segment| !segment.is_empty())
        })
    }

    /// The first value of a parameter of the query. It is not percent-decoded.
    pub fn query(name: impl Into<String>) -> Self {
        let name = name.into();
        Self::bytes("query", move |parts| {
            let mut pairs = parts
                .uri
                .query()?
                .split('&')
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            let (_, value) = pairs.find(|(key, _)| *key == name)?;
            Some(value.as_bytes())
        })
    }

    /// The IP address of the client, from a request extension of type [`SocketAddr`] that the server has set.
    ///
    /// Behind axum's `into_make_service_with_connect_info` it is
    /// `PeerFrom::extension(|info: &ConnectInfo<SocketAddr>| PeerKey::from(info.ip().to_string()))`.
    ///
    /// # Deployment caveat
    ///
    /// Behind a proxy or a NAT, many clients share an address: their offers would wait for each other.
    pub fn client_address() -> Self {
        Self::new("client address", |parts, digest| {
            match parts.extensions.get::<SocketAddr>()?.ip() {
                std::net::IpAddr::V4(ip) => digest.bytes(&ip.octets()),
                std::net::IpAddr::V6(ip) => digest.bytes(&ip.octets()),
            }
            Some(())
        })
    }

    /// A request extension, what authentication has set for instance.
    pub fn extension<T: Send + Sync + 'static>(key: impl Fn(&T) -> PeerKey + Send + Sync + 'static) -> Self {
        Self::key("extension", move |parts| parts.extensions.get().map(&key))
    }

    /// Whatever a closure finds in the head of the request.
    pub fn request(key: impl Fn(&Parts) -> Option<PeerKey> + Send + Sync + 'static) -> Self {
        Self::key("request", key)
    }

    /// A request that lacks the part is told apart from all that have it.
    #[must_use]
    pub fn optional(self) -> Self {
        Self {
            if_missing: IfMissing::Omit,
            ..self
        }
    }

    /// A request that lacks the part is refused, as [`PeerMissing`](crate::Reason::PeerMissing).
    #[must_use]
    pub fn required(self) -> Self {
        Self {
            if_missing: IfMissing::Refuse,
            ..self
        }
    }

    pub(super) fn feed(&self, parts: &Parts, digest: &mut Digest) -> Result<(), NoPeer> {
        match (self.find)(parts, digest) {
            Some(()) => Ok(()),
            None => match self.if_missing {
                IfMissing::Pass => Err(NoPeer::Pass),
                IfMissing::Refuse => Err(NoPeer::Refuse),
                IfMissing::Omit => {
                    digest.absent();
                    Ok(())
                }
            },
        }
    }

    fn bytes(name: &'static str, find: impl Fn(&Parts) -> Option<&[u8]> + Send + Sync + 'static) -> Self {
        Self::new(name, move |parts, digest| find(parts).map(|bytes| digest.bytes(bytes)))
    }

    fn key(name: &'static str, find: impl Fn(&Parts) -> Option<PeerKey> + Send + Sync + 'static) -> Self {
        Self::new(name, move |parts, digest| find(parts).map(|key| digest.key(key)))
    }

    fn new(name: &'static str, find: impl Fn(&Parts, &mut Digest) -> Option<()> + Send + Sync + 'static) -> Self {
        Self {
            name,
            find: Arc::new(find),
            if_missing: IfMissing::Pass,
        }
    }
}

impl fmt::Debug for PeerFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerFrom")
            .field("part", &self.name)
            .field("if_missing", &self.if_missing)
            .finish_non_exhaustive()
    }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer";
    let (scheme, token) = headers.get(AUTHORIZATION)?.as_bytes().split_at_checked(SCHEME.len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(SCHEME) && token.first() == Some(&b' ');
    let token = token.trim_ascii();
    (is_bearer && !token.is_empty()).then_some(token)
}

fn cookie<'a>(headers: &'a HeaderMap, name: &[u8]) -> Option<&'a [u8]> {
    let pairs = headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|header| header.as_bytes().split(|byte| *byte == b';'));
    pairs
        .map(<[u8]>::trim_ascii)
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="))
}
