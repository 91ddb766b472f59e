//! The same, with a tree: `serde_json::Value` and its pointers.

use proptest::prelude::*;
use serde_json::Value;
use tower_offer_dedup::{Fingerprint, JsonOffers, PeerKey};

use crate::found;

/// What the extractor under test is told.
#[derive(Clone, Debug)]
struct Rules {
    sdp: Vec<&'static str>,
    kinds: Vec<&'static str>,
    parts: Vec<(&'static str, bool)>,
}

impl Rules {
    fn offers(&self) -> JsonOffers {
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

    fn find(&self, text: &str) -> Option<(Vec<Part>, Fingerprint)> {
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
enum Part {
    Text(String),
    Number(u64),
    Absent,
}

impl Part {
    fn of(value: Option<&Value>, required: bool) -> Option<Self> {
        match value {
            Some(Value::String(text)) => Some(Self::Text(text.clone())),
            Some(Value::Number(number)) => Some(number.as_u64().map_or(Self::Text(number.to_string()), Self::Number)),
            Some(Value::Bool(value)) => Some(Self::Text(value.to_string())),
            Some(Value::Null) | None => (!required).then_some(Self::Absent),
            Some(Value::Array(_) | Value::Object(_)) => None,
        }
    }
}

/// The key of `parts` as a caller of `forget` makes it; it cannot name a part that is not there.
fn key(parts: &[Part]) -> Option<PeerKey> {
    use Part::{Absent, Number, Text};
    Some(match parts {
        [Text(a)] => a.into(),
        [Number(a)] => (*a).into(),
        [Text(a), Text(b)] => (a, b).into(),
        [Text(a), Number(b)] => (a, b).into(),
        [Number(a), Text(b)] => (a, b).into(),
        [Number(a), Number(b)] => (a, b).into(),
        [Absent, ..] | [_, Absent] => return None,
        _ => panic!("one or two parts"),
    })
}

const POINTERS: [&str; 9] = ["", "/a", "/a/b", "/a/type", "/type", "/0", "/a/1", "/a/00", "/~0~1"];

fn rules() -> impl Strategy<Value = Rules> {
    let pointers = |sizes| prop::collection::vec(prop::sample::select(POINTERS.to_vec()), sizes);
    let part = (prop::sample::select(POINTERS.to_vec()), any::<bool>());
    (pointers(1..3), pointers(0..3), prop::collection::vec(part, 1..3)).prop_map(|(sdp, kinds, parts)| Rules {
        sdp,
        kinds,
        parts,
    })
}

/// JSON as text, with equal members, escapes and blanks that no tree would keep.
fn json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        4 => string(vec!["offer", "OFFER", "answer", "a", "", "v=0\r\no=-\r\na=mid:0", "v=0\no=-", "ü\u{1f600}"]),
        2 => prop::sample::select(vec![
            "null", "true", "false", "0", "7", "-7", "-0", "1.5", "1e3", "1e999", "18446744073709551615",
            "18446744073709551616", r#""\ud800""#, r#""\ud83d\ude00""#,
        ])
        .prop_map(str::to_owned),
    ];
    scalar.prop_recursive(4, 24, 5, |value| {
        let member = (string(vec!["a", "a", "a", "b", "type", "0", "00", "~/"]), value.clone());
        prop_oneof![
            1 => prop::collection::vec(value, 0..4).prop_map(|values| format!("[{}]", values.join(" ,"))),
            3 => prop::collection::vec(member, 0..5).prop_map(|members| {
                let members: Vec<_> = members.into_iter().map(|(name, value)| format!("{name}:\t{value}")).collect();
                format!("{{{}}}", members.join("\n,"))
            }),
        ]
    })
}

fn string(texts: Vec<&'static str>) -> impl Strategy<Value = String> {
    (prop::sample::select(texts), any::<bool>()).prop_map(|(text, escaped)| {
        if escaped {
            let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
            format!("\"{units}\"")
        } else {
            crate::quoted(text)
        }
    })
}

fn agree(rules: &Rules, text: &str) -> Result<(), TestCaseError> {
    let found = found(&rules.offers(), text);
    let expected = rules.find(text);
    prop_assert_eq!(
        found.map(|(_, fingerprint)| fingerprint),
        expected.as_ref().map(|(_, fingerprint)| *fingerprint)
    );
    if let Some(key) = expected.and_then(|(parts, _)| key(&parts)) {
        prop_assert_eq!(found.map(|(peer, _)| peer), Some(key));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn agrees_on_any_json(rules in rules(), text in json()) {
        agree(&rules, &text)?;
    }

    #[test]
    fn agrees_on_broken_json(
        rules in rules(),
        text in json(),
        at in any::<prop::sample::Index>(),
        broken in prop::sample::select(vec!["", "\"", "\\", "{", "]", ",", ":", "0", "\0", " "]),
    ) {
        let mut text: Vec<char> = text.chars().collect();
        let at = at.index(text.len());
        text.splice(at..=at, broken.chars());
        agree(&rules, &text.into_iter().collect::<String>())?;
    }

    #[test]
    fn takes_any_bytes(rules in rules(), bytes in any::<Vec<u8>>(), text in any::<String>()) {
        let _ = found(&rules.offers(), bytes);
        agree(&rules, &text)?;
    }
}
