//! The contenders: what a user would put around an offer handler, each set up for this job as its documentation says.

mod coalesce;
mod get_with;
mod idempotent;
mod nearest;
mod original;
mod ours;

use std::time::Duration;

use axum::Router;

pub(crate) use self::original::{node, script};
use crate::endpoint::Endpoint;

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contender {
    /// On the command line.
    pub(crate) name: &'static str,
    /// In tables.
    pub(crate) label: &'static str,
    /// The package whose version counts, as it is in the lock file.
    pub(crate) package: Option<&'static str>,
    pub(crate) set_up: &'static str,
    pub(crate) lacks: &'static str,
    /// Whether its clients need a session first.
    pub(crate) sessions: bool,
    /// Whether its memory has a bound in bytes.
    pub(crate) bounded: bool,
    pub(crate) kind: Kind,
}

/// What runs it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// This program, with the endpoint in an app of the contender's.
    App(fn(Endpoint, Settings) -> Router),
    /// Node.
    Original,
}

/// What is asked of the contenders that have a memory; what is not is left at 30 s and 64 MiB, or at their default.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) window: Option<Duration>,
    pub(crate) max_memory: Option<u64>,
}

/// Our window under `whip()`, and what others are given that have none of their own.
const WINDOW: Duration = Duration::from_secs(30);
/// Our default, and what others are given that have none of their own.
const MAX_MEMORY: u64 = 64 * 1024 * 1024;

impl Settings {
    fn window(self) -> Duration {
        self.window.unwrap_or(WINDOW)
    }

    fn max_memory(self) -> u64 {
        self.max_memory.unwrap_or(MAX_MEMORY)
    }
}

pub(crate) const BARE: &str = "bare";
pub(crate) const WHIP: &str = "whip";
pub(crate) const REFUSING: &str = "refusing";

pub(crate) const ALL: [Contender; 8] = [
    Contender {
        name: BARE,
        label: "bare service",
        package: None,
        set_up: "the endpoint with no layer",
        lacks: "anything: every `POST` is processed",
        sessions: false,
        bounded: false,
        kind: Kind::App(|endpoint, _| endpoint.app()),
    },
    nearest::CONTENDER,
    coalesce::CONTENDER,
    idempotent::CONTENDER,
    get_with::CONTENDER,
    original::CONTENDER,
    ours::WHIP,
    ours::REFUSING,
];

pub(crate) fn find(name: &str) -> Option<Contender> {
    ALL.into_iter().find(|contender| contender.name == name)
}
