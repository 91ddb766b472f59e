//! The report, as text and as JSON. It shows no token, no `Location` and no SDP.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use serde_json::{Value, json};
use url::{Position, Url};

use crate::{
    args::Protocol,
    check::{Check, Verdict},
    checks::Finding,
    reply::{Lost, Outcome, sessions},
    target::Sessions,
};

pub(crate) struct Report<'a> {
    pub(crate) url: &'a Url,
    pub(crate) protocol: Protocol,
    pub(crate) findings: &'a [Finding],
    pub(crate) sessions: Sessions,
}

impl Report<'_> {
    pub(crate) fn has_failed(&self) -> bool {
        self.count(Verdict::Fail) > 0
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("{} ({})\n\n", shown(self.url), self.protocol.name());
        for finding in self.findings {
            let Finding { check, ruling, .. } = finding;
            let _ = writeln!(text, "{}  {}", upper(ruling.verdict), check.title());
            let _ = writeln!(text, "      {} [{}]", ruling.why, check.rule(self.protocol));
            if !finding.replies.is_empty() {
                let statuses = finding.statuses();
                let statuses = statuses.iter().map(|(status, count)| format!("{count} × {status}"));
                let statuses: Vec<_> = statuses.collect();
                let (median, longest) = finding.times();
                let sessions = sessions(&finding.replies);
                let _ = writeln!(
                    text,
                    "      {}; {sessions} {}; median {} ms, longest {} ms",
                    statuses.join(", "),
                    if sessions == 1 { "session" } else { "sessions" },
                    median.as_millis(),
                    longest.as_millis()
                );
            }
        }
        let _ = writeln!(
            text,
            "\n{} passed, {} warned, {} failed, {} not applicable",
            self.count(Verdict::Pass),
            self.count(Verdict::Warn),
            self.count(Verdict::Fail),
            self.count(Verdict::NotApplicable)
        );
        let Sessions {
            ended, left, unnamed, ..
        } = &self.sessions;
        let _ = writeln!(text, "{ended} sessions ended with DELETE");
        if *left > 0 {
            let _ = writeln!(text, "{left} sessions did not take DELETE");
        }
        if !unnamed.is_empty() {
            let count = unnamed.len();
            let _ = writeln!(text, "{count} sessions have no Location: the server has to end them");
        }
        text
    }

    pub(crate) fn json(&self) -> Value {
        let checks = self.findings.iter().map(|finding| {
            let (median, longest) = finding.times();
            json!({
                "check": finding.check.name(),
                "title": finding.check.title(),
                "verdict": finding.ruling.verdict.name(),
                "why": finding.ruling.why,
                "rule": finding.check.rule(self.protocol),
                "requests": finding.replies.len(),
                "outcomes": finding.statuses(),
                "sessions": sessions(&finding.replies),
                "median_ms": millis(median),
                "longest_ms": millis(longest),
            })
        });
        json!({
            "url": shown(self.url),
            "protocol": self.protocol.name(),
            "checks": checks.collect::<Vec<_>>(),
            "failed": self.has_failed(),
            "sessions": {
                "ended": self.sessions.ended,
                "not_ended": self.sessions.left,
                "without_location": self.sessions.unnamed.len(),
            },
        })
    }

    fn count(&self, verdict: Verdict) -> usize {
        let found = self.findings.iter().filter(|finding| finding.ruling.verdict == verdict);
        found.count()
    }
}

impl Finding {
    fn statuses(&self) -> BTreeMap<String, usize> {
        let mut statuses = BTreeMap::new();
        for reply in &self.replies {
            *statuses.entry(reply.outcome.to_string()).or_default() += 1;
        }
        statuses
    }

    /// The median and the longest time.
    fn times(&self) -> (Duration, Duration) {
        let mut times: Vec<_> = self.replies.iter().map(|reply| reply.took).collect();
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        (median, times.last().copied().unwrap_or_default())
    }
}

/// The URL without user, password and query, which may hold secrets.
fn shown(url: &Url) -> String {
    format!("{}://{}", url.scheme(), &url[Position::BeforeHost..Position::AfterPath])
}

fn upper(verdict: Verdict) -> String {
    format!("{:<4}", verdict.name().to_uppercase())
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

/// Returns advice for a server that answered the first offer like this, or `None` if the checks can go on or judge it.
pub(crate) fn advice(first: &Finding, protocol: Protocol) -> Option<String> {
    debug_assert!(first.check == Check::One);
    match &first.replies.first()?.outcome {
        Outcome::Lost(lost @ (Lost::Unreachable(_) | Lost::Tls(_))) => Some(lost.to_string()),
        Outcome::Refused { status, .. } => {
            let advice = match status {
                300..=399 => "the server redirects: give the URL that it redirects to",
                401 | 403 => "the server wants a token (--bearer), or does not take this one",
                404 | 405 => "no offers are taken at this path",
                415 if protocol == Protocol::Json => "the server takes no JSON: try without --json",
                415 => "the server takes other bodies: try --json",
                _ => return None,
            };
            Some(format!("{status}: {advice}"))
        }
        Outcome::Answered(_) | Outcome::Empty { .. } | Outcome::Lost(_) => None,
    }
}
