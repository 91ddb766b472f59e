//! The endpoint's HTTP interface, as RFC 9725 defines it.

use e2e::whip_server::{OFFER, WhipServer};
use serde_json::Value;

use crate::clients::endless_ffmpeg;

type Field = (&'static str, &'static str);

const SDP: Field = ("Content-Type", "application/sdp");
const FRAGMENT: Field = ("Content-Type", "application/trickle-ice-sdpfrag");
const CANDIDATE: &str = "a=candidate:1 1 udp 2130706431 198.51.100.1 39132 typ host\r\n";

#[tokio::test]
async fn offer_is_answered_as_whip_requires() {
    let server = WhipServer::start(&[]);
    let answer = server.publish("/whip/a%20stage", OFFER).await;
    assert_eq!(
        (answer.status(), answer.field("content-type")),
        (201, Some("application/sdp"))
    );
    assert_eq!(answer.field("etag"), Some("\"ice-1\""));
    let location = answer.field("location").expect("the answer should have a Location");
    assert!(
        location.starts_with("/whip/a%20stage/") && location.len() > 40,
        "{location}"
    );
    for line in [
        "a=ice-lite",
        "a=recvonly",
        "a=setup:active",
        "a=rtpmap:111 opus/48000/2",
        "a=rtpmap:106 H264/90000",
    ] {
        assert!(
            answer.text().lines().any(|found| found == line),
            "{line}\n{}",
            answer.text()
        );
    }
    let stats = server.stats().await;
    let session = &stats["sessions"][0];
    assert_eq!(
        (&session["stream"], &session["state"]),
        (&"a stage".into(), &"connecting".into()),
        "{stats:#}"
    );
    // The id must stay secret, because it allows its holder to end the session.
    let id = location.rsplit('/').next().expect("the Location should end in an id");
    assert!(!stats.to_string().contains(id), "{stats:#}");
}

#[tokio::test]
async fn invalid_offers_fail_without_a_session() {
    let server = WhipServer::start(&[]);
    let only_av1 = OFFER
        .replace("H264/90000", "AV1/90000")
        .replace("opus/48000/2", "G722/8000");
    let wrong: &[(&str, &str, &[Field], &str, u16)] = &[
        ("POST", "/whip/stage", &[], OFFER, 415),
        (
            "POST",
            "/whip/stage",
            &[("Content-Type", "application/json")],
            OFFER,
            415,
        ),
        ("POST", "/whip/stage", &[SDP], "", 400),
        ("POST", "/whip/stage", &[SDP], "hello", 400),
        (
            "POST",
            "/whip/stage",
            &[SDP],
            "v=0\r\na=ice-ufrag:a\r\na=ice-pwd:b\r\n",
            400,
        ),
        (
            "POST",
            "/whip/stage",
            &[SDP],
            &OFFER.replace("a=ice-pwd", "a=ice-word"),
            400,
        ),
        (
            "POST",
            "/whip/stage",
            &[SDP],
            &OFFER.replace("a=fingerprint", "a=print"),
            400,
        ),
        ("POST", "/whip/stage", &[SDP], &only_av1, 406),
        ("POST", "/whip/stage", &[SDP], &"v=0\r\n".repeat(20_000), 413),
        ("GET", "/whip/stage", &[], "", 405),
        ("PUT", "/whip/stage", &[SDP], OFFER, 405),
        ("GET", "/whip/stage/0", &[], "", 405),
        ("POST", "/whip/", &[SDP], OFFER, 404),
        ("PATCH", "/whip/stage/0", &[FRAGMENT], CANDIDATE, 404),
        ("DELETE", "/whip/stage/0", &[], "", 404),
        ("DELETE", "/whip/stage/nonsense", &[], "", 404),
    ];
    for (method, path, fields, body, status) in wrong {
        let answer = server.request(method, path, fields, body).await;
        assert_eq!(
            answer.status(),
            *status,
            "{method} {path} {fields:?} {body:.80?}: {answer:?}"
        );
    }
    let stats = server.stats().await;
    assert_eq!(
        (&stats["created"], &stats["held"]["claims"]),
        (&0.into(), &0.into()),
        "{stats:#}"
    );
}

#[tokio::test]
async fn patch_trickles_and_restarts_ice() {
    let server = WhipServer::start(&[]);
    let answer = server.publish("/whip/stage", OFFER).await;
    let session = answer.field("location").expect("the answer should have a Location");
    let restart = "a=ice-options:trickle ice2\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
                   a=ice-ufrag:ysXw\r\na=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k\r\n";
    let same = "a=ice-ufrag:5cd1ef85\r\na=ice-pwd:456928b8e8554af091edb28be852687c\r\na=end-of-candidates\r\n";
    let unknown = "a=candidate:1 1 tcp 1518280447 nobody.local 9 typ host tcptype active\r\n";
    let old = ("If-Match", "\"ice-1\"");
    let new = ("If-Match", "\"ice-2\"");
    let steps: &[(&[Field], &str, u16)] = &[
        (&[FRAGMENT], CANDIDATE, 428),
        (&[("Content-Type", "application/sdp"), old], CANDIDATE, 415),
        (&[FRAGMENT, old], "hello", 400),
        (&[FRAGMENT, old], "a=ice-ufrag:alone\r\n", 400),
        (&[FRAGMENT, old], "", 400),
        (&[FRAGMENT, new], CANDIDATE, 412),
        (&[FRAGMENT, old], CANDIDATE, 204),
        (&[FRAGMENT, ("If-Match", "\"other\", \"ice-1\"")], unknown, 204),
        (&[FRAGMENT, old], same, 204),
        (&[FRAGMENT, ("If-Match", "*")], restart, 200),
        // The restart has been applied, so the same credentials now mean a trickle.
        (&[FRAGMENT, new], restart, 204),
        (&[FRAGMENT, old], CANDIDATE, 412),
    ];
    for (fields, body, status) in steps {
        let patched = server.request("PATCH", session, fields, body).await;
        assert_eq!(patched.status(), *status, "{fields:?} {body:?}: {patched:?}");
        let is_restart = *status == 200;
        assert_eq!(patched.field("etag"), is_restart.then_some("\"ice-2\""));
        if is_restart {
            assert_eq!(patched.field("content-type"), Some("application/trickle-ice-sdpfrag"));
            let name = line(answer.text(), "a=ice-ufrag:");
            for kept in [
                "a=ice-lite",
                "a=group:BUNDLE 0 1",
                "a=mid:0",
                "a=ice-pwd:",
                "a=candidate:",
            ] {
                line(patched.text(), kept);
            }
            assert_ne!(line(patched.text(), "a=ice-ufrag:"), name);
        }
    }
    assert_eq!(server.stats().await["live"], 1);
}

#[tokio::test]
async fn other_origins_may_publish() {
    let server = WhipServer::start(&["--token", "sesame"]);
    for path in ["/whip/stage", "/whip/stage/0"] {
        let preflight = server
            .request("OPTIONS", path, &[("Origin", "http://page.example")], "")
            .await;
        assert_eq!(
            (preflight.status(), preflight.field("accept-post")),
            (200, Some("application/sdp"))
        );
        assert_eq!(preflight.field("access-control-allow-origin"), Some("*"));
        for (field, expected) in [
            ("access-control-allow-methods", ["POST", "PATCH", "DELETE"]),
            (
                "access-control-allow-headers",
                ["Authorization", "Content-Type", "If-Match"],
            ),
        ] {
            let allowed: Vec<_> = preflight
                .field(field)
                .expect("it should be present")
                .split(", ")
                .collect();
            assert!(
                expected.iter().all(|name| allowed.contains(name)),
                "{field}: {allowed:?}"
            );
        }
    }
    let token = ("Authorization", "Bearer sesame");
    for (fields, status) in [(&[SDP, token][..], 201), (&[SDP], 401)] {
        let answer = server.request("POST", "/whip/stage", fields, OFFER).await;
        assert_eq!(
            (answer.status(), answer.field("access-control-allow-origin")),
            (status, Some("*"))
        );
        let exposed = answer
            .field("access-control-expose-headers")
            .expect("it should be present");
        assert!(
            ["Location", "Link", "ETag", "Retry-After"]
                .iter()
                .all(|name| exposed.contains(name)),
            "{exposed}"
        );
    }
}

#[tokio::test]
async fn every_publisher_request_needs_the_token() {
    let server = WhipServer::start(&["--token", "sesame"]);
    let right = ("Authorization", "bearer  sesame");
    let location = server.request("POST", "/whip/stage", &[SDP, right], OFFER).await;
    let session = location.field("location").expect("the answer should have a Location");
    for wrong in ["Bearer simsim", "Bearer sesam", "Basic sesame", "Bearer", "sesame"] {
        for (method, path) in [("POST", "/whip/stage"), ("PATCH", session), ("DELETE", session)] {
            let fields = [SDP, ("Authorization", wrong)];
            let answer = server.request(method, path, &fields, OFFER).await;
            assert_eq!(
                (answer.status(), answer.field("www-authenticate")),
                (401, Some("Bearer")),
                "{method} {wrong}"
            );
        }
    }
    let stats = server.stats().await;
    assert_eq!(
        (&stats["created"], &stats["offers"]["replayed"]),
        (&1.into(), &0.into()),
        "{stats:#}"
    );
    assert_eq!(server.request("DELETE", session, &[right], "").await.status(), 200);
}

#[tokio::test]
async fn deleted_session_is_forgotten() {
    let server = WhipServer::start(&[]);
    let mut locations = Vec::new();
    for _ in 0..3 {
        let first = server.publish("/whip/stage", OFFER).await;
        let again = server.publish("/whip/stage", OFFER).await;
        let location = first
            .field("location")
            .expect("the answer should have a Location")
            .to_owned();
        assert_eq!(again.field("location"), Some(location.as_str()));
        assert_eq!(server.request("DELETE", &location, &[], "").await.status(), 200);
        assert_eq!(server.request("DELETE", &location, &[], "").await.status(), 404);
        assert!(!locations.contains(&location));
        locations.push(location);
    }
    let stats = server.stats().await;
    assert_eq!(
        (&stats["created"], &stats["ended"]["deleted"]),
        (&3.into(), &3.into()),
        "{stats:#}"
    );
}

/// A returning publisher may send a new offer before its old session has ended.
#[tokio::test]
async fn old_session_end_keeps_new_offer() {
    let server = WhipServer::start(&[]);
    let newer = OFFER.replace("a=ice-ufrag:5cd1ef85", "a=ice-ufrag:66666666");
    let old = server.publish("/whip/stage", OFFER).await;
    let new = server.publish("/whip/stage", &newer).await;
    assert_ne!(new.field("location"), old.field("location"));
    let location = old.field("location").expect("the answer should have a Location");
    assert_eq!(server.request("DELETE", location, &[], "").await.status(), 200);
    let again = server.publish("/whip/stage", &newer).await;
    assert_eq!(
        (again.field("location"), again.field("offer-replayed")),
        (new.field("location"), Some("true"))
    );
    assert_eq!(server.stats().await["created"], 2);
}

#[tokio::test]
async fn lost_sessions_end_and_are_forgotten() {
    let server = WhipServer::start(&[]);
    assert_eq!(server.publish("/whip/nobody", OFFER).await.status(), 201);
    let url = format!("http://{}/whip/killed", server.address);
    let mut ffmpeg = endless_ffmpeg(&url, &[]).await.spawn().expect("FFmpeg should start");
    server.receives(&[("H264", 1), ("opus", 1)]).await;
    ffmpeg.kill().await.expect("FFmpeg should be killed");

    let stats = server.until("the end of both", |stats| stats["live"] == 0).await;
    assert_eq!(
        (end(&stats, "nobody"), end(&stats, "killed")),
        ("never_connected", "lost"),
        "{stats:#}"
    );
    assert!(stats["offers"]["forgotten"].as_u64() >= Some(1), "{stats:#}");
    assert_eq!(
        server.publish("/whip/nobody", OFFER).await.field("offer-replayed"),
        None
    );
}

fn end<'a>(stats: &'a Value, stream: &str) -> &'a str {
    let sessions = stats["sessions"].as_array().expect("the sessions should be a list");
    let session = sessions
        .iter()
        .find(|session| session["stream"] == stream)
        .expect("it should be present");
    session["end"].as_str().expect("the session should have ended")
}

fn line<'a>(sdp: &'a str, start: &str) -> &'a str {
    sdp.lines()
        .find(|line| line.starts_with(start))
        .unwrap_or_else(|| panic!("no {start}:\n{sdp}"))
}
