//! `JsonOffers` on the messages of real signaling protocols, and against a parse that builds the tree.

mod agrees;
mod protocols;
mod strings;
mod tree;

use tower_offer_dedup::{
    Fingerprint, JsonOffers, PeerKey,
    extract::{ExtractOffer, Found},
};

const SDP: &str =
    "v=0\r\no=- 20518 0 IN IP4 203.0.113.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n";

/// The peer and the fingerprint of the offer in `message`.
fn found<Req>(offers: &impl ExtractOffer<Req>, message: Req) -> Option<(PeerKey, Fingerprint)> {
    match offers.extract(message) {
        Found::Offer(_, offer) => Some((offer.peer(), offer.fingerprint())),
        Found::Pass(_) => None,
        _ => panic!("a message needs no reading"),
    }
}

fn peer(offers: &JsonOffers, message: &str) -> Option<PeerKey> {
    found(offers, message).map(|(peer, _)| peer)
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string")
}

/// A message with these members and the description.
fn message(members: &str) -> String {
    format!(r#"{{{members},"sdp":{}}}"#, quoted(SDP))
}

mod description {
    use super::*;

    fn offers() -> JsonOffers {
        JsonOffers::new().sdp("/sdp").for_peer("alice")
    }

    #[test]
    fn is_identified_by_its_fingerprint() {
        let expected = Some((PeerKey::from("alice"), Fingerprint::sdp(SDP)));
        assert_eq!(found(&offers(), message(r#""type":"offer""#)), expected);
        assert_eq!(found(&offers(), message(r#""type":"offer""#).into_bytes()), expected);
    }

    #[test]
    fn escapes_and_blanks_do_not_matter() {
        let escaped: String = SDP.chars().map(|char| format!("\\u{:04x}", u32::from(char))).collect();
        let spaced = format!("\r\n {{ \"s\\u0064p\" :\t\"{escaped}\" , \"type\" : \"\\u006Fffer\" }} \n");
        assert_eq!(found(&offers(), spaced), found(&offers(), message(r#""type":"offer""#)));
    }

    #[test]
    fn other_text_is_fingerprinted_exactly() {
        let expected = Some((PeerKey::from("alice"), Fingerprint::exact(b"call 7")));
        assert_eq!(found(&offers(), r#"{"sdp":"call 7"}"#), expected);
    }

    #[test]
    fn only_a_nonempty_string_counts() {
        for message in [
            r#"{"sdp":""}"#,
            r#"{"sdp":null}"#,
            r#"{"sdp":7}"#,
            r#"{"sdp":{"sdp":"v=0"}}"#,
            r#"{}"#,
            "7",
            "",
        ] {
            assert_eq!(found(&offers(), message), None, "{message}");
        }
    }

    #[test]
    fn first_string_of_several_pointers_counts() {
        let offers = JsonOffers::new().sdp("/offer/sdp").sdp("/desc/sdp").for_peer("alice");
        let fingerprint = |message| found(&offers, message).map(|(_, fingerprint)| fingerprint);
        let (a, b) = (Fingerprint::exact(b"a"), Fingerprint::exact(b"b"));
        assert_eq!(fingerprint(r#"{"desc":{"sdp":"b"},"offer":{"sdp":"a"}}"#), Some(a));
        assert_eq!(fingerprint(r#"{"desc":{"sdp":"b"},"offer":{"sdp":null}}"#), Some(b));
        assert_eq!(fingerprint(r#"{"desc":{"sdp":"b"}}"#), Some(b));
        assert_eq!(fingerprint(r#"{"desc":{"sdp":"b"},"offer":{"sdp":""}}"#), None);
        assert_eq!(
            fingerprint(r#"{"desc":{"sdp":"b","type":"answer"},"offer":{"sdp":"a"}}"#),
            Some(a)
        );
        assert_eq!(
            fingerprint(r#"{"desc":{"sdp":"b"},"offer":{"sdp":"a","type":"answer"}}"#),
            None
        );
    }

    #[test]
    fn is_found_anywhere_in_a_message() {
        let whole = JsonOffers::new().sdp("").for_peer("alice");
        assert!(found(&whole, quoted(SDP)).is_some());
        let listed = JsonOffers::new().sdp("/1/0").for_peer("alice");
        assert!(found(&listed, format!("[7,[{}]]", quoted(SDP))).is_some());
        assert!(found(&listed, format!(r#"{{"1":{{"0":{}}}}}"#, quoted(SDP))).is_some());
        assert!(found(&listed, format!("[[{}]]", quoted(SDP))).is_none());
    }
}

mod kind {
    use super::*;

    #[test]
    fn default_is_the_type_beside_it() {
        let offers = JsonOffers::new().sdp("/sdp").for_peer("alice");
        for (members, is_offer) in [
            (r#""type":"offer""#, true),
            (r#""type":"OFFER""#, true),
            (r#""kind":"answer""#, true),
            (r#""type":null"#, true),
            (r#""type":7"#, true),
            (r#""type":"answer""#, false),
            (r#""type":"pranswer""#, false),
            (r#""type":"rollback""#, false),
            (r#""type":"""#, false),
        ] {
            assert_eq!(found(&offers, message(members)).is_some(), is_offer, "{members}");
        }
    }

    #[test]
    fn one_of_several_values_must_match() {
        let offers = JsonOffers::new()
            .sdp("/sdp")
            .for_peer("alice")
            .kind("/kind", "join")
            .kind("/kind", "offer");
        for (members, is_offer) in [
            (r#""kind":"join""#, true),
            (r#""kind":"offer""#, true),
            (r#""type":"answer","kind":"offer""#, true),
            (r#""kind":"OFFER""#, false),
            (r#""kind":["offer"]"#, false),
            (r#""type":"offer""#, false),
        ] {
            assert_eq!(found(&offers, message(members)).is_some(), is_offer, "{members}");
        }
    }

    #[test]
    fn every_pointer_must_match() {
        let offers = JsonOffers::new()
            .sdp("/sdp")
            .for_peer("alice")
            .kind("/op", "peer")
            .kind("/type", "offer");
        assert!(found(&offers, message(r#""op":"peer","type":"offer""#)).is_some());
        assert!(found(&offers, message(r#""op":"peer","type":"answer""#)).is_none());
        assert!(found(&offers, message(r#""op":"list","type":"offer""#)).is_none());
    }
}

mod peers {
    use super::*;

    fn offers() -> JsonOffers {
        JsonOffers::new().sdp("/sdp")
    }

    #[test]
    fn parts_equal_those_of_forget() {
        let one = offers().peer("/from");
        assert_eq!(peer(&one, &message(r#""from":"alice""#)), Some(PeerKey::from("alice")));
        assert_eq!(
            peer(&one, &message(r#""from":"al\u0069ce""#)),
            Some(PeerKey::from("alice"))
        );
        assert_eq!(peer(&one, &message(r#""from":"""#)), Some(PeerKey::from("")));
        assert_eq!(peer(&one, &message(r#""from":7"#)), Some(PeerKey::from(7)));

        let three = offers().peer("/room").peer("/from").peer("/to");
        let expected = PeerKey::from((7, "alice", "bob"));
        assert_eq!(
            peer(&three, &message(r#""to":"bob","room":7,"from":"alice""#)),
            Some(expected)
        );
    }

    #[test]
    fn integers_are_keyed_by_value() {
        let offers = offers().peer("/from");
        for (json, key) in [
            ("0", PeerKey::from(0)),
            ("7", PeerKey::from(7_u8)),
            ("-7", PeerKey::from(-7_i8)),
            ("-7", PeerKey::from(-7_i64)),
            ("5125434687624134", PeerKey::from(5_125_434_687_624_134_u128)),
            ("18446744073709551615", PeerKey::from(u64::MAX)),
            ("-9223372036854775808", PeerKey::from(i64::MIN)),
            ("7.0", PeerKey::from(7)),
            ("7e0", PeerKey::from(7)),
            ("1e3", PeerKey::from(1000)),
            ("-0", PeerKey::from(0)),
            ("-0.0", PeerKey::from(0)),
            // Past 64 bits `serde_json` rounds, here by one.
            ("18446744073709551616", PeerKey::from(1_u128 << 64)),
            ("18446744073709551617", PeerKey::from(1_u128 << 64)),
            ("-9223372036854775809", PeerKey::from(i64::MIN)),
        ] {
            assert_eq!(
                peer(&offers, &message(&format!(r#""from":{json}"#))),
                Some(key),
                "{json}"
            );
        }
    }

    #[test]
    fn other_scalars_are_keyed_as_text() {
        let offers = offers().peer("/from");
        for (json, text) in [
            ("1.50", "1.5"),
            ("-1e-7", "-0.0000001"),
            ("true", "true"),
            ("false", "false"),
        ] {
            assert_eq!(
                peer(&offers, &message(&format!(r#""from":{json}"#))),
                Some(PeerKey::from(text)),
                "{json}"
            );
        }
    }

    #[test]
    fn missing_part_passes() {
        let offers = offers().peer("/from").peer_if_present("/to");
        for members in [
            r#""a":1"#,
            r#""from":null"#,
            r#""from":[]"#,
            r#""from":{"id":1}"#,
            r#""from":"a","to":["b"]"#,
        ] {
            assert_eq!(peer(&offers, &message(members)), None, "{members}");
        }
        assert_eq!(
            peer(&JsonOffers::new().sdp("/sdp"), &message(r#""from":"alice""#)),
            None
        );
    }

    #[test]
    fn optional_part_may_be_missing() {
        let offers = offers().peer("/from").peer_if_present("/room");
        let [none, null, empty, seven] = [
            r#""from":"a""#,
            r#""from":"a","room":null"#,
            r#""from":"a","room":"""#,
            r#""from":"a","room":7"#,
        ]
        .map(|members| peer(&offers, &message(members)).expect("an offer"));
        assert_eq!(none, null);
        assert_ne!(none, empty);
        assert_ne!(none, PeerKey::from("a"));
        assert_eq!(empty, PeerKey::from(("a", "")));
        assert_eq!(seven, PeerKey::from(("a", 7)));
    }

    #[test]
    fn bound_parts_come_first() {
        let bound = offers().for_peer(("room-7", "alice"));
        assert_eq!(
            peer(&bound, &message(r#""to":"bob""#)),
            Some(PeerKey::from(("room-7", "alice")))
        );

        let bound = bound.peer("/to");
        let expected = PeerKey::from(("room-7", "alice", "bob"));
        assert_eq!(peer(&bound, &message(r#""to":"bob""#)), Some(expected));
        assert_eq!(peer(&bound, &message(r#""a":1"#)), None);

        let rebound = bound.for_peer(-7);
        let expected = PeerKey::from((-7, "bob"));
        assert_eq!(peer(&rebound, &message(r#""to":"bob""#)), Some(expected));
    }

    #[test]
    fn bound_key_is_one_part() {
        let key = PeerKey::from(("room-7", "alice"));
        let bound = offers().for_peer(key);
        assert_eq!(peer(&bound, &message(r#""to":"bob""#)), Some(key));

        let expected = PeerKey::from((key, "bob"));
        assert_eq!(peer(&bound.peer("/to"), &message(r#""to":"bob""#)), Some(expected));
    }

    /// The order of the calls on the extractor does not matter: bound parts come first.
    #[test]
    fn clones_bind_their_own_peers() {
        let shared = offers().peer("/to");
        let [alice, carol] = ["alice", "carol"].map(|user| shared.clone().for_peer(("room-7", user)));
        let to_bob = message(r#""to":"bob""#);
        assert_eq!(peer(&alice, &to_bob), Some(PeerKey::from(("room-7", "alice", "bob"))));
        assert_eq!(peer(&carol, &to_bob), Some(PeerKey::from(("room-7", "carol", "bob"))));
        assert_eq!(peer(&shared, &to_bob), Some(PeerKey::from("bob")));
    }

    /// Parts may be tokens.
    #[test]
    fn debug_hides_bound_parts() {
        let shown = format!("{:?}", offers().peer("/from").for_peer(("lobby", "s3cret")));
        assert!(shown.starts_with("JsonOffers"), "{shown}");
        assert!(!shown.contains("s3cret") && !shown.contains("lobby"), "{shown}");
    }

    #[test]
    fn description_may_be_a_part() {
        let offers = offers().peer("/sdp");
        assert_eq!(peer(&offers, &message(r#""a":1"#)), Some(PeerKey::from(SDP)));
    }
}

mod pointers {
    use super::*;

    #[test]
    fn leading_slash_is_optional() {
        let offers = JsonOffers::new().sdp("a/b").for_peer("alice");
        assert!(found(&offers, r#"{"a":{"b":"call 7"}}"#).is_some());
        for pointer in ["/a~1b/m~0n", "a~1b/m~0n"] {
            let offers = JsonOffers::new().sdp(pointer).for_peer("alice");
            assert!(found(&offers, r#"{"a/b":{"m~n":"call 7"}}"#).is_some(), "{pointer}");
        }
        let offers = JsonOffers::new().sdp("/").for_peer("alice");
        assert!(found(&offers, r#"{"":"call 7"}"#).is_some());
    }
}

mod messages {
    use super::*;

    fn offers() -> JsonOffers {
        JsonOffers::new().sdp("/d/sdp").peer("/from")
    }

    fn fingerprint(message: &str) -> Option<Fingerprint> {
        found(&offers(), message).map(|(_, fingerprint)| fingerprint)
    }

    #[test]
    fn last_of_equal_members_counts() {
        let last = Some(Fingerprint::exact(b"b"));
        assert_eq!(fingerprint(r#"{"from":"x","d":{"sdp":"a","sdp":"b"}}"#), last);
        assert_eq!(fingerprint(r#"{"from":"x","d":{"sdp":"a"},"d":{"sdp":"b"}}"#), last);
        assert_eq!(fingerprint(r#"{"from":"x","d":{"sdp":"a"},"d":{}}"#), None);
        assert_eq!(fingerprint(r#"{"from":"x","d":{"sdp":"a"},"d":7}"#), None);
        assert_eq!(fingerprint(r#"{"from":"x","d":{"sdp":"b"},"from":null}"#), None);
        assert_eq!(
            fingerprint(r#"{"from":"x","d":{"type":"answer","sdp":"b","type":null}}"#),
            last
        );
    }

    #[test]
    fn only_whole_json_counts() {
        let valid = r#"{"from":"x","d":{"sdp":"b"},"more":[1,{"a":"ü"}]}"#;
        assert!(fingerprint(valid).is_some());
        for end in (0..valid.len()).filter(|end| valid.is_char_boundary(*end)) {
            assert_eq!(fingerprint(&valid[..end]), None);
        }
        for garbage in ["}", ",", "{}", "x", "\0", "\u{feff}"] {
            assert_eq!(fingerprint(&format!("{valid}{garbage}")), None, "{garbage:?}");
            assert_eq!(fingerprint(&format!("{garbage}{valid}")), None, "{garbage:?}");
        }
        for more in [r#""\ud800""#, "1e999", "01", "'a'", "nul", r#""\x""#, "\"\t\""] {
            assert_eq!(
                fingerprint(&format!(r#"{{"from":"x","d":{{"sdp":"b"}},"more":{more}}}"#)),
                None,
                "{more}"
            );
        }
        assert_eq!(
            found(
                &offers(),
                b"{\"from\":\"x\",\"d\":{\"sdp\":\"b\"},\"more\":\"\xff\"}".as_slice()
            ),
            None
        );
    }

    #[test]
    fn nesting_is_limited_as_in_serde_json() {
        for (open, close) in [("[", "]"), (r#"{"more":"#, "}"), (r#"{"d":"#, "}"), (r#"[{"d":"#, "}]")] {
            let nested = |depth: usize| {
                let (open, close) = (open.repeat(depth), close.repeat(depth));
                format!(r#"{{"from":"x","d":{{"sdp":"b"}},"more":{open}7{close}}}"#)
            };
            for depth in [1, 60, 63, 64, 100, 126, 127, 128, 129, 1_000_000] {
                let message = nested(depth);
                let parses = serde_json::from_str::<serde_json::Value>(&message).is_ok();
                assert_eq!(fingerprint(&message).is_some(), parses, "{depth} × {open}");
            }
            assert_eq!(fingerprint(&open.repeat(1_000_000)), None);
        }
    }
}
