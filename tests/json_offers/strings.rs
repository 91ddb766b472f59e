//! JSON inside strings: pointers go through it, and a description is never JSON.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use tower_offer_dedup::{Fingerprint, JsonOffers, PeerKey};

use crate::{SDP, found, peer, quoted};

type Encoding = (&'static str, fn(&str) -> String);

/// The ways to put JSON into a string.
const ENCODINGS: [Encoding; 8] = [
    ("JSON", |json| json.to_owned()),
    ("JSON with blanks", |json| format!(" \r\n\t{json}\n")),
    ("base64", |json| STANDARD.encode(json)),
    ("base64, no padding", |json| STANDARD_NO_PAD.encode(json)),
    ("base64url", |json| URL_SAFE.encode(json)),
    ("base64url, no padding", |json| URL_SAFE_NO_PAD.encode(json)),
    ("base64 in lines", |json| lines(&STANDARD.encode(json), "\r\n")),
    ("base64 of JSON with blanks", |json| {
        STANDARD.encode(format!("\n {json} "))
    }),
];

fn lines(text: &str, end: &str) -> String {
    let lines: Vec<_> = text.as_bytes().chunks(76).map(String::from_utf8_lossy).collect();
    lines.join(end) + end
}

/// `?` and `>` at all three offsets encode to `/` and `+`, which base64url replaces.
fn inner(kind: &str) -> String {
    let sdp = quoted(SDP);
    format!(r#"{{"note":"???>>> ???>>>  ???>>>","type":"{kind}","from":"alice","to":-7,"sdp":{sdp}}}"#)
}

fn outer(data: &str) -> String {
    format!(r#"{{"room":"lobby","data":{}}}"#, quoted(data))
}

fn offers() -> JsonOffers {
    JsonOffers::new().sdp("/data/sdp").peer("/data/from").peer("/data/to")
}

mod pointers {
    use super::*;

    #[test]
    fn go_through_every_encoding() {
        let expected = Some((PeerKey::from(("alice", -7)), Fingerprint::sdp(SDP)));
        for (name, encode) in ENCODINGS {
            assert_eq!(found(&offers(), outer(&encode(&inner("offer")))), expected, "{name}");
        }
    }

    #[test]
    fn go_on_in_an_object_as_well() {
        let message = format!(r#"{{"data":{}}}"#, inner("offer"));
        let expected = Some(PeerKey::from(("alice", -7)));
        assert_eq!(peer(&offers(), &message), expected);
    }

    #[test]
    fn reach_the_kind_inside() {
        for (name, encode) in ENCODINGS {
            for kind in ["answer", "pranswer", "rollback", ""] {
                assert_eq!(found(&offers(), outer(&encode(&inner(kind)))), None, "{name}, {kind}");
            }
            let offers = offers().kind("/room", "lobby").kind("/data/type", "join");
            assert!(found(&offers, outer(&encode(&inner("join")))).is_some(), "{name}");
            assert!(found(&offers, outer(&encode(&inner("offer")))).is_none(), "{name}");
        }
    }

    /// The type of the outer object is that of the envelope.
    #[test]
    fn default_kind_is_inside() {
        for (outside, inside, is_offer) in [
            ("answer", "offer", true),
            ("message", "offer", true),
            ("offer", "answer", false),
        ] {
            let message = format!(r#"{{"type":"{outside}","data":{}}}"#, quoted(&inner(inside)));
            assert_eq!(found(&offers(), message).is_some(), is_offer, "{outside}, {inside}");
        }
    }

    #[test]
    fn mix_inside_and_outside() {
        let offers = JsonOffers::new()
            .sdp("/data/sdp")
            .for_peer("socket-7")
            .peer("/room")
            .peer("/data/from")
            .peer_if_present("/data/none");
        let room = |room: &str| format!(r#"{{"data":{},"room":"{room}"}}"#, quoted(&inner("offer")));
        assert!(peer(&offers, &room("lobby")).is_some());
        assert_ne!(peer(&offers, &room("lobby")), peer(&offers, &room("foyer")));
    }

    #[test]
    fn go_through_four_strings() {
        for (name, encode) in ENCODINGS {
            for (strings, is_found) in [(0, true), (1, true), (3, true), (4, true), (5, false), (9, false)] {
                let message = (0..strings).fold(inner("offer"), |json, _| quoted(&encode(&json)));
                let offers = JsonOffers::new().sdp("/sdp").peer("/from");
                assert_eq!(found(&offers, message).is_some(), is_found, "{name}, {strings}");
            }
        }
    }

    /// Strings count along one pointer, not along one message.
    #[test]
    fn go_through_four_strings_at_any_depth() {
        let nested = |strings| {
            (0..strings).fold(inner("offer"), |json, _| {
                format!(r#"{{"a":{}}}"#, quoted(&STANDARD.encode(json)))
            })
        };
        let offers = |strings: usize| {
            let objects = "/a".repeat(strings);
            JsonOffers::new().sdp(&format!("{objects}/sdp")).for_peer("alice")
        };
        assert!(found(&offers(4), nested(4)).is_some());
        assert!(found(&offers(5), nested(5)).is_none());
    }

    #[test]
    fn index_lists_inside_strings() {
        let offers = JsonOffers::new().sdp("/1/sdp").peer("/0");
        for (name, encode) in ENCODINGS {
            let list = format!(r#"["signal",{}]"#, quoted(&encode(&inner("offer"))));
            assert_eq!(peer(&offers, &list), Some(PeerKey::from("signal")), "{name}");
            assert_eq!(
                peer(&offers, &quoted(&encode(&list))),
                Some(PeerKey::from("signal")),
                "{name}"
            );
        }
    }

    #[test]
    fn end_at_strings_that_cannot_be_read() {
        let valid = inner("offer");
        for data in [
            "",
            "call 7",
            "7",
            "null",
            "\"alice\"",
            &valid[..valid.len() - 1],
            &format!("{valid}}}"),
            &format!("{valid}{valid}"),
            &format!("\u{feff}{valid}"),
            &valid.replace("lobby", "\\ud800").replace("???", "\\ud800"),
            // Base64 of what is not JSON, or not UTF-8, and base64 with an error in it.
            &STANDARD.encode("call 7"),
            &STANDARD.encode(&valid[..valid.len() - 1]),
            &STANDARD.encode(valid.replace("???", "\u{0}")),
            &STANDARD.encode(valid.replace("???", "\u{1}").as_bytes()),
            &STANDARD.encode([valid.as_bytes(), b"\xff"].concat()),
            &STANDARD.encode(STANDARD.encode(&valid)),
            &format!("{}!", STANDARD.encode(&valid)),
            &format!("!{}", STANDARD.encode(&valid)),
            &format!("={}", STANDARD.encode(&valid)),
        ] {
            assert_eq!(found(&offers(), outer(data)), None, "{data}");
        }
    }

    /// A string that breaks off has no members, not even those before the break.
    #[test]
    fn find_nothing_in_broken_strings() {
        let offers = JsonOffers::new()
            .sdp("/sdp")
            .for_peer("socket-7")
            .peer_if_present("/data/from");
        let with = |data: &str| peer(&offers, &format!(r#"{{"sdp":{},"data":{data}}}"#, quoted(SDP)));
        let whole = r#"{"from":"alice"}"#;
        assert_eq!(with(&quoted(whole)), Some(PeerKey::from(("socket-7", "alice"))));

        let absent = with("null");
        assert!(absent.is_some());
        for broken in [
            r#"{"from":"alice""#,
            r#"{"from":"alice"}}"#,
            r#"{"from":"alice","from":}"#,
        ] {
            assert_eq!(with(&quoted(broken)), absent, "{broken}");
            assert_eq!(with(&quoted(&STANDARD.encode(broken))), absent, "{broken}");
        }
    }

    #[test]
    fn last_of_equal_members_counts() {
        let offer = |from: &str, sdp: &str| {
            let (from, sdp) = (quoted(from), quoted(sdp));
            format!(r#"{{"type":"offer","from":{from},"to":7,"sdp":{sdp}}}"#)
        };
        let (a, b) = (offer("alice", "a"), offer("bob", "b"));
        let last = Some((PeerKey::from(("bob", 7)), Fingerprint::exact(b"b")));
        let (text_a, text_b) = (quoted(&a), quoted(&b));
        let (encoded_a, encoded_b) = (quoted(&STANDARD.encode(&a)), quoted(&STANDARD.encode(&b)));
        for (first, second) in [
            (&text_a, &text_b),
            (&text_a, &encoded_b),
            (&encoded_a, &text_b),
            (&a, &encoded_b),
            (&text_a, &b),
        ] {
            let message = format!(r#"{{"data":{first},"data":{second}}}"#);
            assert_eq!(found(&offers(), message), last, "{first}, {second}");
        }
        for second in ["{}", "7", "null", "[]", r#""""#, r#""call 7""#, r#""{}""#, r#""e30=""#] {
            for first in [&a, &text_a, &encoded_a] {
                let message = format!(r#"{{"data":{first},"data":{second}}}"#);
                assert_eq!(found(&offers(), message), None, "{first}, {second}");
            }
        }
        let inside = a.replace(r#""sdp":"a""#, r#""sdp":"a","from":"bob","sdp":"b""#);
        assert_eq!(found(&offers(), outer(&inside)), last);
        assert_eq!(found(&offers(), outer(&STANDARD.encode(inside))), last);
    }

    #[test]
    fn may_end_at_a_string_of_json() {
        let data = inner("offer");
        let offers = JsonOffers::new().sdp("/data/sdp").peer("/data").kind("/data", &data);
        assert_eq!(peer(&offers, &outer(&data)), Some(PeerKey::from(&data)));
        let encoded = STANDARD.encode(&data);
        let offers = JsonOffers::new().sdp("/data/sdp").peer("/data").kind("/data", &encoded);
        assert_eq!(peer(&offers, &outer(&encoded)), Some(PeerKey::from(&encoded)));
    }
}

mod descriptions {
    use super::*;

    fn fingerprint(offers: &JsonOffers, data: &str) -> Option<Fingerprint> {
        found(offers, outer(data)).map(|(_, fingerprint)| fingerprint)
    }

    /// JSON text at the place of a description may be an answer.
    #[test]
    fn are_never_structures() {
        let offers = JsonOffers::new().sdp("/data").for_peer("alice");
        for kind in ["answer", "offer"] {
            let object = inner(kind);
            let list = format!(r#"["{kind}",{object}]"#);
            for json in [&object, &list, "{}", "[]", &quoted(&object), &quoted(&quoted(&list))] {
                for (name, encode) in ENCODINGS {
                    assert_eq!(fingerprint(&offers, &encode(json)), None, "{name} of {json}");
                }
            }
        }
    }

    /// Any other text is an offer, identified by its bytes.
    #[test]
    fn may_be_any_other_text() {
        let offers = JsonOffers::new().sdp("/data").for_peer("alice");
        let encoded_sdp = STANDARD.encode(SDP);
        let encoded_text = STANDARD.encode("call 7");
        for text in [
            "7",
            "true",
            "null",
            "\"call 7\"",
            &quoted(SDP),
            "call 7",
            "{6F9619FF-8B86-D011-B42D-00CF4FC964FF}",
            "{\"type\":",
            "{} {}",
            "[1, 2",
            "c0ffee",
            "e30e30e3",
            &encoded_sdp,
            &encoded_text,
        ] {
            let exact = Fingerprint::exact(text.as_bytes());
            assert_eq!(fingerprint(&offers, text), Some(exact), "{text}");
        }
        assert_eq!(fingerprint(&offers, SDP), Some(Fingerprint::sdp(SDP)));
    }

    /// A description may be sent as it is or inside a string, by different clients.
    #[test]
    fn are_found_by_the_next_pointer() {
        let offers = JsonOffers::new().sdp("/data").sdp("/data/sdp").for_peer("alice");
        let expected = Some(Fingerprint::sdp(SDP));
        assert_eq!(fingerprint(&offers, SDP), expected);
        for (name, encode) in ENCODINGS {
            assert_eq!(fingerprint(&offers, &encode(&inner("offer"))), expected, "{name}");
            assert_eq!(fingerprint(&offers, &encode(&inner("answer"))), None, "{name}");
        }
        let message = format!(r#"{{"data":{}}}"#, inner("offer"));
        assert_eq!(found(&offers, message).map(|(_, fingerprint)| fingerprint), expected);
    }

    /// A structure is recognised past the last string that a pointer can go through.
    #[test]
    fn are_no_structures_at_the_deepest_place() {
        let with_sdp = |sdp: &str| {
            let json = format!(r#"{{"sdp":{}}}"#, quoted(sdp));
            (0..4).fold(json, |json, _| quoted(&json))
        };
        let offers = JsonOffers::new().sdp("/sdp").for_peer("alice");
        assert!(found(&offers, with_sdp(SDP)).is_some());
        assert!(found(&offers, with_sdp(&inner("answer"))).is_none());
        assert!(found(&offers, with_sdp(&STANDARD.encode(inner("answer")))).is_none());
    }

    #[test]
    fn may_be_the_whole_message() {
        let offers = JsonOffers::new().sdp("").for_peer("alice");
        assert!(found(&offers, quoted(SDP)).is_some());
        assert!(found(&offers, quoted(&inner("offer"))).is_none());
        let inside = JsonOffers::new().sdp("/sdp").for_peer("alice");
        assert!(found(&inside, quoted(&inner("offer"))).is_some());
    }
}
