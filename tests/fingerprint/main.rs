//! `Fingerprint::sdp`, and the prefix rule that it replaces, on real offers of seven WebRTC stacks.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
    sync::LazyLock,
};

use tower_offer_dedup::Fingerprint;

mod agrees;
mod fields;
mod reference;

/// One offer of the corpus; `tests/data/corpus/manifest.json` says how each was made.
#[derive(Debug)]
struct Row {
    file: String,
    stack: String,
    shape: String,
    step: String,
    same_offer_as: Option<String>,
    sdp: String,
}

static CORPUS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/corpus");
    let manifest = fs::read_to_string(corpus.join("manifest.json")).expect("the manifest should be readable");
    let rows: Vec<HashMap<String, Option<String>>> =
        serde_json::from_str(&manifest).expect("the manifest should be a list of rows");
    rows.into_iter()
        .map(|mut row| {
            let mut field = |name| row.remove(name).flatten();
            let file = field("file").expect("the row should have a file name");
            Row {
                sdp: fs::read_to_string(corpus.join("offers").join(&file)).expect("the offer should be readable"),
                file,
                stack: field("stack").expect("the row should have a stack"),
                shape: field("shape").expect("the row should have a shape"),
                step: field("step").expect("the row should have a step"),
                same_offer_as: field("same_offer_as"),
            }
        })
        .collect()
});

impl Row {
    fn named(file: &str) -> &'static Self {
        CORPUS
            .iter()
            .find(|row| row.file == file)
            .expect("the manifest should have this row")
    }

    /// The row that first describes the same offer.
    fn origin(&self) -> &Self {
        self.same_offer_as
            .as_deref()
            .map_or(self, |file| Self::named(file).origin())
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::sdp(&self.sdp)
    }

    /// aiortc repeats the same description, `o=` line included, when asked for another offer.
    fn may_be_the_same(&self) -> bool {
        self.stack == "aiortc" && self.step.starts_with("again")
    }
}

/// Pairs of rows of one client and scenario: first those of the same offer, then those of different offers.
fn pairs() -> (Vec<[&'static Row; 2]>, Vec<[&'static Row; 2]>) {
    let all = CORPUS
        .iter()
        .enumerate()
        .flat_map(|(at, a)| CORPUS[at + 1..].iter().map(move |b| [a, b]));
    all.filter(|[a, b]| a.stack == b.stack && a.shape == b.shape)
        .partition(|[a, b]| a.origin().file == b.origin().file)
}

mod corpus {
    use super::*;

    #[test]
    fn is_complete() {
        assert_eq!(CORPUS.len(), 319);
        let stacks: HashSet<_> = CORPUS.iter().map(|row| row.stack.as_str()).collect();
        assert_eq!(stacks.len(), 7);
    }

    #[test]
    fn texts_of_one_offer_agree() {
        let others: Vec<_> = CORPUS.iter().filter(|row| row.same_offer_as.is_some()).collect();
        assert_eq!(others.len(), 95);
        for row in others {
            assert_eq!(
                row.fingerprint(),
                row.origin().fingerprint(),
                "{} and {}",
                row.file,
                row.origin().file
            );
        }
    }

    #[test]
    fn different_offers_differ() {
        let (_, different) = pairs();
        let mut compared = 0;
        for [a, b] in different {
            if !a.may_be_the_same() && !b.may_be_the_same() {
                assert_ne!(a.fingerprint(), b.fingerprint(), "{} and {}", a.file, b.file);
                compared += 1;
            }
        }
        assert_eq!(compared, 1736);
    }

    #[test]
    fn line_endings_and_candidates_do_not_matter() {
        for row in CORPUS.iter() {
            let lf = row.sdp.replace("\r\n", "\n");
            let crlf = lf.replace('\n', "\r\n");
            let unfinished = row.sdp.trim_end().to_owned();
            let blanks = lf.replace('\n', " \t\r\n");
            let empty_lines = lf.clone() + "\n\r\n";
            let candidates = crlf.clone()
                + "a=candidate:1 1 udp 2122260223 203.0.113.7 54321 typ host generation 0 ufrag 7h6h\r\n"
                + "a=end-of-candidates\r\n";
            for text in [lf, crlf, unfinished, blanks, empty_lines, candidates] {
                assert_eq!(Fingerprint::sdp(&text), row.fingerprint(), "{}", row.file);
            }
        }
    }

    #[test]
    fn attribute_order_does_not_matter() {
        for row in CORPUS.iter() {
            let mut sections = reference::sections(&row.sdp);
            for lines in &mut sections {
                // A stable sort keeps lines of the same attribute in order.
                let attributes = lines
                    .iter()
                    .position(|line| line.starts_with("a="))
                    .unwrap_or(lines.len());
                lines[attributes..].sort_by_key(|line| std::cmp::Reverse(line.split(':').next()));
            }
            let reordered = sections.concat().join("\r\n");
            assert_eq!(Fingerprint::sdp(&reordered), row.fingerprint(), "{}", row.file);
        }
    }
}

/// The rule of the original room server: compare the first 100 characters of the JSON message.
mod the_first_100_characters {
    use super::*;

    const ALICE: &str = "4e3f2c8a-7d0b-4a53-9a43-0c6f1f5b8d21";
    const BOB: &str = "b1946ac9-2f0e-4a6a-8d3c-5d8e7f7c3f10";

    /// Counts the pairs of different offers with equal fingerprints, and the ICE restarts among them.
    fn lost(envelope: impl Fn(&str) -> String) -> (usize, usize) {
        let merged = |[a, b]: &[&Row; 2]| {
            let prefix = |row: &Row| Fingerprint::prefix(envelope(&row.sdp).as_bytes(), 100);
            !a.may_be_the_same() && !b.may_be_the_same() && prefix(a) == prefix(b)
        };
        let (_, different) = pairs();
        let lost: Vec<_> = different.into_iter().filter(merged).collect();
        let restarts = lost
            .iter()
            .filter(|pair| pair.iter().any(|row| row.step.starts_with("restart")));
        (lost.len(), restarts.count())
    }

    fn quoted(sdp: &str) -> String {
        serde_json::to_string(sdp).expect("a string should serialize")
    }

    #[test]
    fn lose_offers_with_repeated_origin() {
        assert_eq!(
            lost(|sdp| format!(r#"{{"type":"offer","sdp":{}}}"#, quoted(sdp))),
            (100, 15)
        );
    }

    #[test]
    fn lose_renegotiations_behind_sender_id() {
        let envelope = |sdp: &str| format!(r#"{{"type":"offer","from":"{ALICE}","sdp":{}}}"#, quoted(sdp));
        assert_eq!(lost(envelope), (457, 146));
    }

    #[test]
    fn lose_later_offers_behind_two_ids() {
        let envelope = |sdp: &str| {
            format!(
                r#"{{"type":"offer","from":"{ALICE}","to":"{BOB}","sdp":{}}}"#,
                quoted(sdp)
            )
        };
        assert_eq!(lost(envelope), (1736, 333));
    }
}
