//! [`Draft`]: the history of an active peer, and the writes of it that are under way to the cache.

use std::mem;

use super::{
    decision::Rules,
    effects::Effects,
    history::{Cutoff, History, Kind, Remembered},
    memory::PendingWrite,
    number::ClaimNumber,
};
use crate::{Fingerprint, fence::Fence};

/// The history of an active peer. It is the newest one; the cache has it too once no write is under way.
#[derive(Debug)]
pub(super) struct Draft {
    history: Option<History>,
    /// Counts the changes of `history`.
    version: u64,
    /// Writes under way. The peer's entry stays until all have arrived.
    pending_writes: usize,
}

impl Draft {
    pub(super) fn new(history: Option<History>) -> Self {
        Self {
            history,
            version: 0,
            pending_writes: 0,
        }
    }

    pub(super) fn into_history(self) -> Option<History> {
        self.history
    }

    pub(super) fn find(&self, fingerprint: Fingerprint, cutoff: &Cutoff) -> Option<&Remembered> {
        self.history.as_ref()?.find(fingerprint, cutoff)
    }

    pub(super) fn is_live(&self, cutoff: &Cutoff) -> bool {
        self.history.as_ref().is_some_and(|history| history.is_live(cutoff))
    }

    pub(super) fn is_written(&self) -> bool {
        self.pending_writes == 0
    }

    /// Appends an offer. What does not fit any more is counted in the effects.
    pub(super) fn remember(&mut self, offer: Remembered, rules: &Rules<'_>, effects: &mut Effects) {
        let max_memory = rules.settings.memory_bytes();
        let (history, trimmed) = History::append(self.history.as_ref(), offer, &rules.cutoff, max_memory);
        effects.trim(trimmed);
        self.set(Some(history), effects);
    }

    /// Remembers that the offer `by` superseded `loser`, whose own marks it takes over.
    pub(super) fn mark(
        &mut self,
        (loser, fingerprint): (ClaimNumber, Fingerprint),
        by: ClaimNumber,
        rules: &Rules<'_>,
        effects: &mut Effects,
    ) {
        if !rules.settings.remembers() {
            return;
        }
        self.transfer_marks(loser, by, &rules.cutoff, effects);
        let mark = Remembered {
            number: by,
            fence: Fence::NONE,
            fingerprint,
            at: rules.now,
            kind: Kind::Superseded,
        };
        self.remember(mark, rules, effects);
    }

    /// Lets the marks of `from` that count name `to` instead.
    pub(super) fn transfer_marks(
        &mut self,
        from: ClaimNumber,
        to: ClaimNumber,
        cutoff: &Cutoff,
        effects: &mut Effects,
    ) {
        let history = self.history.as_ref();
        if let Some(changed) = history.and_then(|history| history.with_marks_transferred(from, to, cutoff)) {
            self.set(Some(changed), effects);
        }
    }

    /// Removes the marks of the offers that `id` superseded: it has not succeeded, so they may be sent again.
    pub(super) fn remove_marks_of(&mut self, id: ClaimNumber, effects: &mut Effects) {
        self.remove(|offer| offer.is_mark_of(id), effects);
    }

    /// Removes the offers that `drops` holds for. Returns whether there were any.
    pub(super) fn remove(&mut self, drops: impl Fn(&Remembered) -> bool, effects: &mut Effects) -> bool {
        let Some(history) = &self.history else {
            return false;
        };
        if !history.as_slice().iter().any(&drops) {
            return false;
        }
        let kept = history.without(drops);
        self.set(kept, effects);
        true
    }

    /// Replaces the history. Several replacements in one change of the lock table are one write.
    pub(super) fn set(&mut self, history: Option<History>, effects: &mut Effects) {
        effects.discard(mem::replace(&mut self.history, history));
        self.version += 1;
        if effects.write(self.pending_write()) {
            self.pending_writes += 1;
        }
    }

    /// Notes that `version` is in the cache. Returns a newer version if there is one: it must be written after this one,
    /// in case the two have overtaken each other.
    pub(super) fn written(&mut self, version: u64) -> Option<PendingWrite> {
        if self.version != version {
            return Some(self.pending_write());
        }
        self.pending_writes -= 1;
        None
    }

    fn pending_write(&self) -> PendingWrite {
        PendingWrite {
            history: self.history.clone(),
            version: self.version,
        }
    }
}
