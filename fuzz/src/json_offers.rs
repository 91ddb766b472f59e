//! `JsonOffers` finds what the tree of `serde_json::Value` holds, in any bytes and under any rules.
//!
//! An input is a line of rules, two letters each, and a message.

use tower_offer_dedup::extract::{ExtractOffer, Found};

use crate::tree::{POINTERS, Rules, key};

/// Pointers of real protocols, which messages in the corpus have. They follow the nine of the tests.
const MORE_POINTERS: [&str; 17] = [
    "/sdp",
    "/from",
    "/to",
    "/payload/sdp/sdp",
    "/src",
    "/dst",
    "/data/signal/sdp",
    "/data/from",
    "/description/sdp",
    "/jsep/sdp",
    "/session_id",
    "/params/offer/sdp",
    "/1/sdp",
    "/data/sdp",
    "/data/signal",
    "/messagePayload/sdp",
    "/messagePayload/type",
];

pub fn check(input: &[u8]) {
    let mut parts = input.splitn(2, |byte| *byte == b'\n');
    let rules = rules(parts.next().unwrap_or_default());
    let message = parts.next().unwrap_or_default();

    let found = match rules.offers().extract(message) {
        Found::Offer(passed_on, offer) => {
            assert_eq!(passed_on, message);
            Some(offer)
        }
        Found::Pass(passed_on) => {
            assert_eq!(passed_on, message);
            None
        }
        _ => panic!("a message needs no reading"),
    };
    let expected = std::str::from_utf8(message).ok().and_then(|text| rules.find(text));
    assert_eq!(
        found.as_ref().map(|offer| offer.fingerprint()),
        expected.as_ref().map(|(_, fingerprint)| *fingerprint)
    );
    if let Some(key) = expected.and_then(|(parts, _)| key(&parts)) {
        assert_eq!(found.map(|offer| offer.peer()), Some(key));
    }
}

/// Reads the rules: `s` (description), `k` (kind), `p` (part of the peer) or `o` (part if present), and a pointer's
/// letter.
fn rules(line: &[u8]) -> Rules {
    let mut rules = Rules {
        sdp: Vec::new(),
        kinds: Vec::new(),
        parts: Vec::new(),
    };
    for rule in line.chunks_exact(2) {
        let at = usize::from(rule[1].wrapping_sub(b'a')) % (POINTERS.len() + MORE_POINTERS.len());
        let pointer = *POINTERS.iter().chain(&MORE_POINTERS).nth(at).expect("a pointer");
        match rule[0] {
            b's' if rules.sdp.len() < 2 => rules.sdp.push(pointer),
            b'k' if rules.kinds.len() < 2 => rules.kinds.push(pointer),
            b'p' if rules.parts.len() < 2 => rules.parts.push((pointer, true)),
            b'o' if rules.parts.len() < 2 => rules.parts.push((pointer, false)),
            _ => {}
        }
    }
    rules
}
