//! The probe on four servers: the WHIP endpoint with the layer and without, aiortc, and Janus.
//!
//! `tests/run` installs the last two.

use std::{env, fs};

use e2e::program;
use serde_json::Value;

use crate::{
    page::{Column, checks, page, text},
    servers::Server,
};

mod page;
mod servers;

const PEERS: &str = "20";

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/probe.md");

/// Runs the probe. Returns its report and its exit code.
fn probe(server: &Server, flags: &[&str]) -> (Value, Option<i32>) {
    let output = program::command("probe")
        .args([server.url.as_str(), "--report", "json", "--peers", PEERS])
        .args(flags)
        .output()
        .expect("the probe should run");
    let report = serde_json::from_slice(&output.stdout);
    let report = report.unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(&output.stderr)));
    (report, output.status.code())
}

/// The verdicts that are not "pass".
fn others(report: &Value) -> Vec<String> {
    let others = checks(report).iter().filter(|check| check["verdict"] != "pass");
    let others = others.map(|check| format!("{} {}", text(&check["verdict"]), text(&check["check"])));
    others.collect()
}

/// The names under which the probe's checks send.
fn peers() -> impl Iterator<Item = String> {
    let checks = [
        "one",
        "at-once",
        "later",
        "cut",
        "gathered",
        "line-feeds",
        "newer",
        "ended",
        "principal",
        "bodies",
    ];
    let count: u16 = PEERS.parse().expect("it is a number");
    let storm = (0..count).map(|peer| format!("storm-{peer}"));
    checks.map(str::to_owned).into_iter().chain(storm)
}

#[test]
fn four_servers_get_their_verdicts() {
    let copies = ["fail at-once", "fail later", "fail gathered", "fail line-feeds"];
    let refused = [
        "warn at-once",
        "warn later",
        "fail cut",
        "warn gathered",
        "warn line-feeds",
        "warn newer",
        "warn storm",
        "fail bodies",
    ];
    type Row = (&'static str, fn() -> Server, &'static [&'static str], Vec<&'static str>);
    // Without a delay the endpoint might answer before the cut.
    let rows: [Row; 4] = [
        (
            "examples/whip with the layer",
            || Server::whip(&["--answer-delay-ms", "50"]),
            &[],
            vec![],
        ),
        (
            "examples/whip without it",
            || Server::whip(&["--answer-delay-ms", "50", "--no-dedup"]),
            &[],
            [&copies[..], &["fail storm"]].concat(),
        ),
        (
            "aiortc 1.16",
            Server::aiortc,
            &["--json"],
            [&copies[..], &["n/a ended", "fail storm", "warn bodies"]].concat(),
        ),
        (
            "Janus 1.1 with simple-whip-server",
            || Server::janus(peers()),
            &[],
            refused.to_vec(),
        ),
    ];
    let mut columns = Vec::new();
    for (name, start, flags, expected) in rows {
        let server = start();
        let (report, code) = probe(&server, flags);
        assert_eq!(others(&report), expected, "{name}: {report:#}");
        let has_failed = expected.iter().any(|verdict| verdict.starts_with("fail"));
        assert_eq!(code, Some(i32::from(has_failed)), "{name}");
        assert_eq!(report["sessions"]["not_ended"], 0, "{name}: {report:#}");
        columns.push(Column {
            name,
            command: [&["URL", "--peers", PEERS], flags].concat().join(" "),
            report,
        });
    }
    let page = page(&columns);
    if env::var_os("PROBE_PAGE").is_some() {
        fs::write(PAGE, &page).expect("the page should be writable");
    }
    let written = fs::read_to_string(PAGE).expect("PROBE_PAGE=1 should have written the page");
    assert!(
        written == page,
        "docs/probe.md is outdated; PROBE_PAGE=1 writes it anew. It should be:\n{page}"
    );
}
