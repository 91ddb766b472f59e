//! The origin of an offer: the target of its request and the digest of the credentials.

use std::{borrow::Cow, sync::Arc};

use http::{
    HeaderMap,
    header::{AUTHORIZATION, COOKIE},
    request::Parts,
    uri::Scheme,
};

use super::target::{Target, authority, path_and_query, request_uri};

/// The source of an offer: what [`HttpOffers`](super::HttpOffers) attaches to it and
/// [`HttpAnswer`](super::HttpAnswer) resolves the answer's `Location` against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin<'a> {
    pub(super) target: Target<'a>,
    pub(super) credentials: [u8; 16],
}

impl<'a> Origin<'a> {
    /// Encodes the origin of a request: the digest of its credentials, then scheme, authority and path. Scheme and
    /// authority have their length before them, plus one. It is zero if they are absent.
    pub(super) fn bytes_of(head: &Parts, credentials: &[u8; 16]) -> Arc<[u8]> {
        let scheme = request_uri(head).scheme().map(Scheme::as_str);
        let (authority, path) = (authority(head), path_and_query(head));
        let texts = [scheme, authority.as_deref()];
        let length = texts.iter().flatten().map(|text| text.len()).sum::<usize>() + path.len();
        let mut bytes = Vec::with_capacity(credentials.len() + 4 * texts.len() + length);
        bytes.extend_from_slice(credentials);
        for text in texts {
            // A head of 4 GiB does not reach this place.
            let length = text.map_or(0, |text| u32::try_from(text.len() + 1).unwrap_or(u32::MAX));
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(text.unwrap_or_default().as_bytes());
        }
        bytes.extend_from_slice(path.as_bytes());
        bytes.into()
    }

    /// Decodes what [`bytes_of`](Self::bytes_of) has encoded. `None` for anything else, such as an offer that another
    /// extractor has found.
    pub(super) fn from_bytes(bytes: &'a [u8]) -> Option<Self> {
        let (credentials, rest) = bytes.split_first_chunk::<16>()?;
        let (scheme, rest) = split_text(rest)?;
        let (authority, path) = split_text(rest)?;
        Some(Self {
            target: Target {
                scheme: scheme.map(Scheme::try_from).transpose().ok()?,
                authority: authority.map(Cow::Borrowed),
                path_and_query: std::str::from_utf8(path).ok()?.into(),
            },
            credentials: *credentials,
        })
    }
}

/// Splits a text that may be absent from the bytes after it.
fn split_text(bytes: &[u8]) -> Option<(Option<&str>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let Some(length) = u32::from_le_bytes(*length).checked_sub(1) else {
        return Some((None, rest));
    };
    let (text, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((Some(std::str::from_utf8(text).ok()?), rest))
}

/// The digest of a request without credentials.
pub(super) const NO_CREDENTIALS: [u8; 16] = [0; 16];

/// Digests the credentials of a request: every `Authorization` and `Cookie` field, in order. A request without any has
/// a digest of its own.
///
/// `Cookie` fields count as one, joined by `; `: HTTP/2 splits what HTTP/1 sends as one field (RFC 9113 §8.2.3).
pub(super) fn credentials(headers: &HeaderMap) -> [u8; 16] {
    const SEPARATOR: &[u8] = b"; ";
    if !headers.contains_key(AUTHORIZATION) && !headers.contains_key(COOKIE) {
        return NO_CREDENTIALS;
    }
    let mut digest = blake3::Hasher::new();
    // The length before each part keeps one field from passing for two.
    let length = |length: usize| (length as u64).to_le_bytes();
    for field in headers.get_all(AUTHORIZATION) {
        digest.update(b"a");
        digest.update(&length(field.len()));
        digest.update(field.as_bytes());
    }
    let cookies = headers.get_all(COOKIE);
    let joined = cookies.iter().map(|field| field.len() + SEPARATOR.len()).sum();
    digest.update(b"c");
    digest.update(&length(joined));
    for field in cookies {
        digest.update(field.as_bytes());
        digest.update(SEPARATOR);
    }
    let mut short = [0; 16];
    short.copy_from_slice(&digest.finalize().as_bytes()[..16]);
    short
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(uri: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::post(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn origin_survives_encoding() {
        let heads = [
            head("/", &[]),
            head("/whip?stream=a", &[("host", "Example.com"), ("cookie", "sid=1")]),
            head("https://example.com:443/whip", &[("authorization", "Bearer t")]),
        ];
        for head in heads {
            let origin = Origin {
                target: Target {
                    scheme: request_uri(&head).scheme().cloned(),
                    authority: authority(&head),
                    path_and_query: path_and_query(&head),
                },
                credentials: credentials(&head.headers),
            };
            let bytes = Origin::bytes_of(&head, &origin.credentials);
            assert_eq!(Origin::from_bytes(&bytes), Some(origin));
            for end in 0..24 {
                assert_eq!(Origin::from_bytes(&bytes[..end.min(bytes.len() - 1)]).as_ref(), None);
            }
        }
    }

    #[test]
    fn cookies_count_alike_in_one_field_or_two() {
        let digest = |fields: &[(&str, &str)]| credentials(&head("/", fields).headers);
        assert_eq!(
            digest(&[("cookie", "a=1; b=2")]),
            digest(&[("cookie", "a=1"), ("cookie", "b=2")])
        );
        assert_ne!(digest(&[("cookie", "a=1")]), digest(&[("authorization", "a=1")]));
        assert_ne!(digest(&[("cookie", "a=1")]), digest(&[]));
    }
}
