//! An input: a line of settings, then a request as sent on the wire.
//!
//! The settings are letters, see [`Settings::read`]. In the body, a byte 0xff and a letter are a step: `f` ends a
//! frame, `p` pauses, `t` sends trailers, `e` is an error. A line in front of a captured request makes it an input.

use http::{HeaderName, HeaderValue, Method, Request, request::Parts};
use http_body::SizeHint;
use tower_offer_dedup::{
    JsonOffers,
    http::{HttpOffers, PeerFrom},
};

pub struct Input<'a> {
    pub settings: Settings,
    head: Parts,
    pub steps: Vec<Step<'a>>,
}

pub enum Step<'a> {
    Data(&'a [u8]),
    Trailers,
    Error,
    Pending,
}

pub struct Settings {
    pub parts: Vec<(Source, IfMissing)>,
    pub json: Option<Json>,
    pub is_offer_in_peer: bool,
    /// Skips requests for the path `/x`.
    pub is_picky: bool,
    pub cap: usize,
    pub declared: Declared,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Path,
    Segment,
    Query,
    Bearer,
    Cookie,
    Header,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum IfMissing {
    Pass,
    Omit,
    Refuse,
}

/// The place of a JSON message's peer, besides the head.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Json {
    Nowhere,
    From,
}

/// The size that the body declares.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Declared {
    Nothing,
    AtLeastHalf,
    Exactly,
}

impl<'a> Input<'a> {
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (settings, request) = cut(bytes, b"\n")?;
        let (head, body) = cut(request, b"\r\n\r\n").or_else(|| cut(request, b"\n\n"))?;
        Some(Self {
            settings: Settings::read(settings),
            head: read_head(head)?,
            steps: read_body(body),
        })
    }

    pub fn head(&self) -> Parts {
        self.head.clone()
    }

    pub fn largest_frame(&self) -> usize {
        let data = self
            .steps
            .iter()
            .map(|step| if let Step::Data(data) = step { data.len() } else { 0 });
        data.max().unwrap_or(0)
    }
}

impl Settings {
    fn read(line: &[u8]) -> Self {
        let mut settings = Self {
            parts: Vec::new(),
            json: None,
            is_offer_in_peer: false,
            is_picky: false,
            cap: 64 * 1024,
            declared: Declared::Nothing,
        };
        for letter in line {
            let source = match letter {
                b'p' => Source::Path,
                b's' => Source::Segment,
                b'q' => Source::Query,
                b'b' => Source::Bearer,
                b'c' => Source::Cookie,
                b'h' => Source::Header,
                _ => {
                    settings.read_letter(*letter);
                    continue;
                }
            };
            if settings.parts.len() < 4 {
                settings.parts.push((source, IfMissing::Pass));
            }
        }
        settings
    }

    fn read_letter(&mut self, letter: u8) {
        let last = self.parts.last_mut().map(|(_, if_missing)| if_missing);
        match (letter, last) {
            (b'?', Some(last)) => *last = IfMissing::Omit,
            (b'!', Some(last)) => *last = IfMissing::Refuse,
            (b'j', _) => self.json = Some(Json::Nowhere),
            (b'f', _) => self.json = Some(Json::From),
            (b'o', _) => self.is_offer_in_peer = true,
            (b'x', _) => self.is_picky = true,
            (b'l', _) => self.declared = Declared::AtLeastHalf,
            (b'e', _) => self.declared = Declared::Exactly,
            // 0, 8, 64, … up to 2 MiB. Many caps are small, because the edge is where it breaks.
            (b'0'..=b'7', _) => self.cap = (1 << (3 * (letter - b'0'))) & !1,
            (b'-', _) => self.cap = self.cap.saturating_sub(1),
            _ => {}
        }
    }

    pub fn offers(&self) -> HttpOffers {
        let mut offers = HttpOffers::new().max_body(self.cap).max_json(self.cap);
        for (source, if_missing) in &self.parts {
            let part = match source {
                Source::Path => PeerFrom::path(),
                Source::Segment => PeerFrom::path_segment(1),
                Source::Query => PeerFrom::query_param("user"),
                Source::Bearer => PeerFrom::bearer(),
                Source::Cookie => PeerFrom::cookie("sid"),
                Source::Header => PeerFrom::header(HeaderName::from_static("x-room")),
            };
            offers = offers.peer(match if_missing {
                IfMissing::Pass => part,
                IfMissing::Omit => part.optional(),
                IfMissing::Refuse => part.required(),
            });
        }
        let json = JsonOffers::new().sdp("/sdp");
        offers = match self.json {
            None => offers,
            Some(Json::Nowhere) => offers.json(json),
            Some(Json::From) => offers.json(json.peer("/from")),
        };
        if self.is_offer_in_peer {
            offers = offers.key_by_offer();
        }
        if self.is_picky {
            offers = offers.filter(|head| head.uri.path() != "/x");
        }
        offers
    }
}

impl Declared {
    pub fn hint(self, steps: &[Step<'_>]) -> SizeHint {
        let left = steps
            .iter()
            .map(|step| {
                if let Step::Data(data) = step {
                    data.len() as u64
                } else {
                    0
                }
            })
            .sum();
        let mut hint = SizeHint::new();
        match self {
            Self::Nothing => {}
            Self::AtLeastHalf => hint.set_lower(left / 2),
            Self::Exactly => hint.set_exact(left),
        }
        hint
    }
}

/// Reads a head as a server would. Returns `None` for a head that no server lets through.
fn read_head(head: &[u8]) -> Option<Parts> {
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let mut words = lines.next()?.split(|byte| *byte == b' ');
    let mut request = Request::builder()
        .method(Method::from_bytes(words.next()?).ok()?)
        .uri(words.next()?)
        .body(())
        .ok()?;
    for line in lines {
        let (name, value) = cut(line, b":")?;
        let (name, value) = (
            HeaderName::from_bytes(name).ok()?,
            HeaderValue::from_bytes(value.trim_ascii()).ok()?,
        );
        request.headers_mut().append(name, value);
    }
    Some(request.into_parts().0)
}

fn read_body(body: &[u8]) -> Vec<Step<'_>> {
    let mut pieces = body.split(|byte| *byte == 0xff);
    let mut steps: Vec<_> = pieces.next().map(Step::Data).into_iter().collect();
    for piece in pieces {
        let (step, data) = match piece.split_first() {
            Some((b'p', data)) => (Some(Step::Pending), data),
            Some((b't', data)) => (Some(Step::Trailers), data),
            Some((b'e', data)) => (Some(Step::Error), data),
            Some((b'f', data)) => (None, data),
            // A frame may start with any other byte, even one that is not UTF-8.
            _ => (None, piece),
        };
        steps.extend(step);
        steps.push(Step::Data(data));
    }
    steps
}

fn cut<'a>(text: &'a [u8], end: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(end.len()).position(|window| window == end)?;
    Some((&text[..at], &text[at + end.len()..]))
}
