//! A second implementation of `JsonOffers`, which walks the tree of `serde_json::Value`. The fuzz target shares it.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::Value;
use tower_offer_dedup::{Fingerprint, JsonOffers, PeerKey};

/// The number of strings that a pointer may go through.
const LEVELS: usize = 4;

/// The settings of the extractor under test.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) sdp: Vec<&'static str>,
    pub(crate) kinds: Vec<&'static str>,
    pub(crate) parts: Vec<(&'static str, bool)>,
}

impl Rules {
    pub(crate) fn offers(&self) -> JsonOffers {
        let offers = self
            .sdp
            .iter()
            .fold(JsonOffers::new(), |offers, pointer| offers.sdp(pointer));
        let offers = self.kinds.iter().fold(offers, |offers, pointer| {
            offers.kind(pointer, "offer").kind(pointer, "a")
        });
        self.parts.iter().fold(offers, |offers, (pointer, required)| {
            if *required {
                offers.peer(pointer)
            } else {
                offers.peer_if_present(pointer)
            }
        })
    }

    pub(crate) fn find(&self, text: &str) -> Option<(Vec<Part>, Fingerprint)> {
        let tree: Value = serde_json::from_str(text).ok()?;
        let value = |pointer: &str| Some(follow(&tree, pointer, LEVELS)?.0);
        let (at, sdp) = self.sdp.iter().find_map(|at| description(&tree, at))?;
        let is_offer = if self.kinds.is_empty() {
            let beside = at.rfind('/').and_then(|end| value(&format!("{}/type", &at[..end])));
            beside
                .as_ref()
                .and_then(Value::as_str)
                .is_none_or(|kind| kind.eq_ignore_ascii_case("offer"))
        } else {
            self.kinds
                .iter()
                .all(|at| value(at).is_some_and(|kind| kind == "offer" || kind == "a"))
        };
        let parts = self
            .parts
            .iter()
            .map(|(at, required)| Part::of(value(at).as_ref(), *required));
        let parts: Vec<_> = parts.collect::<Option<_>>()?;
        (is_offer && !sdp.is_empty() && !parts.is_empty()).then(|| (parts, Fingerprint::sdp(&sdp)))
    }
}

/// The text at `pointer` unless it is JSON of a structure itself.
fn description<'a>(tree: &Value, pointer: &'a str) -> Option<(&'a str, String)> {
    let (value, levels) = follow(tree, pointer, LEVELS)?;
    let text = value.as_str()?;
    (!is_structure(text, levels)).then(|| (pointer, text.to_owned()))
}

/// The value that `pointer` leads to, and how many more strings it could have gone through.
fn follow(value: &Value, pointer: &str, levels: usize) -> Option<(Value, usize)> {
    if pointer.is_empty() {
        return Some((value.clone(), levels));
    }
    if let Value::String(text) = value {
        return follow(&read(text)?, pointer, levels.checked_sub(1)?);
    }
    let token = pointer[1..].find('/').map_or(pointer.len(), |end| end + 1);
    follow(value.pointer(&pointer[..token])?, &pointer[token..], levels)
}

fn is_structure(text: &str, levels: usize) -> bool {
    match (read(text), levels) {
        (Some(Value::Object(_) | Value::Array(_)), _) => true,
        (Some(Value::String(text)), 1..) => is_structure(&text, levels - 1),
        _ => false,
    }
}

/// A string as JSON, else as base64 of JSON.
fn read(text: &str) -> Option<Value> {
    let json = serde_json::from_str(text).ok();
    json.or_else(|| serde_json::from_slice(&decode(text)?).ok())
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true);
    let text = text.trim_ascii_end().trim_end_matches('=');
    let text = text.replace([' ', '\t', '\r', '\n'], "");
    let text = text.replace('-', "+").replace('_', "/");
    GeneralPurpose::new(&alphabet::STANDARD, config).decode(text).ok()
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Text(String),
    Integer(i128),
    Absent,
}

impl Part {
    fn of(value: Option<&Value>, required: bool) -> Option<Self> {
        match value {
            Some(Value::String(text)) => Some(Self::Text(text.clone())),
            Some(Value::Number(number)) => {
                let integer = number.as_u64().map(i128::from).or(number.as_i64().map(i128::from));
                let number = number.as_f64().expect("a number");
                // Rust displays a fraction, and only that, with a point. Without decimals it displays the exact
                // integer.
                let integer = integer.or_else(|| match number.to_string().contains('.') {
                    true => None,
                    false => format!("{number:.0}").parse().ok(),
                });
                Some(integer.map_or_else(|| Self::Text(number.to_string()), Self::Integer))
            }
            Some(Value::Bool(value)) => Some(Self::Text(value.to_string())),
            Some(Value::Null) | None => (!required).then_some(Self::Absent),
            Some(Value::Array(_) | Value::Object(_)) => None,
        }
    }
}

/// The key of `parts` as a caller of `forget` makes it, or `None` if a part is absent: a caller cannot name that one.
pub(crate) fn key(parts: &[Part]) -> Option<PeerKey> {
    use Part::{Absent, Integer, Text};
    Some(match parts {
        [Text(a)] => a.into(),
        [Integer(a)] => (*a).into(),
        [Text(a), Text(b)] => (a, b).into(),
        [Text(a), Integer(b)] => (a, b).into(),
        [Integer(a), Text(b)] => (a, b).into(),
        [Integer(a), Integer(b)] => (a, b).into(),
        [Absent, ..] | [_, Absent] => return None,
        _ => panic!("one or two parts"),
    })
}

pub(crate) const POINTERS: [&str; 9] = ["", "/a", "/a/b", "/a/type", "/type", "/0", "/a/1", "/a/00", "/~0~1"];
