//! [`Effects`]: the work that a change of the lock table leaves for when the shard's mutex is free.

use std::{panic::resume_unwind, sync::Arc};

use super::{
    clock::Tick,
    completion::{Completion, Resolution},
    history::{History, Record, Trimmed},
    memory::PendingWrite,
    peer::Active,
    revocation::{Revocation, Revoked},
};
use crate::quiet::{Caught, catch};

/// The work that a change of the lock table leaves for when the shard's mutex is free.
///
/// Nothing in here may run under the mutex: wakers and the `Drop` of recorded answers may call back into the gate.
#[derive(Debug, Default)]
#[must_use = "waiting requests are woken by running the effects"]
pub(super) struct Effects {
    /// Waiting requests to wake. Without a resolution, it may be their turn.
    woken: Few<(Arc<Completion>, Option<Resolution>)>,
    /// A claim to revoke. Without a cause, its processing is only woken.
    revoked: Option<(Arc<Revocation>, Option<Revoked>)>,
    /// The peer's changed history. The peer's entry keeps it until it has been written to the cache.
    pub(super) write: Option<PendingWrite>,
    pub(super) taken_over: Option<TakenOver>,
    pub(super) trimmed: Trimmed,
    /// Cooldowns that ended early to make room.
    pub(super) cooldowns_evicted: usize,
    /// `true` if the change left something that expires.
    pub(super) expires: bool,
    outdated: Few<History>,
    record: Option<Record>,
    pub(super) vacant: Option<Box<Active>>,
}

/// A list that is mostly empty or has one item, which needs no allocation.
#[derive(Debug)]
struct Few<T> {
    first: Option<T>,
    more: Vec<T>,
}

impl<T> Few<T> {
    fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn push(&mut self, item: T) {
        if self.first.is_none() {
            self.first = Some(item);
        } else {
            self.more.push(item);
        }
    }

    fn pop(&mut self) -> Option<T> {
        self.more.pop().or_else(|| self.first.take())
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self {
            first: None,
            more: Vec::new(),
        }
    }
}

/// A claim that lost its peer to the next offer.
#[derive(Clone, Copy, Debug)]
pub(super) struct TakenOver {
    pub(super) since: Tick,
    pub(super) cause: Revoked,
}

impl Effects {
    /// Returns whether there is nothing to run. Something may be left to drop.
    pub(super) fn is_empty(&self) -> bool {
        self.woken.is_empty()
            && self.revoked.is_none()
            && self.write.is_none()
            && self.taken_over.is_none()
            && self.trimmed == Trimmed::default()
            && self.cooldowns_evicted == 0
    }

    pub(super) fn resolve(&mut self, completion: Option<Arc<Completion>>, resolution: Resolution) {
        if let Some(completion) = completion {
            self.woken.push((completion, Some(resolution)));
        }
    }

    /// Wakes the first offer of the queue.
    pub(super) fn call(&mut self, seat: &Arc<Completion>) {
        self.woken.push((Arc::clone(seat), None));
    }

    pub(super) fn revoke(&mut self, revocation: Option<Arc<Revocation>>, cause: Revoked) {
        self.revoked = revocation.map(|revocation| (revocation, Some(cause)));
    }

    /// Wakes the processing of a claim.
    pub(super) fn nudge(&mut self, revocation: Option<Arc<Revocation>>) {
        self.revoked = revocation.map(|revocation| (revocation, None));
    }

    pub(super) fn discard(&mut self, history: Option<History>) {
        if let Some(history) = history {
            self.outdated.push(history);
        }
    }

    /// Keeps an answer until the mutex is free, also if the history turns out to have no room for it.
    pub(super) fn keep(&mut self, record: Option<&Record>) {
        self.record = record.cloned();
    }

    /// Wakes the requests that the change concerns, then calls `write` if the history changed.
    ///
    /// # Panics
    ///
    /// If a waker panics, after everything else is done.
    pub(super) fn run(&mut self, write: impl FnOnce(PendingWrite)) {
        let wakes = self.revoked.is_some() || !self.woken.is_empty();
        let woken = wakes.then(|| catch(|| self.wake()));
        if let Some(pending) = self.write.take() {
            write(pending);
        }
        if let Some(panic) = woken.and_then(Caught::panic) {
            // The rest is woken too, unless wakers panic again and again.
            self.wake();
            resume_unwind(panic);
        }
    }

    /// Takes out what it is about to do, so that a second call goes on after a panic.
    fn wake(&mut self) {
        if let Some((revocation, cause)) = self.revoked.take() {
            revocation.wake(cause);
        }
        while let Some((completion, resolution)) = self.woken.pop() {
            match resolution {
                Some(resolution) => completion.resolve(resolution),
                None => completion.call(),
            }
        }
    }
}
