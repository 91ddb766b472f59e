//! [`Effects`]: the work that a change of the lock table leaves for when the shard's mutex is free.

use std::{panic::resume_unwind, sync::Arc};

use super::{
    clock::Tick,
    completion::{Completion, Resolution},
    history::{History, Record, Trimmed},
    memory::PendingWrite,
    revocation::{Revocation, Revoked},
};
use crate::quiet::{Caught, catch};

/// The work that a change of the lock table leaves for when the shard's mutex is free.
///
/// Nothing in here may run under the mutex: wakers and the `Drop` of recorded answers may call back into the gate.
///
/// Most decisions leave no work, and then there is none to make and to drop.
#[derive(Debug, Default)]
#[must_use = "waiting requests are woken by running the effects"]
pub(super) struct Effects(Option<Work>);

#[derive(Debug, Default)]
struct Work {
    /// Waiting requests to wake. Without a resolution, it may be their turn.
    woken: Few<(Arc<Completion>, Option<Resolution>)>,
    /// A claim to revoke. Without a cause, its processing is only woken.
    revoked: Option<(Arc<Revocation>, Option<Revoked>)>,
    /// The peer's changed history. The peer's entry keeps it until it has been written to the cache.
    write: Option<PendingWrite>,
    taken_over: Option<TakenOver>,
    trimmed: Trimmed,
    /// Cooldowns that ended early to make room.
    cooldowns_evicted: usize,
    /// `true` if the change left something that expires.
    expires: bool,
    /// The rest is only dropped.
    outdated: Few<History>,
    record: Option<Record>,
}

/// A claim that lost its peer to the next offer.
#[derive(Clone, Copy, Debug)]
pub(super) struct TakenOver {
    pub(super) since: Tick,
    pub(super) cause: Revoked,
}

impl Effects {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn resolve(&mut self, completion: Option<Arc<Completion>>, resolution: Resolution) {
        if let Some(completion) = completion {
            self.work().woken.push((completion, Some(resolution)));
        }
    }

    /// Wakes the first offer of the queue.
    pub(super) fn call(&mut self, seat: &Arc<Completion>) {
        self.work().woken.push((Arc::clone(seat), None));
    }

    pub(super) fn revoke(&mut self, revocation: Option<Arc<Revocation>>, cause: Revoked) {
        if let Some(revocation) = revocation {
            self.work().revoked = Some((revocation, Some(cause)));
        }
    }

    /// Wakes the processing of a claim.
    pub(super) fn nudge(&mut self, revocation: Option<Arc<Revocation>>) {
        if let Some(revocation) = revocation {
            self.work().revoked = Some((revocation, None));
        }
    }

    /// Writes a changed history to the cache. Returns whether it is the first write of this change.
    pub(super) fn write(&mut self, write: PendingWrite) -> bool {
        let work = self.work();
        work.expires |= write.history.is_some();
        work.write.replace(write).is_none()
    }

    pub(super) fn take_over(&mut self, taken_over: TakenOver) {
        self.work().taken_over = Some(taken_over);
    }

    /// Returns the claim that lost its peer, if there is one.
    pub(super) fn taken_over(&self) -> Option<TakenOver> {
        self.0.as_ref()?.taken_over
    }

    /// Counts what a history lost.
    pub(super) fn trim(&mut self, trimmed: Trimmed) {
        if trimmed != Trimmed::default() {
            let work = self.work();
            work.trimmed.offers += trimmed.offers;
            work.trimmed.answers += trimmed.answers;
        }
    }

    /// Returns whether a history lost an answer.
    pub(super) fn trims_answers(&self) -> bool {
        self.0.as_ref().is_some_and(|work| work.trimmed.answers > 0)
    }

    /// Counts a cooldown that ended early to make room.
    pub(super) fn evict_cooldown(&mut self) {
        self.work().cooldowns_evicted += 1;
    }

    /// Returns how many offers and cooldowns made room.
    pub(super) fn evicted(&self) -> u64 {
        let evicted = |work: &Work| work.trimmed.offers + work.cooldowns_evicted;
        self.0.as_ref().map_or(0, evicted) as u64
    }

    /// Notes that the change left a cooldown.
    pub(super) fn cool(&mut self) {
        self.work().expires = true;
    }

    pub(super) fn discard(&mut self, history: Option<History>) {
        if let Some(history) = history {
            self.work().outdated.push(history);
        }
    }

    /// Keeps an answer until the mutex is free, also if the history turns out to have no room for it.
    pub(super) fn keep(&mut self, record: Option<&Record>) {
        if record.is_some() {
            self.work().record = record.cloned();
        }
    }

    /// Wakes the requests that the change concerns, then calls `write` if the history changed, and `expire` if it left
    /// something that expires.
    ///
    /// # Panics
    ///
    /// If a waker panics, after everything else is done.
    #[inline]
    pub(super) fn run(&mut self, write: impl FnOnce(PendingWrite), expire: impl FnOnce()) {
        let Some(work) = &mut self.0 else { return };
        let wakes = work.revoked.is_some() || !work.woken.is_empty();
        let woken = wakes.then(|| catch(|| work.wake()));
        if let Some(pending) = work.write.take() {
            write(pending);
        }
        if work.expires {
            expire();
        }
        if let Some(panic) = woken.and_then(Caught::panic) {
            // The rest is woken too, unless wakers panic again and again.
            work.wake();
            resume_unwind(panic);
        }
    }

    fn work(&mut self) -> &mut Work {
        self.0.get_or_insert_default()
    }
}

impl Work {
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
