//! The fields that identify an offer, and those that do not.

use std::{collections::HashSet, time::Instant};

use tower_offer_dedup::Fingerprint;

const OFFER: &str = "v=0
o=- 4611731400430051336 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1 2
a=group:LS 0 1
a=extmap-allow-mixed
a=msid-semantic: WMS stream
m=audio 9 UDP/TLS/RTP/SAVPF 111 0 8
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=ice-ufrag:7h6h
a=ice-pwd:lF1Q6I2sAcQC21gBAS7eiHIh
a=ice-options:trickle
a=fingerprint:sha-256 1A:B2:3F
a=fingerprint:sha-384 4C:5D:6E
a=setup:actpass
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=sendonly
a=msid:stream microphone
a=msid:other microphone
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1
a=ssrc:601170599 cname:LO
a=ssrc:601170599 msid:stream microphone
m=video 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=ice-ufrag:7h6h
a=ice-pwd:lF1Q6I2sAcQC21gBAS7eiHIh
a=fingerprint:sha-256 1A:B2:3F
a=setup:actpass
a=mid:1
a=recvonly
a=rid:q send
a=simulcast:send q
a=ssrc-group:FID 1111 2222
a=ssrc:1111 cname:LO
a=ssrc:2222 cname:LO
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=ice-ufrag:7h6h
a=ice-pwd:lF1Q6I2sAcQC21gBAS7eiHIh
a=fingerprint:sha-256 1A:B2:3F
a=setup:actpass
a=mid:2
a=sctp-port:5000
a=max-message-size:262144
";

fn changed(from: &str, to: &str) -> Fingerprint {
    assert!(OFFER.contains(from), "{from:?} is not in the offer");
    Fingerprint::sdp(&OFFER.replacen(from, to, 1))
}

#[test]
fn identity_fields_change_fingerprint() {
    let cases = [
        ("o=-", "o=alice"),
        ("o=- 4611731400430051336", "o=- 4611731400430051337"),
        ("51336 2 IN", "51336 3 IN"),
        ("IP4 127.0.0.1", "IP4 127.0.0.2"),
        ("BUNDLE 0 1 2", "BUNDLE 0 1"),
        ("a=group:LS 0 1\n", ""),
        (
            "a=group:BUNDLE 0 1 2\na=group:LS 0 1",
            "a=group:LS 0 1\na=group:BUNDLE 0 1 2",
        ),
        ("m=audio", "m=video"),
        ("UDP/TLS/RTP/SAVPF 111", "TCP/TLS/RTP/SAVPF 111"),
        ("111 0 8", "111 8 0"),
        ("111 0 8", "111 0"),
        ("m=audio 9 ", "m=audio 0 "),
        ("ice-ufrag:7h6h", "ice-ufrag:Q7uz"),
        ("ice-pwd:lF1Q", "ice-pwd:MyaQ"),
        ("sha-256 1A", "sha-256 1B"),
        ("sha-256 1A", "sha-512 1A"),
        ("a=fingerprint:sha-384 4C:5D:6E\n", ""),
        ("setup:actpass", "setup:active"),
        ("mid:0", "mid:a"),
        ("a=sendonly", "a=sendrecv"),
        ("a=sendonly", "a=inactive"),
        ("a=sendonly\n", ""),
        ("a=recvonly", "a=sendonly"),
        ("a=msid:stream", "a=msid:else"),
        ("a=msid:other microphone\n", ""),
        ("a=ssrc:1111", "a=ssrc:3333"),
        (
            "a=ssrc:1111 cname:LO\na=ssrc:2222 cname:LO",
            "a=ssrc:2222 cname:LO\na=ssrc:1111 cname:LO",
        ),
        ("a=ssrc:2222 cname:LO\n", ""),
        ("sctp-port:5000", "sctp-port:5001"),
        ("m=video", "m=audio 9 UDP/TLS/RTP/SAVPF 0\nm=video"),
    ];
    for (from, to) in cases {
        assert_ne!(changed(from, to), Fingerprint::sdp(OFFER), "{from:?} -> {to:?}");
    }
}

#[test]
fn other_fields_keep_fingerprint() {
    let cases = [
        ("s=-", "s=call"),
        ("t=0 0", "t=0 0\nb=AS:2000"),
        ("a=extmap-allow-mixed\n", ""),
        ("WMS stream", "WMS"),
        ("m=audio 9 ", "m=audio 54321 "),
        ("c=IN IP4 0.0.0.0", "c=IN IP4 203.0.113.7"),
        ("a=rtcp:9 IN IP4 0.0.0.0\n", "a=rtcp:54322 IN IP4 203.0.113.7\n"),
        (
            "a=ice-options:trickle",
            "a=candidate:1 1 udp 1 203.0.113.7 5 typ host\na=end-of-candidates",
        ),
        ("a=rtpmap:111 opus", "a=rtpmap:111 OPUS"),
        ("a=fmtp:111 minptime=10;useinbandfec=1\n", ""),
        ("a=rtcp-fb:111 transport-cc\n", ""),
        ("a=extmap:1", "a=extmap:2"),
        ("a=rid:q send\na=simulcast:send q\n", ""),
        ("a=ssrc-group:FID 1111 2222\n", ""),
        ("a=ssrc:601170599 msid:stream microphone\n", ""),
        (
            "a=ssrc:1111 cname:LO\na=ssrc:2222 cname:LO",
            "a=ssrc:1111 a\na=ssrc:2222 a\na=ssrc:1111 b\na=ssrc:2222 b",
        ),
        ("262144", "65536"),
    ];
    for (from, to) in cases {
        assert_eq!(changed(from, to), Fingerprint::sdp(OFFER), "{from:?} -> {to:?}");
    }
}

#[test]
fn sections_inherit_session_values() {
    let shared = "a=ice-ufrag:7h6h\na=ice-pwd:lF1Q6I2sAcQC21gBAS7eiHIh\n";
    let certificate = "a=fingerprint:sha-256 1A:B2:3F\na=setup:actpass\n";
    let own = OFFER.replace("a=fingerprint:sha-384 4C:5D:6E\n", "");
    let session = own
        .replace(shared, "")
        .replace(certificate, "")
        .replace("t=0 0\n", &format!("t=0 0\n{shared}{certificate}a=sendrecv\n"));
    assert_eq!(session.matches("ice-ufrag").count(), 1);
    assert_eq!(Fingerprint::sdp(&session), Fingerprint::sdp(&own));

    let inactive = session.replace("a=sendrecv", "a=inactive");
    assert_ne!(
        Fingerprint::sdp(&inactive),
        Fingerprint::sdp(&session),
        "the data channel inherits the direction"
    );
    assert_eq!(
        changed("t=0 0\n", "t=0 0\na=sendrecv\na=setup:passive\n"),
        Fingerprint::sdp(OFFER)
    );
}

#[test]
fn values_do_not_collide_across_fields() {
    let texts = [
        "a=mid:x",
        "a=msid:x",
        "a=ice-ufrag:x",
        "a=ice-pwd:x",
        "a=setup:x",
        "a=sctp-port:x",
        "a=ssrc:x",
    ]
    .map(|line| format!("v=0\no=-\nm=audio 9 P 0\n{line}\n"));
    let moved = [
        "m=audio 9 P 0\nm=audio 9 P 0\na=mid:x",
        "m=audio 9 P 0\na=mid:x\nm=audio 9 P 0",
        "m=audio 9 P 0 0",
    ]
    .map(|sections| format!("v=0\no=-\n{sections}\n"));
    let all: Vec<_> = texts.iter().chain(&moved).map(|text| Fingerprint::sdp(text)).collect();
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
}

/// Past 64 ids, a repeated id is only recognised on the next line, which is where clients put it.
#[test]
fn repeated_ssrc_counts_once() {
    let offer = |lines: &str| Fingerprint::sdp(&format!("v=0\no=-\nm=video 9 P 96\n{lines}"));
    for ids in [1, 64, 65, 1000] {
        let lines = |line: &str| -> String { (0..ids).map(|id| line.replace('$', &id.to_string())).collect() };
        let once = offer(&lines("a=ssrc:$ cname:x\n"));
        assert_eq!(offer(&lines("a=ssrc:$ msid:a\na=ssrc:$ cname:x\na=ssrc:$\n")), once);
        assert_ne!(offer(&(lines("a=ssrc:$ cname:x\n") + "a=ssrc:x\n")), once);
        let apart = offer(&(lines("a=ssrc:$ cname:x\n") + &lines("a=ssrc:$ msid:a\n")));
        assert_eq!(apart == once, ids <= 64, "{ids}");
    }
}

/// Covers clients that have no offers in the corpus.
#[test]
fn harmless_spellings_keep_fingerprint() {
    let rewritten = [
        OFFER.replacen("v=0\n", "v=0 \t\r\n", 1),
        OFFER.replace('\n', "\n\n"),
        OFFER.replace("a=mid", "\r\na=mid"),
        OFFER
            .replace("\nm=", "\r\nm=")
            .replace("\na=setup:actpass", "\na=setup:actpass\t \r"),
        OFFER.replace(" 9 ", " 1 "),
        OFFER.replace(" 9 ", " 65535 "),
        OFFER.replace("m=audio 9 ", "m=audio 9/2 "),
        OFFER.replace(
            "a=rtcp-mux\n",
            "a=rtcp-mux\na=rtcp-mux-only\na=ice-options:trickle ice2 renomination\n",
        ),
        OFFER.replace(
            "t=0 0\n",
            "u=https://example.org\nt=0 0\na=ice-lite\na=ice-options:trickle\na=tool:x 1.0\n",
        ),
        OFFER.replace("s=-", "s= "),
        OFFER.replace("a=ssrc-group:FID 1111 2222", "a=ssrc-group:SIM 1111 2222"),
        OFFER.replace("cname:LO", "cname:{5f3c6a1e-0000-4b52-8c3c-17f0c2e6a001}"),
    ];
    for text in rewritten {
        assert_ne!(text, OFFER);
        assert_eq!(Fingerprint::sdp(&text), Fingerprint::sdp(OFFER), "{text}");
    }
    assert_eq!(Fingerprint::sdp(OFFER.trim_ascii_end()), Fingerprint::sdp(OFFER));
}

/// A change here comes from another offer, or from a client that departs from RFC 8866.
#[test]
fn identity_fields_count_exactly() {
    let cases = [
        ("sha-256 1A:B2:3F", "sha-256 1a:b2:3f"),
        ("sha-256", "SHA-256"),
        ("a=mid:0", "a=mid: 0"),
        ("a=mid:0", "a=MID:0"),
        ("m=audio 9 ", "m=audio\t9 "),
        ("a=ssrc:1111 cname", "a=ssrc:1111\tcname"),
        ("a=sendonly", "a=sendonly:"),
        ("a=fingerprint:sha-384 4C:5D:6E\n", "a=fingerprint:sha-256 1A:B2:3F\n"),
    ];
    for (from, to) in cases {
        assert_ne!(changed(from, to), Fingerprint::sdp(OFFER), "{from:?} -> {to:?}");
    }
}

#[test]
fn port_zero_section_counts_normally() {
    let bundled = OFFER.replace("m=video 9 ", "m=video 0 ");
    for (from, to) in [
        ("m=video 0 ", "m=video 9 "),
        ("a=mid:1", "a=mid:x"),
        ("a=ssrc:1111", "a=ssrc:3333"),
    ] {
        assert!(bundled.contains(from));
        assert_ne!(
            Fingerprint::sdp(&bundled.replace(from, to)),
            Fingerprint::sdp(&bundled),
            "{from:?} -> {to:?}"
        );
    }
    let marked = bundled.replace("a=mid:1\n", "a=mid:1\na=bundle-only\n");
    assert_eq!(Fingerprint::sdp(&marked), Fingerprint::sdp(&bundled));
}

/// Each credential is inherited alone: a section may set its own password and inherit the user fragment.
#[test]
fn ice_credentials_are_inherited_separately() {
    let of = |session: &str, section: &str| {
        Fingerprint::sdp(&format!(
            "v=0\no=-\n{session}m=audio 9 P 0\n{section}m=video 9 P 96\na=mid:1\n"
        ))
    };
    let both = of("a=ice-ufrag:u\na=ice-pwd:p\n", "a=mid:0\n");
    assert_eq!(of("a=ice-pwd:p\na=ice-ufrag:u\n", "a=ice-ufrag:u\na=mid:0\n"), both);
    assert_eq!(of("a=ice-ufrag:u\na=ice-pwd:p\n", "a=ice-pwd:p\na=mid:0\n"), both);
    assert_ne!(of("a=ice-ufrag:u\na=ice-pwd:p\n", "a=ice-pwd:x\na=mid:0\n"), both);
    assert_ne!(
        of("a=ice-ufrag:u\na=ice-pwd:x\n", "a=ice-pwd:p\na=mid:0\n"),
        both,
        "the video section inherits the session's password"
    );
}

#[test]
fn other_text_is_fingerprinted_exactly() {
    for text in [
        "",
        "v=0",
        "v=0\r\n",
        "v=1\no=-\n",
        "\nv=0\no=-\n",
        "v=0\nm=audio 9 P 0\no=-\n",
        "a=ice-ufrag:x\n",
        "\u{feff}v=0\no=-\n",
        " v=0\no=-\n",
        "V=0\no=-\n",
        "v=0\ro=-\rm=audio 9 P 0\r",
    ] {
        assert_eq!(Fingerprint::sdp(text), Fingerprint::exact(text.as_bytes()), "{text:?}");
    }
    assert_ne!(Fingerprint::sdp("v=0\no=-"), Fingerprint::exact(b"v=0\no=-"));
}

/// Ten times the text takes about ten times as long. A quadratic parser would take a hundred times as long.
#[test]
fn takes_linear_time() {
    let texts: [fn(usize) -> String; 4] = [
        |size| (0..size).map(|id| format!("a=ssrc:{id}\n")).collect(),
        |size| "m=a\n".repeat(size),
        |size| "\n".repeat(10 * size),
        |size| " ".repeat(10 * size),
    ];
    for (at, text) in texts.iter().enumerate() {
        let time = |size| {
            let offer = format!("v=0\no=-\nm=video 9 P 96\n{}", text(size));
            let started = Instant::now();
            Fingerprint::sdp(&offer);
            started.elapsed()
        };
        // A busy machine slows down some runs, but not all of them.
        let is_linear = (0..20).any(|_| time(50_000) < 30 * time(5_000));
        assert!(is_linear, "text {at} takes more than linear time");
    }
}
