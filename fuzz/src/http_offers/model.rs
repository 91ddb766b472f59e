//! A simple model of `HttpOffers`: it reads the whole request at once.

use http::request::Parts;
use tower_offer_dedup::{Fingerprint, PeerKey, Reason};

use super::{
    body::{Event, trailers},
    input::{IfMissing, Input, Json, Source, Step},
};
use crate::tree::{Part, Rules};

/// The expected result, and the events that the inner service must get.
pub enum Expected {
    Pass(Kind, Vec<Event>),
    /// An offer, with its peer if the test can compute the key.
    Offer(Fingerprint, Option<PeerKey>, Vec<Event>),
    Refused(Reason),
}

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Pass,
    Offer,
    Unchecked,
    Other,
    Ending,
}

pub fn expected(input: &Input<'_>) -> Expected {
    let (head, settings) = (input.head(), &input.settings);
    let untouched = |kind| Expected::Pass(kind, events(&input.steps));
    match head.method.as_str() {
        "POST" => {}
        "DELETE" => return untouched(Kind::Ending),
        _ => return untouched(Kind::Pass),
    }
    if settings.is_picky && head.uri.path() == "/x" {
        return untouched(Kind::Pass);
    }
    let media = head
        .headers
        .get("content-type")
        .map(|value| value.as_bytes().to_ascii_lowercase());
    let media = media
        .as_deref()
        .and_then(|media| media.split(|byte| *byte == b';').next());
    let json = match media.map(<[u8]>::trim_ascii) {
        Some(b"application/sdp") => None,
        Some(b"application/json") if settings.json.is_some() => settings.json,
        _ => return untouched(Kind::Other),
    };
    let peer = match (peer(input, &head), json) {
        (Err(IfMissing::Refuse), None) => return Expected::Refused(Reason::PeerMissing),
        (Err(IfMissing::Refuse), Some(_)) => None,
        (Err(_), _) => return untouched(Kind::Pass),
        (Ok(parts), _) => Some(parts),
    };
    if settings.declared.hint(&input.steps).lower() > settings.cap as u64 {
        return if json.is_none() {
            Expected::Refused(Reason::BodyTooLarge)
        } else {
            untouched(Kind::Unchecked)
        };
    }
    let (body, events) = match read(&input.steps, settings.cap) {
        Read::Whole(body, events) => (body, events),
        Read::TooLarge if json.is_some() => return untouched(Kind::Unchecked),
        Read::TooLarge => return Expected::Refused(Reason::BodyTooLarge),
        Read::Broken(events) => return Expected::Pass(Kind::Unchecked, events),
    };
    let Some((fingerprint, from)) = offer(json, &body) else {
        return Expected::Pass(Kind::Pass, events);
    };
    let Some(parts) = peer else {
        return Expected::Refused(Reason::PeerMissing);
    };
    let mut peer = match from {
        None => key(&parts),
        // The parts in the head come first, in one flat key.
        Some(part) if settings.parts.is_empty() => Some(part.key_after(&[])),
        Some(part) => parts
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .map(|head| part.key_after(&head)),
    };
    if settings.is_offer_in_peer {
        peer = peer.map(|peer| PeerKey::from((peer, &fingerprint.to_bytes())));
    }
    Expected::Offer(fingerprint, peer, events)
}

/// The parts of the peer. A part that is left out is `None`.
fn peer(input: &Input<'_>, head: &Parts) -> Result<Vec<Option<Vec<u8>>>, IfMissing> {
    if input.settings.parts.is_empty() {
        // The default key. Credentials are a digest, so it cannot be spelled out here.
        return Ok(vec![None]);
    }
    let parts = input
        .settings
        .parts
        .iter()
        .map(|(source, if_missing)| match (part(*source, head), *if_missing) {
            (Some(part), _) => Ok(part),
            (None, IfMissing::Omit) => Ok(None),
            (None, if_missing) => Err(if_missing),
        });
    parts.collect()
}

/// A part that is there, with its value unless that is a key of its own.
fn part(source: Source, head: &Parts) -> Option<Option<Vec<u8>>> {
    let text = |name| head.headers.get_all(name).iter().map(|value| value.as_bytes().to_vec());
    let value = match source {
        // The authority form has no path.
        Source::Path if head.uri.path().is_empty() => b"/".to_vec(),
        Source::Path => normal(head.uri.path()).into(),
        Source::Segment => {
            let segment = head.uri.path().split('/').nth(2)?;
            if segment.is_empty() {
                return None;
            }
            normal(segment).into()
        }
        Source::Query => {
            let query = format!("&{}&", normal(head.uri.query()?));
            let start = [query.find("&user="), query.find("&user&")]
                .into_iter()
                .flatten()
                .min()?;
            let value = query[start + 5..].strip_prefix('=').unwrap_or("");
            value.split('&').next()?.into()
        }
        Source::Bearer => {
            let field = text("authorization").next()?;
            let token = field.get(7..)?.trim_ascii();
            if !field[..7].eq_ignore_ascii_case(b"bearer ") || token.is_empty() {
                return None;
            }
            token.to_vec()
        }
        Source::Cookie => {
            let all = text("cookie").collect::<Vec<_>>().join(&b';');
            let mut cookies = all.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            cookies.find_map(|cookie| cookie.strip_prefix(b"sid=").map(<[u8]>::to_vec))?
        }
        Source::Header => {
            text("x-room").next()?;
            return Some(None);
        }
    };
    Some(Some(value))
}

/// Decodes escapes of unreserved characters, and writes the others in upper case.
fn normal(text: &str) -> String {
    let mut pieces = text.split('%');
    let mut normal = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let digits = piece
            .get(..2)
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.map(char::from) {
            Some(plain) if plain.is_ascii_alphanumeric() || "-._~".contains(plain) => {
                normal.push(plain);
                normal.push_str(&piece[2..]);
            }
            Some(_) => normal += &format!("%{}{}", piece[..2].to_ascii_uppercase(), &piece[2..]),
            None => normal += &format!("%{piece}"),
        }
    }
    normal
}

impl Part {
    /// The key of the parts in the head, at most four, and of this one.
    fn key_after(&self, head: &[Vec<u8>]) -> PeerKey {
        match self {
            Self::Text(text) => PeerKey::of_parts(head.iter().map(Vec::as_slice).chain([text.as_bytes()])),
            Self::Integer(number) => match head {
                [] => (*number).into(),
                [a] => (a, number).into(),
                [a, b] => (a, b, number).into(),
                [a, b, c] => (a, b, c, number).into(),
                [a, b, c, d] => (a, b, c, d, number).into(),
                _ => unreachable!("four parts"),
            },
            Self::Absent => unreachable!("a part that is required"),
        }
    }
}

fn key(parts: &[Option<Vec<u8>>]) -> Option<PeerKey> {
    let parts: Vec<_> = parts.iter().cloned().collect::<Option<_>>()?;
    Some(PeerKey::of_parts(parts))
}

enum Read {
    Whole(Vec<u8>, Vec<Event>),
    TooLarge,
    Broken(Vec<Event>),
}

/// Nothing comes behind trailers: HTTP has no place for it.
fn read(steps: &[Step<'_>], cap: usize) -> Read {
    let mut body = Vec::new();
    let mut end = None;
    for step in steps {
        match step {
            Step::Pending => {}
            Step::Error => {
                let mut events = Vec::new();
                Event::push(&mut events, Event::Data(body));
                events.push(Event::Error);
                return Read::Broken(events);
            }
            Step::Trailers => {
                end = Some(Event::Trailers(trailers()));
                break;
            }
            Step::Data(data) => {
                body.extend_from_slice(data);
                if body.len() > cap {
                    return Read::TooLarge;
                }
            }
        }
    }
    let mut events = Vec::new();
    Event::push(&mut events, Event::Data(body.clone()));
    events.extend(end);
    Read::Whole(body, events)
}

/// The offer in a body, and the part of the peer that is in a JSON one.
fn offer(json: Option<Json>, body: &[u8]) -> Option<(Fingerprint, Option<Part>)> {
    let text = std::str::from_utf8(body);
    let Some(json) = json else {
        let blank = body.iter().all(u8::is_ascii_whitespace);
        return (!blank).then(|| (text.map_or_else(|_| Fingerprint::exact(body), Fingerprint::sdp), None));
    };
    let part = match json {
        Json::From => "/from",
        // The peer is in the head. An offer has a description.
        Json::Nowhere => "/sdp",
    };
    let rules = Rules {
        sdp: vec!["/sdp"],
        kinds: vec![],
        parts: vec![(part, true)],
    };
    let (mut parts, fingerprint) = rules.find(text.ok()?)?;
    Some((fingerprint, parts.pop().filter(|_| json == Json::From)))
}

/// Returns the events of a body that is passed on unchanged.
fn events(steps: &[Step<'_>]) -> Vec<Event> {
    let mut events = Vec::new();
    for step in steps {
        match step {
            Step::Pending => {}
            Step::Data(data) => Event::push(&mut events, Event::Data(data.to_vec())),
            Step::Trailers => events.push(Event::Trailers(trailers())),
            Step::Error => events.push(Event::Error),
        }
    }
    events
}
