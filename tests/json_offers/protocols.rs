//! One offer, one answer and one candidate of each protocol.

use std::{fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use tower_offer_dedup::{Fingerprint, JsonOffers, Offer, PeerKey, extract::ExtractOffer};

use crate::{SDP, found, quoted};

/// Expects the offer of `peer`, with [`SDP`], in `offer`, and no offer in `others`.
fn check(offers: &JsonOffers, peer: impl Into<PeerKey>, offer: &str, others: &[&str]) {
    let with_sdp = |message: &str| message.replace("$SDP", &quoted(SDP));
    assert_eq!(
        found(offers, with_sdp(offer)),
        Some((peer.into(), Fingerprint::sdp(SDP))),
        "{offer}"
    );
    for other in others {
        assert!(serde_json::from_str::<Value>(&with_sdp(other)).is_ok(), "{other}");
        assert_eq!(found(offers, with_sdp(other)), None, "{other}");
    }
}

#[test]
fn w3c_example() {
    check(
        &JsonOffers::new().sdp("/description/sdp").for_peer("socket-7"),
        "socket-7",
        r#"{"description":{"type":"offer","sdp":$SDP}}"#,
        &[
            r#"{"description":{"type":"answer","sdp":$SDP}}"#,
            r#"{"candidate":{"candidate":"candidate:1 1 udp 1 203.0.113.7 5 typ host","sdpMid":"0","sdpMLineIndex":0}}"#,
        ],
    );
}

#[test]
fn bare() {
    check(
        &JsonOffers::new().sdp("/sdp").peer("/from").peer("/to"),
        ("alice", "bob"),
        r#"{"type":"offer","from":"alice","to":"bob","sdp":$SDP}"#,
        &[
            r#"{"type":"answer","from":"alice","to":"bob","sdp":$SDP}"#,
            r#"{"type":"candidate","from":"alice","to":"bob","candidate":"candidate:1 1 udp 1 203.0.113.7 5 typ host"}"#,
            r#"{"type":"leave","from":"alice"}"#,
        ],
    );
}

#[test]
fn aiortc() {
    check(
        &JsonOffers::new().sdp("/sdp").for_peer("203.0.113.7"),
        "203.0.113.7",
        r#"{"sdp": $SDP, "type": "offer", "video_transform": "none"}"#,
        &[r#"{"sdp": $SDP, "type": "answer"}"#],
    );
}

#[test]
fn janus() {
    check(
        &JsonOffers::new()
            .sdp("/jsep/sdp")
            .peer("/session_id")
            .peer("/handle_id")
            .peer_if_present("/body/room"),
        (5_125_434_687_624_134_u64, 3_241_765_439_876_543_u64, 1234),
        r#"{"janus":"message","transaction":"Zk3vQ0","session_id":5125434687624134,"handle_id":3241765439876543,
            "body":{"request":"configure","room":1234,"audio":true},"jsep":{"type":"offer","sdp":$SDP}}"#,
        &[
            r#"{"janus":"message","transaction":"a","session_id":5125434687624134,"handle_id":3241765439876543,
                "body":{"request":"start"},"jsep":{"type":"answer","sdp":$SDP}}"#,
            r#"{"janus":"trickle","transaction":"b","session_id":5125434687624134,"handle_id":3241765439876543,
                "candidate":{"candidate":"candidate:1 1 udp 1 203.0.113.7 5 typ host","sdpMid":"0","sdpMLineIndex":0}}"#,
            r#"{"janus":"keepalive","transaction":"c","session_id":5125434687624134}"#,
        ],
    );
}

#[test]
fn ion_sfu() {
    let offers = JsonOffers::new()
        .sdp("/params/offer/sdp")
        .sdp("/params/desc/sdp")
        .kind("/method", "join")
        .kind("/method", "offer")
        .for_peer("socket-7")
        .peer_if_present("/params/sid");
    check(
        &offers,
        ("socket-7", "test room"),
        r#"{"method":"join","params":{"sid":"test room","uid":"alice","offer":{"type":"offer","sdp":$SDP}},"id":"1"}"#,
        &[
            r#"{"method":"answer","params":{"desc":{"type":"answer","sdp":$SDP}}}"#,
            r#"{"method":"trickle","params":{"target":0,"candidate":{"candidate":"candidate:1 1 udp 1 203.0.113.7 5 typ host"}}}"#,
        ],
    );
    let renegotiated = format!(
        r#"{{"method":"offer","params":{{"desc":{{"type":"offer","sdp":{}}}}},"id":"2"}}"#,
        quoted(SDP)
    );
    assert_eq!(
        found(&offers, renegotiated).map(|(_, fingerprint)| fingerprint),
        Some(Fingerprint::sdp(SDP))
    );
}

#[test]
fn galene() {
    check(
        &JsonOffers::new().sdp("/sdp").peer("/source").peer("/id"),
        ("c0ffee", "stream-1"),
        r#"{"type":"offer","id":"stream-1","label":"camera","source":"c0ffee","username":"alice","sdp":$SDP}"#,
        &[
            r#"{"type":"answer","id":"stream-1","sdp":$SDP}"#,
            r#"{"type":"ice","id":"stream-1","candidate":{"candidate":"candidate:1 1 udp 1 203.0.113.7 5 typ host"}}"#,
        ],
    );
}

#[test]
fn gst_plugins_rs() {
    check(
        &JsonOffers::new()
            .kind("/type", "peer")
            .kind("/sdp/type", "offer")
            .sdp("/sdp/sdp")
            .for_peer("socket-7")
            .peer("/sessionId"),
        ("socket-7", "d52b0d6c"),
        r#"{"type":"peer","sessionId":"d52b0d6c","sdp":{"type":"offer","sdp":$SDP}}"#,
        &[
            r#"{"type":"peer","sessionId":"d52b0d6c","sdp":{"type":"answer","sdp":$SDP}}"#,
            r#"{"type":"peer","sessionId":"d52b0d6c","ice":{"candidate":"candidate:1 1 udp 1 203.0.113.7 5 typ host","sdpMLineIndex":0}}"#,
            r#"{"type":"startSession","peerId":"d52b0d6c"}"#,
        ],
    );
}

#[test]
fn nextcloud() {
    check(
        &JsonOffers::new()
            .kind("/message/data/type", "offer")
            .sdp("/message/data/payload/sdp")
            .for_peer("socket-7")
            .peer("/message/recipient/sessionid"),
        ("socket-7", "mJ9pT2"),
        r#"{"type":"message","message":{"recipient":{"type":"session","sessionid":"mJ9pT2"},"data":{"to":"mJ9pT2",
            "sid":"1700000000","roomType":"video","type":"offer","payload":{"type":"offer","sdp":$SDP,"nick":"Alice"}}}}"#,
        &[
            r#"{"type":"message","message":{"recipient":{"type":"session","sessionid":"mJ9pT2"},"data":{"to":"mJ9pT2",
                "sid":"1700000000","roomType":"video","type":"answer","payload":{"type":"answer","sdp":$SDP}}}}"#,
            r#"{"type":"message","message":{"recipient":{"type":"session","sessionid":"mJ9pT2"},"data":{"type":"candidate",
                "payload":{"candidate":{"candidate":"candidate:1 1 udp 1 203.0.113.7 5 typ host","sdpMid":"0"}}}}}"#,
            r#"{"type":"message","message":{"recipient":{"type":"session","sessionid":"mJ9pT2"},"data":{"type":"requestoffer"}}}"#,
        ],
    );
}

#[test]
fn matrix() {
    check(
        &JsonOffers::new()
            .sdp("/content/offer/sdp")
            .peer("/room_id")
            .peer("/content/call_id")
            .peer("/sender")
            .peer("/content/party_id"),
        ("!room:example.org", "12345", "@alice:example.org", "67890"),
        r#"{"type":"m.call.invite","event_id":"$e1","room_id":"!room:example.org","sender":"@alice:example.org",
            "content":{"version":"1","call_id":"12345","party_id":"67890","lifetime":60000,"offer":{"type":"offer","sdp":$SDP}}}"#,
        &[
            r#"{"type":"m.call.answer","room_id":"!room:example.org","sender":"@bob:example.org",
                "content":{"version":"1","call_id":"12345","party_id":"33333","answer":{"type":"answer","sdp":$SDP}}}"#,
            r#"{"type":"m.call.candidates","room_id":"!room:example.org","sender":"@bob:example.org",
                "content":{"version":"1","call_id":"12345","party_id":"33333","candidates":[{"sdpMid":"0","candidate":"candidate:1"}]}}"#,
        ],
    );
}

#[test]
fn srs() {
    check(
        &JsonOffers::new().sdp("/sdp").peer("/streamurl"),
        "webrtc://203.0.113.1/live/livestream",
        r#"{"api":"http://203.0.113.1:1985/rtc/v1/publish/","streamurl":"webrtc://203.0.113.1/live/livestream","sdp":$SDP}"#,
        &[r#"{"code":0,"server":"vid-1","sessionid":"k3:Zk3v","sdp":$SDP}"#],
    );
}

#[test]
fn socket_io() {
    enum Packet {
        Text(String),
        Binary,
    }
    let offers = JsonOffers::of(|packet: &Packet| match packet {
        Packet::Text(text) => text.trim_start_matches(|char: char| char.is_ascii_digit()).as_bytes(),
        Packet::Binary => &[],
    })
    .sdp("/1/sdp")
    .for_peer("socket-7")
    .peer_if_present("/1/to");

    let packet = |text: &str| Packet::Text(text.replace("$SDP", &quoted(SDP)));
    let offer = packet(r#"42["signal",{"type":"offer","to":"bob","sdp":$SDP}]"#);
    let expected = PeerKey::from(("socket-7", "bob"));
    assert_eq!(found(&offers, offer), Some((expected, Fingerprint::sdp(SDP))));
    let acknowledged = packet(r#"4213["signal",{"type":"offer","to":"bob","sdp":$SDP}]"#);
    assert_eq!(found(&offers, acknowledged), Some((expected, Fingerprint::sdp(SDP))));
    for text in [
        r#"42["signal",{"type":"answer","to":"bob","sdp":$SDP}]"#,
        r#"42["signal",{"candidate":{}}]"#,
        "2",
        "40",
    ] {
        assert_eq!(found(&offers, packet(text)), None, "{text}");
    }
    assert_eq!(found(&offers, Packet::Binary), None);
}

/// LiveKit's messages are protobuf. A closure reads the decoded message.
#[test]
fn livekit() {
    enum SignalRequest {
        Offer { kind: String, sdp: String },
        Trickle,
    }
    let offers = |request: &SignalRequest| match request {
        SignalRequest::Offer { kind, sdp } if kind == "offer" => {
            Some(Offer::new(("room-7", "alice"), Fingerprint::sdp(sdp)))
        }
        _ => None,
    };
    let request = |kind: &str| SignalRequest::Offer {
        kind: kind.into(),
        sdp: SDP.into(),
    };
    let expected = Some((PeerKey::from(("room-7", "alice")), Fingerprint::sdp(SDP)));
    assert_eq!(found(&offers, request("offer")), expected);
    assert_eq!(found(&offers, request("answer")), None);
    assert_eq!(found(&offers, SignalRequest::Trickle), None);
}

/// Amazon Kinesis Video Streams sends the description as base64 of JSON.
#[test]
fn kvs() {
    let offers = JsonOffers::new()
        .kind("/action", "SDP_OFFER")
        .sdp("/messagePayload/sdp")
        .peer("/recipientClientId");
    let message = |action: &str, payload: &str| {
        let payload = STANDARD.encode(payload.replace("$SDP", &quoted(SDP)));
        format!(r#"{{"action":"{action}","recipientClientId":"viewer-1","messagePayload":"{payload}"}}"#)
    };
    let offer = message("SDP_OFFER", r#"{"type":"offer","sdp":$SDP}"#);
    let expected = Some((PeerKey::from("viewer-1"), Fingerprint::sdp(SDP)));
    assert_eq!(found(&offers, offer), expected);

    let answer = message("SDP_ANSWER", r#"{"type":"answer","sdp":$SDP}"#);
    assert_eq!(found(&offers, answer), None);
    let candidate = message("ICE_CANDIDATE", r#"{"candidate":"candidate:1","sdpMid":"0"}"#);
    assert_eq!(found(&offers, candidate), None);
}

/// The messages that pages sent over their sockets, each with the socket's address.
fn captured(file: &str) -> Vec<(String, String)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/captures")
        .join(file);
    let sent: Vec<Value> = serde_json::from_str(&fs::read_to_string(file).expect("a capture")).expect("its messages");
    let field = |message: &Value, name| message[name].as_str().expect("a string").to_owned();
    sent.iter()
        .map(|message| (field(message, "url"), field(message, "data")))
        .collect()
}

/// PeerJS identifies the sender by its socket, whose address holds the id.
#[test]
fn peerjs() {
    let offers = JsonOffers::new()
        .kind("/type", "OFFER")
        .sdp("/payload/sdp/sdp")
        .peer("/dst")
        .peer("/payload/connectionId");
    let mut kinds = Vec::new();
    for (url, text) in captured("peerjs.sent.json") {
        let (_, from) = url.split_once("&id=").expect("an id");
        let (from, _) = from.split_once('&').expect("more parameters");
        let message: Value = serde_json::from_str(&text).expect("JSON");
        let part = |pointer| message.pointer(pointer).and_then(Value::as_str).unwrap_or("");

        let expected = (message["type"] == "OFFER").then(|| {
            let peer = (from, part("/dst"), part("/payload/connectionId"));
            (PeerKey::from(peer), Fingerprint::sdp(part("/payload/sdp/sdp")))
        });
        assert_eq!(found(&offers.clone().for_peer(from), text.as_str()), expected, "{text}");

        // The server adds the sender when it forwards the message.
        let mut relayed = message.clone();
        relayed["src"] = from.into();
        assert_eq!(
            found(&offers.clone().peer("/src"), relayed.to_string()).is_some(),
            expected.is_some()
        );
        kinds.push(message["type"].clone());
    }
    let count = |kind: &str| kinds.iter().filter(|known| *known == kind).count();
    assert_eq!((count("OFFER"), count("ANSWER"), count("CANDIDATE")), (3, 3, 16));
}

#[test]
fn y_webrtc() {
    let offers = JsonOffers::new()
        .sdp("/data/signal/sdp")
        .peer("/topic")
        .peer("/data/from")
        .peer("/data/to");
    let mut answers = 0;
    for file in ["ywebrtc-page1.sent.json", "ywebrtc-page2.sent.json"] {
        for (_, text) in captured(file) {
            assert_eq!(found(&offers, text.as_str()), None, "{text}");
            let message: Value = serde_json::from_str(&text).expect("JSON");
            if message
                .pointer("/data/signal/type")
                .is_some_and(|kind| kind == "answer")
            {
                // The captured page answered. Its peer's offers have the same shape.
                let offer = text.replace(r#""type":"answer""#, r#""type":"offer""#);
                let part = |pointer| message.pointer(pointer).and_then(Value::as_str).expect("a string");
                let peer = PeerKey::from((part("/topic"), part("/data/from"), part("/data/to")));
                assert_eq!(
                    found(&offers, offer),
                    Some((peer, Fingerprint::sdp(part("/data/signal/sdp"))))
                );
                answers += 1;
            }
        }
    }
    assert_eq!(answers, 1);
}

#[test]
fn text_types_are_requests() {
    fn is_extractor<Req>(_: &impl ExtractOffer<Req, Request = Req>) {}
    is_extractor::<String>(&JsonOffers::new());
    is_extractor::<Vec<u8>>(&JsonOffers::new());
    is_extractor::<&str>(&JsonOffers::new());
}
