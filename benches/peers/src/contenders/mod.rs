//! The contenders: layers that a user could put around an offer handler, each set up as its documentation says.

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

/// One contender.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contender {
    /// Name on the command line.
    pub(crate) name: &'static str,
    /// Name in tables.
    pub(crate) label: &'static str,
    /// The package whose version is shown, as named in the lock file.
    pub(crate) package: Option<&'static str>,
    pub(crate) set_up: &'static str,
    pub(crate) lacks: &'static str,
    /// `true` if its clients need a session first.
    pub(crate) sessions: bool,
    /// `true` if its memory has a limit in bytes.
    pub(crate) bounded: bool,
    pub(crate) kind: Kind,
}

/// The way to run a contender.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// This program, with the endpoint inside the contender's app.
    App(fn(Endpoint, Settings) -> Router),
    /// Node.
    Original,
}

/// Settings for the contenders that have a memory. Unset values stay at 30 s and 64 MiB, or at the contender's default.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) window: Option<Duration>,
    pub(crate) max_memory: Option<u64>,
}

/// Our window under `whip()`, also given to contenders without their own.
const WINDOW: Duration = Duration::from_secs(30);
/// Our default, also given to contenders without their own.
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
