//! The table in docs/probe.md.

use std::fmt::Write;

use serde_json::Value;

const ABOUT: &str = "`cargo run --release -p probe -- URL` sends repeated offers to a signaling server, in any language, and judges what comes
back. Its offers are real, and it sends no media. It ends each session that has a `Location`. This page shows what it
finds on four servers.
`PROBE_PAGE=1 cargo test -p e2e --test probe` writes it.

A check fails if a client breaks or is misled: more than one session for one offer, somebody else's answer, the answer of a
session that has ended, no answer to a client that waits for one. It warns where the rules leave a server its choice and
known clients give up. Sessions are counted by distinct `Location`s or by distinct `ice-ufrag`s, whichever are more. A cut
connection is one whose client ends its side before the answer; it then sends the offer again, as Chromium does. What the
server still sends is read, but a session whose answer is never sent does not show.
";

/// The probe's verdicts on one server.
pub(crate) struct Column {
    pub(crate) name: &'static str,
    /// The command line, without the address.
    pub(crate) command: String,
    pub(crate) report: Value,
}

pub(crate) fn page(columns: &[Column]) -> String {
    let names: Vec<_> = columns.iter().map(|column| column.name).collect();
    let mut page = format!("# Repeated offers on four servers\n\n{ABOUT}\n");
    let _ = writeln!(page, "| check | rule for WHIP | {} |", names.join(" | "));
    let _ = writeln!(page, "|---|---|{}", "---|".repeat(names.len()));
    for (number, check) in checks(&columns[0].report).iter().enumerate() {
        let cells = columns.iter().map(|column| cell(&checks(&column.report)[number]));
        let cells: Vec<_> = cells.collect();
        let (title, rule) = (text(&check["title"]), text(&check["rule"]));
        let _ = writeln!(page, "| {title} | {rule} | {} |", cells.join(" | "));
    }
    page.push_str("\nCells have the verdict and the number of sessions. The probe's words on what did not pass:\n");
    for column in columns {
        let _ = writeln!(page, "\n**{}** (`probe {}`)\n", column.name, column.command);
        let checks = checks(&column.report);
        let others = checks.iter().filter(|check| check["verdict"] != "pass");
        let mut is_empty = true;
        for check in others {
            is_empty = false;
            let _ = writeln!(page, "- {}: {}", text(&check["check"]), text(&check["why"]));
        }
        if is_empty {
            page.push_str("Everything passed.\n");
        }
    }
    page
}

fn cell(check: &Value) -> String {
    let (verdict, sessions) = (text(&check["verdict"]), &check["sessions"]);
    match verdict {
        "n/a" => "–".to_owned(),
        verdict => format!("{verdict}, {sessions}"),
    }
}

pub(crate) fn checks(report: &Value) -> &[Value] {
    report["checks"].as_array().expect("the checks should be a list")
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().expect("it should be text")
}
