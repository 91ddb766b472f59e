//! Resolves the `Location` of an answer by RFC 3986 §5.
//!
//! Most are a plain absolute path, which is not copied.

use std::borrow::Cow;

use http::{HeaderValue, uri::Scheme};

use super::{
    origin::Origin,
    target::{Target, normalise, normalise_authority},
};
use crate::extract::SessionUri;

/// Returns the URI that `location`, in the answer to a request of `origin`, names for a session.
pub(super) fn session_uri(origin: &Origin<'_>, location: &HeaderValue) -> Option<SessionUri> {
    let location = text(location)?;
    let target = resolve(&origin.target, &location)?;
    let authority = target.authority.as_deref().unwrap_or_default();
    let path_and_query = target.path_and_query.as_bytes();
    Some(SessionUri::new(
        path_and_query,
        authority.as_bytes(),
        &origin.credentials,
    ))
}

/// Returns a `Location` as text that is escaped.
fn text(location: &HeaderValue) -> Option<Cow<'_, str>> {
    Some(escape(std::str::from_utf8(location.as_bytes()).ok()?.trim()))
}

/// Resolves an escaped `location` against the target of its request. `None` if it leads out of HTTP.
fn resolve<'a>(base: &'a Target<'_>, location: &'a str) -> Option<Target<'a>> {
    let (base_path, base_query) = split_query(&base.path_and_query);
    let Resolved {
        scheme,
        authority,
        path,
        query,
    } = Reference::parse(location).resolve(base_path, base_query);
    let scheme = match scheme {
        Some(scheme) => Some(Scheme::try_from(scheme).ok().filter(is_http)?),
        None => base.scheme.clone(),
    };
    let authority = match authority {
        Some(authority) => Some(normalise_authority(authority.as_bytes(), scheme.as_ref())),
        None => base.authority.as_deref().map(Cow::Borrowed),
    };
    let path_and_query = match (path, query) {
        (Cow::Borrowed(path), None) => normalise(path),
        (Cow::Owned(path), None) => normalise(&path).into_owned().into(),
        (path, Some(query)) => normalise(&format!("{path}?{query}")).into_owned().into(),
    };
    Some(Target {
        scheme,
        authority,
        path_and_query,
    })
}

fn is_http(scheme: &Scheme) -> bool {
    [Scheme::HTTP, Scheme::HTTPS].contains(scheme)
}

/// Escapes what a client has to escape before it requests the URI: blanks and characters that are not ASCII.
fn escape(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    Cow::Owned(escaped)
}

fn split_query(path_and_query: &str) -> (&str, Option<&str>) {
    match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    }
}

/// A URI reference without its fragment (RFC 3986 §4.1).
#[derive(Clone, Copy, Debug)]
struct Reference<'a> {
    scheme: Option<&'a str>,
    authority: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
}

/// A resolved reference. Scheme and authority are `None` where they are those of the base.
#[derive(Debug)]
struct Resolved<'a> {
    scheme: Option<&'a str>,
    authority: Option<&'a str>,
    path: Cow<'a, str>,
    query: Option<&'a str>,
}

impl<'a> Reference<'a> {
    /// Splits a reference as the expression in RFC 3986 appendix B does.
    fn parse(text: &'a str) -> Self {
        let text = text.split('#').next().unwrap_or_default();
        let (scheme, rest) = match text.split_once(':') {
            Some((scheme, rest)) if is_scheme(scheme) => (Some(scheme), rest),
            _ => (None, text),
        };
        let (authority, rest) = match rest.strip_prefix("//") {
            Some(rest) => {
                let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
                (Some(authority), path)
            }
            None => (None, rest),
        };
        let (path, query) = split_query(rest);
        Self {
            scheme,
            authority,
            path,
            query,
        }
    }

    /// Resolves the reference against a base (RFC 3986 §5.2.2).
    fn resolve(self, base_path: &'a str, base_query: Option<&'a str>) -> Resolved<'a> {
        let Self {
            scheme,
            authority,
            path,
            query,
        } = self;
        let is_whole = scheme.is_some() || authority.is_some();
        let (path, query) = match path {
            "" if !is_whole => (Cow::Borrowed(base_path), query.or(base_query)),
            _ if is_whole || path.starts_with('/') => (without_dots(path), query),
            // §5.2.3: the reference replaces all after the last slash.
            _ => {
                let folder = base_path.rfind('/').map_or("/", |slash| &base_path[..=slash]);
                let path = format!("{folder}{path}");
                (Cow::Owned(without_dots(&path).into_owned()), query)
            }
        };
        Resolved {
            scheme,
            authority,
            path,
            query,
        }
    }
}

/// RFC 3986 §3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Removes dot segments (RFC 3986 §5.2.4).
fn without_dots(path: &str) -> Cow<'_, str> {
    let mut segments = path.as_bytes().split(|byte| *byte == b'/');
    if !segments.any(|segment| matches!(segment, b"." | b"..")) {
        return Cow::Borrowed(path);
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        let is_rooted = kept.first() == Some(&"");
        match segment {
            "." => {}
            // The empty segment before the first slash stays.
            ".." if kept.len() > usize::from(is_rooted) => drop(kept.pop()),
            ".." => {}
            segment => kept.push(segment),
        }
        // A path that ends in a dot segment is that of a folder.
        if is_last && matches!(segment, "." | "..") {
            kept.push("");
        }
    }
    Cow::Owned(kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3986 §5.4, without fragments, which never reach a server.
    #[test]
    fn references_resolve_as_in_the_rfc() {
        let cases = [
            ("g:h", "g:h"),
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            ("g?y#s", "http://a/b/c/g?y"),
            (";x", "http://a/b/c/;x"),
            ("g;x", "http://a/b/c/g;x"),
            ("g;x?y#s", "http://a/b/c/g;x?y"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("../../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            (".g", "http://a/b/c/.g"),
            ("g..", "http://a/b/c/g.."),
            ("..g", "http://a/b/c/..g"),
            ("./../g", "http://a/b/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/./h", "http://a/b/c/g/h"),
            ("g/../h", "http://a/b/c/h"),
            ("g;x=1/./y", "http://a/b/c/g;x=1/y"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/./x", "http://a/b/c/g?y/./x"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("g#s/./x", "http://a/b/c/g"),
            ("g#s/../x", "http://a/b/c/g"),
            ("http:g", "http:g"),
        ];
        for (reference, expected) in cases {
            let resolved = Reference::parse(reference).resolve("/b/c/d;p", Some("q"));
            let scheme = resolved.scheme.unwrap_or("http");
            let authority = match (resolved.scheme, resolved.authority) {
                (_, Some(authority)) => format!("//{authority}"),
                (None, None) => "//a".to_owned(),
                (Some(_), None) => String::new(),
            };
            let query = resolved.query.map(|query| format!("?{query}")).unwrap_or_default();
            let uri = format!("{scheme}:{authority}{}{query}", resolved.path);
            assert_eq!(uri, expected, "{reference}");
        }
    }

    #[test]
    fn locations_lead_to_targets() {
        let base = Target {
            scheme: None,
            authority: Some("example.com".into()),
            path_and_query: "/whip?stream=a".into(),
        };
        let at = |authority: &str, path: &str| Some((authority.to_owned(), path.to_owned()));
        let cases = [
            ("/session/7", at("example.com", "/session/7")),
            ("session/7?x=%7e", at("example.com", "/session/7?x=~")),
            ("?session=7", at("example.com", "/whip?session=7")),
            ("", at("example.com", "/whip?stream=a")),
            (" /session/7 ", at("example.com", "/session/7")),
            ("//Other.example:8443/s", at("other.example:8443", "/s")),
            ("https://Other.example:443/s", at("other.example", "/s")),
            ("https://other.example", at("other.example", "/")),
            ("/session/7#top", at("example.com", "/session/7")),
            ("/sess\u{e3}o/a b", at("example.com", "/sess%C3%A3o/a%20b")),
            ("urn:session:7", None),
        ];
        for (location, expected) in cases {
            let value = HeaderValue::from_bytes(location.as_bytes()).unwrap();
            let text = text(&value).unwrap();
            let target = resolve(&base, &text);
            let target = target.map(|target| {
                (
                    target.authority.unwrap().into_owned(),
                    target.path_and_query.into_owned(),
                )
            });
            assert_eq!(target, expected, "{location}");
        }
        assert_eq!(text(&HeaderValue::from_bytes(b"/\xff").unwrap()), None);
    }
}
