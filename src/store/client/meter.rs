//! [`Meter`]: counts, measures and logs what becomes of a store's calls.

use std::{sync::Arc, time::Duration};

use tracing::{debug, warn};

use super::{super::StoreError, CALL_TIMEOUT};
use crate::{
    Offer,
    gate::Gate,
    metrics::{LayerName, Series},
    observe::{self, TARGET},
    quiet::quietly,
    stats::Counters,
};

const SECONDS: &str = "offer_dedup_store_seconds";

/// A call of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Claim,
    Renew,
    Complete,
    Release,
    Forget,
    Announce,
    Clear,
}

impl Operation {
    const ALL: [Self; 7] = [
        Self::Claim,
        Self::Renew,
        Self::Complete,
        Self::Release,
        Self::Forget,
        Self::Announce,
        Self::Clear,
    ];

    /// Returns the time in which the store must reply.
    pub(super) fn timeout(self) -> Duration {
        match self {
            // It takes many calls. Claims wait for it no longer than for other messages.
            Self::Clear => 8 * CALL_TIMEOUT,
            _ => CALL_TIMEOUT,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Renew => "renew",
            Self::Complete => "complete",
            Self::Release => "release",
            Self::Forget => "forget",
            Self::Announce => "announce",
            Self::Clear => "clear",
        }
    }
}

/// Counts, measures and logs what becomes of a store's calls.
#[derive(Debug)]
pub(super) struct Meter {
    /// The gate with the counters.
    gate: Arc<Gate>,
    /// The times of calls that succeeded and of calls that failed.
    seconds: [(Series, Series); Operation::ALL.len()],
}

impl Meter {
    pub(super) fn new(gate: Arc<Gate>, layer: &LayerName) -> Self {
        Series::describe_seconds(SECONDS, "Time of calls of the shared store, by operation and outcome.");
        let series = |operation: Operation, outcome| {
            Series::labelled(
                layer,
                SECONDS,
                &[("operation", operation.as_str()), ("outcome", outcome)],
            )
        };
        Self {
            gate,
            seconds: Operation::ALL.map(|operation| (series(operation, "ok"), series(operation, "failed"))),
        }
    }

    pub(super) fn succeeded(&self, operation: Operation, took: Duration) {
        self.seconds[operation as usize].0.record(took);
    }

    pub(super) fn failed(&self, operation: Operation, took: Duration, error: &StoreError) {
        let failures = &self.counters().store_failures;
        failures.count();
        self.seconds[operation as usize].1.record(took);
        failures.measure();
        let (operation, took_ms) = (operation.as_str(), observe::millis(took));
        debug!(target: TARGET, operation, took_ms, %error, "store call failed");
    }

    pub(super) fn down(&self) {
        self.counters().store_down.step(1.0);
        warn!(target: TARGET, "store unreachable: it is not called until it answers a probe");
    }

    pub(super) fn up(&self) {
        self.counters().store_down.step(-1.0);
        warn!(target: TARGET, "store reachable again");
    }

    pub(super) fn not_probed(&self) {
        self.counters().store_down.step(-1.0);
        warn!(target: TARGET, "store no longer probed: the next call tries it");
    }

    pub(super) fn admitted_alone(&self, offer: &Offer) {
        observe::admitted_alone(self.counters(), offer);
    }

    pub(super) fn claim_lost(&self) {
        self.counters().store_claims_lost.count();
        self.counters().store_claims_lost.measure();
    }

    /// Notes that a message waits for the store.
    pub(super) fn message_sent(&self) {
        self.counters().store_messages.step(1.0);
    }

    pub(super) fn message_gone(&self) {
        self.counters().store_messages.step(-1.0);
    }

    /// Notes that a message was not delivered, and why.
    pub(super) fn message_dropped(&self, cause: &'static str) {
        let dropped = &self.counters().store_messages_dropped;
        dropped.count();
        dropped.measure();
        warn!(target: TARGET, "message to the store dropped: {cause}");
    }

    /// Notes that the layer is gone: it holds nothing.
    pub(super) fn gone(&self, messages: usize, was_down: bool) {
        quietly(|| self.counters().store_messages.step(-(messages as f64)));
        quietly(|| self.counters().store_down.step(-f64::from(u8::from(was_down))));
    }

    fn counters(&self) -> &Counters {
        self.gate.counters()
    }
}
