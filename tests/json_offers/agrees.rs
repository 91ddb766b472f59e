//! `JsonOffers` finds what the reference finds in the tree.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use proptest::prelude::*;

use crate::{
    found,
    tree::{POINTERS, Rules, key},
};

fn rules() -> impl Strategy<Value = Rules> {
    let pointers = |sizes| prop::collection::vec(prop::sample::select(POINTERS.to_vec()), sizes);
    let part = (prop::sample::select(POINTERS.to_vec()), any::<bool>());
    (pointers(1..3), pointers(0..3), prop::collection::vec(part, 1..3)).prop_map(|(sdp, kinds, parts)| Rules {
        sdp,
        kinds,
        parts,
    })
}

/// JSON as text, with equal members, escapes, blanks and JSON in strings, which no tree would keep.
fn json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        4 => string(vec!["offer", "OFFER", "answer", "a", "", "v=0\r\no=-\r\na=mid:0", "v=0\no=-", "ü\u{1f600}"]),
        2 => prop::sample::select(vec![
            "null", "true", "false", "0", "7", "-7", "-0", "1.5", "1e3", "1e999", "18446744073709551615",
            "18446744073709551616", r#""\ud800""#, r#""\ud83d\ude00""#,
        ])
        .prop_map(str::to_owned),
    ];
    let json = scalar.prop_recursive(4, 24, 5, |value| {
        let member = (string(vec!["a", "a", "a", "b", "type", "0", "00", "~/"]), value.clone());
        prop_oneof![
            1 => prop::collection::vec(value.clone(), 0..4).prop_map(|values| format!("[{}]", values.join(" ,"))),
            3 => prop::collection::vec(member, 0..5).prop_map(|members| {
                let members: Vec<_> = members.into_iter().map(|(name, value)| format!("{name}:\t{value}")).collect();
                format!("{{{}}}", members.join("\n,"))
            }),
            2 => in_strings(value, 1..3),
        ]
    });
    prop_oneof![4 => json.clone(), 1 => in_strings(json, 1..7)]
}

/// A value inside several strings, each inside the next.
fn in_strings(value: impl Strategy<Value = String>, strings: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    let encodings: Vec<fn(&str) -> String> = vec![
        |text| text.to_owned(),
        |text| format!(" {text}\n"),
        |text| STANDARD.encode(text),
        |text| URL_SAFE_NO_PAD.encode(text),
        |text| format!("{}\r\n", STANDARD.encode(text)),
        // Not JSON, though it begins so.
        |text| format!("{text}}}"),
    ];
    (value, prop::collection::vec(prop::sample::select(encodings), strings)).prop_map(|(value, encodings)| {
        encodings
            .into_iter()
            .fold(value, |text, encode| crate::quoted(&encode(&text)))
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
    fn agrees_on_any_bytes(rules in rules(), bytes in any::<Vec<u8>>(), text in any::<String>()) {
        match std::str::from_utf8(&bytes) {
            Ok(text) => agree(&rules, text)?,
            Err(_) => prop_assert_eq!(found(&rules.offers(), bytes.as_slice()), None),
        }
        agree(&rules, &text)?;
    }
}
