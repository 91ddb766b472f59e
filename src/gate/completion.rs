//! [`Completion`]: one-time notification of waiting requests.

use std::sync::Arc;

use super::{
    history::Record,
    sync::{Notify, OnceLock, OwnedNotified},
};
use crate::Refusal;

/// The next step of a waiting request, once the offer or queue place that it waits for has ended.
#[derive(Clone, Debug)]
pub(super) enum Resolution {
    /// It gets this answer.
    Replay(Record),
    /// It is refused.
    Refused(Refusal),
    /// It decides again.
    Retry,
}

/// Shared by the peer's entry in the lock table and the requests that wait.
#[derive(Debug, Default)]
pub(super) struct Completion {
    resolution: OnceLock<Resolution>,
    notify: Arc<Notify>,
}

impl Completion {
    /// Returns a future that is ready after the next [`resolve`](Self::resolve) or [`call`](Self::call).
    ///
    /// Subscribe before reading the resolution: a resolution that is set in between is then not missed.
    pub(super) fn subscribe(&self) -> OwnedNotified {
        Arc::clone(&self.notify).notified_owned()
    }

    pub(super) fn resolution(&self) -> Option<&Resolution> {
        self.resolution.get()
    }

    /// Sets the resolution and wakes all subscribers. Only the first resolution counts.
    pub(super) fn resolve(&self, resolution: Resolution) {
        let _ = self.resolution.set(resolution);
        self.notify.notify_waiters();
    }

    /// Wakes the one subscriber without a resolution: it may be its turn.
    pub(super) fn call(&self) {
        self.notify.notify_one();
    }
}
