//! The board and the rules in `dashboards/`, with a real Prometheus that scrapes the WHIP endpoint and two nodes of a
//! shared store, all under load.
//!
//! `tests/run` installs Prometheus. If it is missing, these tests fail.

mod load;
mod nodes;
mod prometheus;

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::time::sleep;

use crate::{load::Load, nodes::Nodes, prometheus::Prometheus};

/// Enough for several outages of the store on a slow machine.
const PATIENCE: Duration = Duration::from_secs(180);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dashboards")
}

fn read(file: &str) -> String {
    let path = folder().join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[tokio::test]
async fn every_expression_returns_data() {
    let (load, nodes) = (Load::start(), Nodes::start().await);
    let targets = [("whip", load.address()), ("nodes", nodes.address())];
    let prometheus = Prometheus::start(&targets, &folder()).await;
    let start = Instant::now();

    let mut missing = board_expressions();
    missing.extend(prometheus.rule_expressions().await.into_iter().map(Expected::any));
    assert!(missing.len() > 50, "{missing:#?}");
    while !missing.is_empty() {
        assert!(start.elapsed() < PATIENCE, "these return nothing: {missing:#?}");
        sleep(Duration::from_millis(500)).await;
        let mut still = BTreeSet::new();
        for expected in missing {
            let values = prometheus.values(&expected.expression).await;
            if !values.iter().any(|value| *value > 0.0 || !expected.is_positive) {
                still.insert(expected);
            }
        }
        missing = still;
    }
    prometheus.assert_rules_are_healthy().await;

    // For the plots of the documentation, which show several minutes.
    let seconds = env::var("DASHBOARD_SECONDS").map_or(10, |text| text.parse().expect("a number of seconds"));
    sleep(Duration::from_secs(seconds).saturating_sub(start.elapsed())).await;
    plot(&prometheus, start.elapsed());
}

/// An expression that returns data.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Expected {
    expression: String,
    /// Layers without a store export its metrics as zero.
    is_positive: bool,
}

impl Expected {
    fn any(expression: String) -> Self {
        Self {
            expression,
            is_positive: false,
        }
    }
}

/// The expressions of the board's panels, with its variables filled in.
fn board_expressions() -> BTreeSet<Expected> {
    let board: Value = serde_json::from_str(&read("grafana.json")).expect("the board should be JSON");
    let panels = board["panels"].as_array().expect("the board should have panels");
    let mut row = "";
    let mut expressions = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().expect("a panel should have a title");
        let Some(targets) = panel["targets"].as_array() else {
            row = title;
            continue;
        };
        for target in targets {
            let text = target["expr"].as_str().expect("a target should have an expression");
            expressions.insert(Expected {
                expression: text.replace("$layer", ".*").replace("$__rate_interval", "10s"),
                // While the server answers and the store fails open, no offer is refused.
                is_positive: row == "Shared store" && !text.contains("store_unavailable"),
            });
        }
    }
    expressions
}

/// Draws the board to `target/dashboard.svg`.
fn plot(prometheus: &Prometheus, time: Duration) {
    let plots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../dashboard.svg");
    let status = Command::new("python3")
        .arg(folder().join("plot.py"))
        .args([prometheus.url(), time.as_secs().to_string()])
        .arg(&plots)
        .status();
    assert!(status.expect("python3 should start").success());
    let drawn = fs::read_to_string(&plots).expect("the plots should be written");
    let lines = drawn.matches("<polyline points=\"").count() - drawn.matches("<polyline points=\"\"").count();
    assert!(lines >= 20, "only {lines} lines are drawn");
}

#[test]
fn each_alert_fires_and_stays_silent() {
    let test = folder().join("alerts_test.yml");
    let output = Command::new("promtool").args(["test", "rules"]).arg(test).output();
    let output = output.expect("promtool should start: tests/run installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let tests = read("alerts_test.yml");
    for alert in alerts() {
        let expected = |line: &str| tests.contains(&format!("alertname: {alert}\n        {line}\n"));
        assert!(expected("exp_alerts:"), "no test lets {alert} fire");
        assert!(expected("exp_alerts: []"), "no test lets {alert} stay silent");
    }
}

#[test]
fn runbook_has_a_paragraph_for_each_alert() {
    let (rules, runbook) = (read("alerts.yml"), read("runbook.md"));
    for alert in alerts() {
        let link = format!("runbook_url: runbook.md#{}\n", alert.to_lowercase());
        assert!(rules.contains(&link), "{alert} does not link to its paragraph");
        let paragraph = runbook.split_once(&format!("\n## {alert}\n"));
        let (_, paragraph) = paragraph.unwrap_or_else(|| panic!("the runbook lacks {alert}"));
        assert!(paragraph.trim_start().starts_with(char::is_alphabetic), "{alert}");
    }
    assert_eq!(runbook.matches("\n## ").count(), alerts().len());
}

fn alerts() -> Vec<String> {
    let rules = read("alerts.yml");
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let names: Vec<_> = names.map(str::to_owned).collect();
    assert!(!names.is_empty());
    names
}
