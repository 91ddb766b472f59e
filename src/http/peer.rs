//! [`PeerFrom`]: the parts of an HTTP request that its peer is made of.

use std::{borrow::Cow, fmt, net::SocketAddr, sync::Arc};

use http::{
    HeaderMap, HeaderName,
    header::{AUTHORIZATION, COOKIE},
    request::Parts,
};

use super::{
    origin::{NO_CREDENTIALS, credentials},
    target::{authority, normal_escapes, path, path_and_query, request_uri},
};
use crate::{PeerKey, peer::Digest};

/// One part of the peer of an HTTP request. Add parts with [`HttpOffers::peer`](super::HttpOffers::peer).
///
/// A request without the part has no peer and passes through, unless the part is [`optional`](Self::optional) or
/// [`required`](Self::required). Ids and tokens are digested, not kept.
///
/// # Examples
///
/// ```
/// use tower_offer_dedup::http::{HttpOffers, PeerFrom};
///
/// // The default key, spelled out.
/// let offers = HttpOffers::new()
///     .peer(PeerFrom::target_uri())
///     .peer(PeerFrom::credentials().optional());
///
/// let (post, ()) = http::Request::post("/whip/stage")
///     .body(())
///     .unwrap()
///     .into_parts();
/// assert_eq!(offers.peer_of(&post), HttpOffers::new().peer_of(&post));
/// ```
///
/// Each source, and a request that has them all:
///
/// ```
/// use std::net::SocketAddr;
/// use http::HeaderName;
/// use tower_offer_dedup::{PeerKey, http::{HttpOffers, PeerFrom}};
///
/// #[derive(Clone)]
/// struct User(u64);
///
/// let (mut post, ()) = http::Request::post("/whip/stage?user=7")
///     .header("host", "media.example.com")
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
///     PeerFrom::target_uri(),
///     PeerFrom::authority(),
///     PeerFrom::path(),
///     PeerFrom::query(),
///     PeerFrom::path_segment(1),
///     PeerFrom::query_param("user"),
///     PeerFrom::credentials(),
///     PeerFrom::bearer(),
///     PeerFrom::cookie("sid"),
///     PeerFrom::header(HeaderName::from_static("x-room")),
///     PeerFrom::client_address(),
///     PeerFrom::extension(|user: &User| PeerKey::from(user.0)),
///     PeerFrom::from_fn(|head| {
///         Some(PeerKey::from(head.method.as_str()))
///     }),
/// ] {
///     let offers = HttpOffers::new().peer(part);
///     assert!(offers.peer_of(&post).is_some());
/// }
/// ```
#[derive(Clone)]
pub struct PeerFrom {
    name: &'static str,
    find: Arc<Find>,
    if_missing: IfMissing,
}

/// Digests the part, or returns `None` if it is missing.
type Find = dyn Fn(&Parts, &mut Digest) -> Option<()> + Send + Sync;

/// The treatment of a request without the part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IfMissing {
    Pass,
    Omit,
    Refuse,
}

/// The treatment of a request without a peer: it passes, or is refused if it is an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPeer {
    Pass,
    Refuse,
}

impl PeerFrom {
    /// The target URI: authority, path and query (RFC 9110 §7.1), normalised by RFC 3986 §6.2.2. No request lacks it.
    ///
    /// The host is in lower case, escapes of unreserved characters are decoded, and other escapes have upper-case
    /// digits. Dot segments, `%2F` and an empty query stay as they are. The default port is removed if the URI has a
    /// scheme, as in HTTP/2 and in the absolute form of HTTP/1. The `Host` of HTTP/1 has none, so its port stays. The
    /// scheme itself and user information are not part of the key.
    ///
    /// With feature `axum`, the URI is axum's `OriginalUri` where there is one. Without it, a layer inside a `nest`
    /// sees the path without the prefix of the nest.
    pub fn target_uri() -> Self {
        Self::new("target URI", |head, digest| {
            feed_target(head, digest);
            Some(())
        })
    }

    /// The host and port that the request names, normalised as in [`target_uri`](Self::target_uri).
    pub fn authority() -> Self {
        Self::text("authority", authority)
    }

    /// The path, normalised as in [`target_uri`](Self::target_uri).
    pub fn path() -> Self {
        Self::text("path", |head| Some(path(head)))
    }

    /// The whole query, normalised as in [`target_uri`](Self::target_uri). An empty query is present.
    pub fn query() -> Self {
        Self::text("query", |head| request_uri(head).query().map(normal_escapes))
    }

    /// A segment of the path, from 0: in `/whip/stage`, 1 is `stage`. It is normalised, but not decoded.
    ///
    /// Inside axum's `nest`, segments are counted without the prefix of the nest, with feature `axum` too.
    pub fn path_segment(index: usize) -> Self {
        Self::text("path segment", move |head| {
            let segment = head.uri.path().split('/').skip(1).nth(index)?;
            Some(normal_escapes(segment)).filter(|segment| !segment.is_empty())
        })
    }

    /// The first value of a parameter of the query. It is normalised, but not decoded.
    pub fn query_param(name: impl Into<String>) -> Self {
        let name = name.into();
        Self::text("query parameter", move |head| {
            let query = normal_escapes(head.uri.query()?);
            let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            let (_, value) = pairs.find(|(key, _)| *key == name)?;
            Some(Cow::Owned(value.to_owned()))
        })
    }

    /// The credentials: every `Authorization` and every `Cookie` field, in order.
    ///
    /// Any change counts. A client that refreshes its token or a cookie is another peer from then on.
    pub fn credentials() -> Self {
        Self::new("credentials", |head, digest| {
            let credentials = credentials(&head.headers);
            (credentials != NO_CREDENTIALS).then(|| digest.bytes(&credentials))
        })
    }

    /// The bearer token (RFC 6750 §2.1), which identifies a publisher in WHIP (RFC 9725 §4.7).
    pub fn bearer() -> Self {
        Self::bytes("bearer", |parts| bearer(&parts.headers))
    }

    /// The value of a cookie (RFC 6265 §5.4).
    pub fn cookie(name: impl Into<String>) -> Self {
        let name = name.into();
        Self::bytes("cookie", move |parts| cookie(&parts.headers, name.as_bytes()))
    }

    /// The value of a header. If several fields have the name, all of them count, in order.
    pub fn header(name: HeaderName) -> Self {
        // One part for all values, or a value of this header could pass for the next part.
        Self::key("header", move |parts| {
            let values = parts.headers.get_all(&name).iter().map(|value| value.as_bytes());
            parts.headers.contains_key(&name).then(|| PeerKey::of_parts(values))
        })
    }

    /// The IP address of the client, from a request extension of type [`SocketAddr`] that the server has set.
    ///
    /// Behind axum's `into_make_service_with_connect_info`, use
    /// `PeerFrom::extension(|info: &ConnectInfo<SocketAddr>| ..)`.
    ///
    /// # Deployment caveat
    ///
    /// Behind a proxy or a NAT many clients share an address, and their offers would wait for each other.
    pub fn client_address() -> Self {
        Self::new("client address", |parts, digest| {
            match parts.extensions.get::<SocketAddr>()?.ip() {
                std::net::IpAddr::V4(ip) => digest.bytes(&ip.octets()),
                std::net::IpAddr::V6(ip) => digest.bytes(&ip.octets()),
            }
            Some(())
        })
    }

    /// A request extension, such as the user that an authentication layer has set.
    pub fn extension<T: Send + Sync + 'static>(key: impl Fn(&T) -> PeerKey + Send + Sync + 'static) -> Self {
        Self::key("extension", move |parts| parts.extensions.get().map(&key))
    }

    /// A key that a closure makes from the head of the request.
    pub fn from_fn(key: impl Fn(&Parts) -> Option<PeerKey> + Send + Sync + 'static) -> Self {
        Self::key("from_fn", key)
    }

    /// Gives requests without the part a peer of their own, which differs from those of all requests with it.
    #[must_use]
    pub fn optional(self) -> Self {
        Self {
            if_missing: IfMissing::Omit,
            ..self
        }
    }

    /// Refuses offers without the part as [`PeerMissing`](crate::Reason::PeerMissing).
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

    fn text(name: &'static str, find: impl Fn(&Parts) -> Option<Cow<'_, str>> + Send + Sync + 'static) -> Self {
        Self::new(name, move |parts, digest| {
            find(parts).map(|text| digest.bytes(text.as_bytes()))
        })
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

/// Digests the default key: [`PeerFrom::target_uri`] and [`PeerFrom::credentials`], which is optional.
pub(super) fn feed_default(head: &Parts, credentials: &[u8; 16], digest: &mut Digest) {
    feed_target(head, digest);
    if *credentials == NO_CREDENTIALS {
        digest.absent();
    } else {
        digest.bytes(credentials);
    }
}

fn feed_target(head: &Parts, digest: &mut Digest) {
    match authority(head) {
        Some(authority) => digest.bytes(authority.as_bytes()),
        None => digest.absent(),
    }
    digest.bytes(path_and_query(head).as_bytes());
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
