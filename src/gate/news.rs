//! What becomes of an offer under way, told to the duplicates that wait for it.

use std::sync::Arc;

use super::{
    memory::Record,
    sync::{Notify, OnceLock, OwnedNotified},
};

/// How an offer under way ended, for the duplicates that waited.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    /// It was completed, with this answer if one was recorded.
    Completed(Option<Record>),
    /// It was completed, and may be tried again: the answer is that of a failure, and was not recorded.
    NotShared,
    /// It failed, was dropped or lost the lock: whoever waited decides anew.
    LookAgain,
}

/// One offer's ending, to be. Completion wakes every waiter at once, whatever their order.
#[derive(Debug, Default)]
pub(super) struct News {
    ending: OnceLock<Ending>,
    told: Arc<Notify>,
}

impl News {
    /// Wakes once the ending is told. Whoever listens before it looks misses nothing.
    pub(super) fn listen(&self) -> OwnedNotified {
        Arc::clone(&self.told).notified_owned()
    }

    pub(super) fn ending(&self) -> Option<&Ending> {
        self.ending.get()
    }

    /// The first ending counts; a later one changes nothing.
    pub(super) fn tell(&self, ending: Ending) {
        let _ = self.ending.set(ending);
        self.told.notify_waiters();
    }
}
