//! The target of a request, in the normal form that tells peers and sessions apart.

use std::borrow::Cow;

use http::{HeaderMap, Uri, header::HOST, request::Parts, uri::Scheme};

/// The target URI of a request (RFC 9110 §7.1), normalised by RFC 3986 §6.2.2.
///
/// The scheme is there if the request names it: in HTTP/2, and in the absolute form of HTTP/1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    pub(super) scheme: Option<Scheme>,
    /// Host and port, without user information. `None` if the request names none.
    pub(super) authority: Option<Cow<'a, str>>,
    pub(super) path_and_query: Cow<'a, str>,
}

/// Returns the URI of a request as the server received it.
pub(super) fn request_uri(head: &Parts) -> &Uri {
    // A nested router of axum strips its prefix from the URI and keeps the whole one in an extension.
    #[cfg(feature = "axum")]
    if let Some(axum::extract::OriginalUri(uri)) = head.extensions.get() {
        return uri;
    }
    &head.uri
}

/// Returns the normalised authority of a request, if it names one.
pub(super) fn authority(head: &Parts) -> Option<Cow<'_, str>> {
    let uri = request_uri(head);
    // RFC 9112 §3.2.2: a target in absolute form overrides `Host`.
    let authority = match uri.authority() {
        Some(authority) => normalise_authority(authority.as_str().as_bytes(), uri.scheme()),
        None => host(&head.headers),
    };
    Some(authority).filter(|authority| !authority.is_empty())
}

/// Returns the normalised `Host`. Of several fields, all count: a server that takes the last one must not share a peer
/// with one that takes the first.
fn host(headers: &HeaderMap) -> Cow<'_, str> {
    let mut hosts = headers.get_all(HOST).iter();
    let mut all = hosts
        .next()
        .map_or(Cow::Borrowed(""), |host| normalise_authority(host.as_bytes(), None));
    for host in hosts {
        let all = all.to_mut();
        all.push(',');
        all.push_str(&normalise_authority(host.as_bytes(), None));
    }
    all
}

/// Returns the normalised path and query of a request.
pub(super) fn path_and_query(head: &Parts) -> Cow<'_, str> {
    normalise(request_uri(head).path_and_query().map_or("/", |target| target.as_str()))
}

/// Returns the normalised path of a request.
pub(super) fn path(head: &Parts) -> Cow<'_, str> {
    normalise(request_uri(head).path())
}

/// Normalises a path with its query by RFC 3986 §6.2.2.1 and §6.2.2.2: escapes of unreserved characters are decoded,
/// all others are written with upper-case digits. Dot segments, `%2F` and an empty query stay as they are. An empty
/// path becomes `/`.
pub(super) fn normalise(path_and_query: &str) -> Cow<'_, str> {
    let mut normal = normal_escapes(path_and_query);
    if !normal.starts_with(['/', '*']) {
        normal.to_mut().insert(0, '/');
    }
    normal
}

/// Normalises the escapes of any part of a URI, as [`normalise`] does.
pub(super) fn normal_escapes(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut normal = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(place) = rest.find('%') {
        let (before, escape) = rest.split_at(place);
        normal.push_str(before);
        let length = match escaped(escape.as_bytes()) {
            Some(byte) if is_unreserved(byte) => {
                normal.push(char::from(byte));
                3
            }
            Some(byte) => {
                push_escaped(&mut normal, byte);
                3
            }
            None => {
                normal.push('%');
                1
            }
        };
        rest = &escape[length..];
    }
    normal.push_str(rest);
    Cow::Owned(normal)
}

/// Normalises a host and its port: user information is removed, the host is in lower case, escapes are as in
/// [`normalise`]. An empty port is removed (RFC 3986 §6.2.3), and the default one if the scheme is known.
///
/// Bytes that are not ASCII, which only a `Host` field may have, are escaped.
pub(super) fn normalise_authority<'a>(authority: &'a [u8], scheme: Option<&Scheme>) -> Cow<'a, str> {
    let user_end = authority.iter().rposition(|byte| *byte == b'@').map_or(0, |at| at + 1);
    let host = authority[user_end..].trim_ascii();
    let port: &[u8] = match scheme.map(Scheme::as_str) {
        Some("http") => b":80",
        Some("https") => b":443",
        _ => b":",
    };
    let host = host.strip_suffix(port).or(host.strip_suffix(b":")).unwrap_or(host);
    let is_plain = |byte: &u8| byte.is_ascii() && !byte.is_ascii_uppercase() && *byte != b'%';
    if let (true, Ok(host)) = (host.iter().all(is_plain), std::str::from_utf8(host)) {
        return Cow::Borrowed(host);
    }
    let mut normal = String::with_capacity(host.len());
    let mut rest = host;
    while let [first, after @ ..] = rest {
        let (byte, length) = match escaped(rest) {
            Some(byte) => (byte, 3),
            None => (*first, 1),
        };
        let is_literal = if length == 3 {
            is_unreserved(byte)
        } else {
            byte.is_ascii()
        };
        if is_literal {
            normal.push(char::from(byte.to_ascii_lowercase()));
        } else {
            push_escaped(&mut normal, byte);
        }
        rest = &after[length - 1..];
    }
    Cow::Owned(normal)
}

/// Returns the byte that an escape at the start of `text` stands for.
fn escaped(text: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    match text {
        [b'%', high, low, ..] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
        _ => None,
    }
}

fn push_escaped(text: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    text.push('%');
    text.push(char::from(DIGITS[usize::from(byte >> 4)]));
    text.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_a_normal_form() {
        let cases = [
            ("", "/"),
            ("?a=b", "/?a=b"),
            ("/whip/st%61ge", "/whip/stage"),
            ("/%7euser/%2d%2E%5f", "/~user/-._"),
            ("/a%2fb", "/a%2Fb"),
            ("/a/../b/./c", "/a/../b/./c"),
            ("/a?", "/a?"),
            ("/a?x=%e2%82%ac&y=%41", "/a?x=%E2%82%AC&y=A"),
            ("/100%", "/100%"),
            ("/%4", "/%4"),
            ("/%zz%41", "/%zzA"),
            ("/%2541", "/%2541"),
            ("*", "*"),
        ];
        for (path, expected) in cases {
            assert_eq!(normalise(path), expected, "{path}");
            assert_eq!(normalise(expected), expected, "{path}: its normal form");
        }
    }

    #[test]
    fn authorities_have_a_normal_form() {
        let (http, https) = (Some(Scheme::HTTP), Some(Scheme::HTTPS));
        let cases: &[(&[u8], &Option<Scheme>, &str)] = &[
            (b"Example.COM", &None, "example.com"),
            (b"example.com:80", &None, "example.com:80"),
            (b"example.com:80", &http, "example.com"),
            (b"example.com:443", &http, "example.com:443"),
            (b"example.com:443", &https, "example.com"),
            (b"example.com:8443", &https, "example.com:8443"),
            (b"example.com:", &https, "example.com"),
            (b"example.com:", &None, "example.com"),
            (b"[2001:DB8::80]", &http, "[2001:db8::80]"),
            (b"[2001:DB8::1]:443", &https, "[2001:db8::1]"),
            (b"user:pass@Host", &None, "host"),
            (b"ex%41mple%2f", &None, "example%2F"),
            (b"caf\xc3\xa9", &None, "caf%C3%A9"),
            (b"", &None, ""),
        ];
        for (authority, scheme, expected) in cases {
            let name = String::from_utf8_lossy(authority);
            assert_eq!(normalise_authority(authority, scheme.as_ref()), *expected, "{name}");
        }
    }
}
