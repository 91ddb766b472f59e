//! Two fingerprints are equal exactly if the slow reference finds the same identity.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use tower_offer_dedup::Fingerprint;

use crate::{CORPUS, reference::identity};

#[test]
fn agrees_with_reference_on_corpus() {
    let mut fingerprints = HashMap::new();
    for row in CORPUS.iter() {
        fingerprints
            .entry(identity(&row.sdp))
            .or_insert_with(HashSet::new)
            .insert(row.fingerprint());
    }
    assert!(fingerprints.values().all(|of_one_identity| of_one_identity.len() == 1));
    let all: HashSet<_> = fingerprints.values().flatten().collect();
    assert_eq!(all.len(), fingerprints.len());
}

#[derive(Clone, Debug)]
enum Edit {
    Remove(prop::sample::Index),
    Repeat(prop::sample::Index, prop::sample::Index),
    Swap(prop::sample::Index),
    Replace(prop::sample::Index, prop::sample::Index, char),
}

fn edit() -> impl Strategy<Value = Edit> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        index().prop_map(Edit::Remove),
        (index(), index()).prop_map(|(from, to)| Edit::Repeat(from, to)),
        index().prop_map(Edit::Swap),
        (
            index(),
            index(),
            prop::sample::select(vec!['0', '9', ' ', '\r', '\n', ':', '=', 'a', 'm', 'é'])
        )
            .prop_map(|(line, at, char)| Edit::Replace(line, at, char)),
    ]
}

fn edited(text: &str, edits: &[Edit]) -> String {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    for edit in edits {
        match edit {
            Edit::Remove(at) if lines.len() > 1 => {
                lines.remove(at.index(lines.len()));
            }
            Edit::Repeat(from, to) => {
                let line = lines[from.index(lines.len())].clone();
                lines.insert(to.index(lines.len()), line);
            }
            Edit::Swap(at) if lines.len() > 1 => {
                let at = at.index(lines.len() - 1);
                lines.swap(at, at + 1);
            }
            Edit::Replace(line, at, char) => {
                let at_line = line.index(lines.len());
                let line = &mut lines[at_line];
                let places: Vec<_> = line.char_indices().map(|(at, _)| at).collect();
                if !places.is_empty() {
                    let at = places[at.index(places.len())];
                    let end = at + line[at..].chars().next().map_or(0, char::len_utf8);
                    line.replace_range(at..end, char.encode_utf8(&mut [0; 4]));
                }
            }
            Edit::Remove(_) | Edit::Swap(_) => {}
        }
    }
    lines.join("\n")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn agrees_with_reference_on_edited_offers(
        row in prop::sample::select(CORPUS.iter().collect::<Vec<_>>()),
        edits in prop::collection::vec(edit(), 1..4),
    ) {
        let text = edited(&row.sdp, &edits);
        let same = identity(&text) == identity(&row.sdp);
        prop_assert_eq!(Fingerprint::sdp(&text) == row.fingerprint(), same);
    }

    #[test]
    fn agrees_with_reference_on_short_text(a in short(), b in short()) {
        prop_assert_eq!(Fingerprint::sdp(&a) == Fingerprint::sdp(&b), identity(&a) == identity(&b));
    }

    #[test]
    fn accepts_any_text(text in any::<String>(), lines in "(?s)v=0\r?\no=.{0,40}(\n[amo]=.{0,200}){0,9}") {
        let _ = (Fingerprint::sdp(&text), Fingerprint::sdp(&lines));
    }
}

/// A few lines of a few kinds, so that two descriptions are often the same offer.
fn short() -> impl Strategy<Value = String> {
    let lines = [
        "m=audio 9 P 0",
        "m=audio 0 P 0",
        "m=audio 7 P 0",
        "a=mid:0",
        "a=setup:actpass",
        "a=sendrecv",
        "a=inactive",
        "a=sendrecv ",
        "a=ssrc:1 a",
        "a=ssrc:1 b",
        "a=ssrc:2",
        "a=rtpmap:0 x",
        "a=fingerprint:x",
        "",
    ];
    let line = prop::sample::select(lines.to_vec());
    prop::collection::vec(line, 0..6).prop_map(|lines| format!("v=0\no=-\n{}", lines.join("\r\n")))
}
