//! The checks: their names, and the rules that they rest on.

use clap::ValueEnum;

use crate::args::Protocol;

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum Check {
    /// One offer is answered
    One,
    /// Eight equal offers at once
    AtOnce,
    /// The same offer again, after its answer
    Later,
    /// The same offer again, after the connection was cut before the answer
    Cut,
    /// The same offer with its candidates
    Gathered,
    /// The same offer with other line endings
    LineFeeds,
    /// Another offer of the same peer, while one is pending
    Newer,
    /// The same offer after its session was deleted
    Ended,
    /// The same offer from another user
    Principal,
    /// Many peers at once, each offer repeated
    Storm,
    /// Broken and long bodies
    Bodies,
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ruling {
    pub(crate) verdict: Verdict,
    pub(crate) why: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verdict {
    Pass,
    /// Allowed, but clients may fail.
    Warn,
    Fail,
    NotApplicable,
}

impl Check {
    /// The name on the command line and in reports.
    pub(crate) fn name(self) -> String {
        let value = self.to_possible_value().expect("no check is skipped");
        value.get_name().to_owned()
    }

    pub(crate) fn title(self) -> String {
        let value = self.to_possible_value().expect("no check is skipped");
        value.get_help().map(ToString::to_string).unwrap_or_default()
    }

    /// The section that the verdict rests on.
    pub(crate) fn rule(self, protocol: Protocol) -> &'static str {
        let is_whip = matches!(protocol, Protocol::Whip | Protocol::Whep);
        match self {
            // WHEP sets sessions up and ends them as WHIP does.
            Self::One | Self::Newer | Self::Ended if is_whip => "RFC 9725 §4.2",
            Self::One => "RFC 3264 §6",
            // An offer that has not changed is a no-op, and is answered all the same.
            Self::AtOnce | Self::Later | Self::Newer | Self::Ended => "RFC 3264 §8",
            // Clients repeat a POST on their own, although it is not idempotent.
            Self::Cut => "RFC 9110 §9.2.2",
            // Candidates may come with an offer or after it.
            Self::Gathered => "RFC 9429 §3.5.2",
            // Parsers should accept a single newline.
            Self::LineFeeds => "RFC 8866 §5",
            // A response stored for one user must not reach another.
            Self::Principal => "RFC 9111 §3.5",
            // Overload is 503, and Retry-After says when to come back.
            Self::Storm if is_whip => "RFC 9725 §4.5",
            Self::Storm => "RFC 9110 §15.6.4",
            // A wrong request is a client's error.
            Self::Bodies => "RFC 9110 §15.5",
        }
    }
}

impl Verdict {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::NotApplicable => "n/a",
        }
    }
}

impl Ruling {
    pub(crate) fn pass(why: impl Into<String>) -> Self {
        Self::new(Verdict::Pass, why)
    }

    pub(crate) fn warn(why: impl Into<String>) -> Self {
        Self::new(Verdict::Warn, why)
    }

    pub(crate) fn fail(why: impl Into<String>) -> Self {
        Self::new(Verdict::Fail, why)
    }

    pub(crate) fn not_applicable(why: impl Into<String>) -> Self {
        Self::new(Verdict::NotApplicable, why)
    }

    fn new(verdict: Verdict, why: impl Into<String>) -> Self {
        Self {
            verdict,
            why: why.into(),
        }
    }
}
