//! The same, with a tree: `serde_json::Value` and its pointers. Fuzzing shares it.

use serde_json::Value;
use tower_offer_dedup::{Fingerprint, JsonOffers, PeerKey};

/// What the extractor under test is told.
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
        let (at, sdp) = self
            .sdp
            .iter()
            .find_map(|at| Some((*at, tree.pointer(at)?.as_str()?)))?;
        let is_offer = if self.kinds.is_empty() {
            let beside = at
                .rfind('/')
                .and_then(|end| tree.pointer(&format!("{}/type", &at[..end])));
            beside
                .and_then(Value::as_str)
                .is_none_or(|kind| kind.eq_ignore_ascii_case("offer"))
        } else {
            let kind = |at: &&str| tree.pointer(at).and_then(Value::as_str);
            self.kinds.iter().all(|at| matches!(kind(at), Some("offer" | "a")))
        };
        let parts = self
            .parts
            .iter()
            .map(|(at, required)| Part::of(tree.pointer(at), *required));
        let parts: Vec<_> = parts.collect::<Option<_>>()?;
        (is_offer && !sdp.is_empty() && !parts.is_empty()).then(|| (parts, Fingerprint::sdp(sdp)))
    }
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
                // Rust displays a fraction, and only that, with a point. Without decimals it displays the exact integer.
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
