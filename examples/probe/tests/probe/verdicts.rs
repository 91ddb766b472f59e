//! Each way to treat offers gets the verdicts that it deserves.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    run::{command, run},
    server::{Server, Way},
};

/// Runs all checks. Names those whose verdict is not "pass".
async fn verdicts(args: &[&str]) -> (Option<i32>, Vec<String>) {
    let ended = run(&[args, &["--report", "json", "--peers", "6", "--copies", "3"]].concat()).await;
    let report = ended.report();
    let checks = report["checks"].as_array().expect("the checks should be a list");
    assert_eq!(checks.len(), 11, "{report:#}");
    let others = checks.iter().filter(|check| check["verdict"] != "pass");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let others = others.map(|check| format!("{} {}", text(&check["verdict"]), text(&check["check"])));
    assert_eq!(report["failed"], ended.code == Some(1), "{report:#}");
    (ended.code, others.collect())
}

#[tokio::test]
async fn each_way_gets_its_verdicts() {
    let copies = ["at-once", "later", "cut", "gathered", "line-feeds", "storm"];
    let failed = |names: &[&str]| names.iter().map(|name| format!("fail {name}")).collect::<Vec<_>>();
    let sorted = |mut names: Vec<String>| {
        names.sort_unstable();
        names
    };
    let refused = [
        "warn at-once",
        "warn later",
        "fail cut",
        "warn gathered",
        "warn line-feeds",
        "warn storm",
    ];
    let rows: &[(Way, Vec<String>)] = &[
        (Way::Naive, failed(&copies)),
        (Way::Replaying, vec![]),
        (Way::MergingUsers, failed(&["principal"])),
        (Way::ReplayingDead, failed(&["ended"])),
        (Way::Refusing, refused.map(str::to_owned).to_vec()),
        (Way::MergingOffers, failed(&["newer", "principal", "storm"])),
        (Way::TakingAnything, failed(&["bodies"])),
        (Way::WithoutDelete, failed(&["ended"])),
        (Way::Failing, failed(&copies)),
    ];
    for (way, expected) in rows {
        let server = Server::start(*way).await;
        let (code, found) = verdicts(&[&server.url(), "--timeout", "5"]).await;
        assert_eq!(sorted(found), sorted(expected.clone()), "{way:?}");
        assert_eq!(code, Some(i32::from(!expected.is_empty())), "{way:?}");
        let (made, live) = server.sessions();
        assert!(
            made > 0 && (live == 0 || *way == Way::WithoutDelete),
            "{way:?}: {live} of {made} are live"
        );
    }
}

#[tokio::test]
async fn server_without_answers_fails_once() {
    for (way, why) in [(Way::Hanging, "timed out"), (Way::Garbage, "200, but no SDP answer")] {
        let server = Server::start(way).await;
        let ended = run(&[&server.url(), "--report", "json", "--timeout", "1"]).await;
        assert_eq!(ended.code, Some(1), "{way:?}");
        let one = ended.check("one");
        assert_eq!(one["verdict"], "fail");
        assert!(one["why"].as_str().is_some_and(|text| text.contains(why)), "{one:#}");
        assert_eq!(ended.check("storm")["verdict"], "n/a");
    }
}

#[tokio::test]
async fn hanging_copies_fail_in_time() {
    let server = Server::start(Way::HangingLater).await;
    let ended = run(&[&server.url(), "--report", "json", "--timeout", "1", "--only", "at-once"]).await;
    let check = ended.check("at-once");
    assert_eq!(
        (&check["verdict"], &check["outcomes"]["timed out"]),
        (&"fail".into(), &8.into()),
        "{check:#}"
    );
}

#[tokio::test]
async fn sessions_are_counted() {
    let server = Server::start(Way::Naive).await;
    let ended = run(&[
        &server.url(),
        "--report",
        "json",
        "--only",
        "at-once",
        "--only",
        "later",
    ])
    .await;
    assert_eq!(ended.check("one")["sessions"], 1);
    assert_eq!(ended.check("at-once")["sessions"], 8);
    assert_eq!(ended.check("later")["sessions"], 3);
    assert_eq!(server.sessions(), (12, 0));
    assert_eq!(ended.report()["sessions"]["ended"], 12);
}

#[tokio::test]
async fn json_offers_are_judged() {
    let flags = [
        r#"--json={"jsep":{"type":"offer","sdp":"$sdp"}}"#,
        "--answer",
        "/jsep/sdp",
    ];
    let rows: [(Way, &[&str]); 2] = [
        (Way::Replaying, &["n/a ended"]),
        (
            Way::Naive,
            &[
                "fail at-once",
                "fail later",
                "fail cut",
                "fail gathered",
                "n/a ended",
                "fail storm",
                "fail line-feeds",
            ],
        ),
    ];
    for (way, expected) in rows {
        let server = Server::start(way).await;
        let url = format!("http://{}/offer", server.address);
        let (_, mut found) = verdicts(&[&[url.as_str()], &flags[..]].concat()).await;
        let mut expected: Vec<_> = expected.iter().map(|text| (*text).to_owned()).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{way:?}");
    }
}

#[tokio::test]
async fn socket_offers_are_judged() {
    let rows: [(Way, &[&str]); 2] = [
        (Way::Replaying, &["n/a cut", "n/a ended"]),
        (
            Way::Naive,
            &[
                "fail at-once",
                "fail gathered",
                "fail later",
                "fail line-feeds",
                "fail storm",
                "n/a cut",
                "n/a ended",
            ],
        ),
    ];
    for (way, expected) in rows {
        let server = Server::start(way).await;
        let url = format!("ws://{}/socket", server.address);
        let (_, mut found) = verdicts(&[&url, "--ws", "--timeout", "1", "--hello", r#"{"join":"$peer"}"#]).await;
        found.sort_unstable();
        assert_eq!(found, expected, "{way:?}");
    }
}

#[tokio::test]
async fn only_named_peers_are_many() {
    let server = Server::start(Way::Replaying).await;
    for (stream, sessions) in [("stage", 8), ("$peer", 12)] {
        let url = format!("http://{}/whip/{stream}", server.address);
        let ended = run(&[&url, "--report", "json", "--only", "storm", "--peers", "12"]).await;
        assert_eq!(
            (ended.code, &ended.check("storm")["sessions"]),
            (Some(0), &sessions.into())
        );
    }
}

#[cfg(unix)]
#[tokio::test]
async fn interrupted_probe_ends_its_sessions() {
    let server = Server::start(Way::Naive).await;
    let url = format!("http://{}/whip/$peer", server.address);
    let probe = command(&[&url, "--only", "storm", "--peers", "500", "--copies", "4"]);
    let mut probe = { probe }.spawn().expect("the probe should start");
    while server.sessions().0 < 20 {
        sleep(Duration::from_millis(5)).await;
    }
    let id = probe.id().expect("the probe should run").to_string();
    let sent = tokio::process::Command::new("kill").args(["-INT", &id]).status().await;
    assert!(sent.expect("kill should run").success());
    let status = probe.wait().await.expect("the probe should end");
    let (made, live) = server.sessions();
    assert_eq!((status.code(), live), (Some(130), 0));
    assert!(made < 2000, "it should have stopped before the end: {made}");
}
