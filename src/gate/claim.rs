//! The guards of an admitted offer: [`Claim`] holds the lock, [`Attendance`] waits for it, [`ClaimMemory`] forgets it.

use std::{fmt, sync::Arc, task::Context};

use super::{
    clock::Tick,
    decision::{Grant, Scope},
    effects::Effects,
    gate::Gate,
    history::Record,
    number::ClaimNumber,
    peer::End,
    revocation::{Revocation, Revoked},
};
use crate::{
    Offer, PeerKey, observe,
    outcome::Outcome,
    quiet::{catch, quietly},
};

/// The held lock of one peer for one offer. It ends by [`complete`](Self::complete), or by drop, which releases the peer
/// and remembers nothing.
#[derive(Debug)]
#[must_use = "dropped, it releases the peer"]
pub(crate) struct Claim {
    gate: Arc<Gate>,
    offer: Offer,
    number: ClaimNumber,
    since: Tick,
    revocation: Option<Arc<Revocation>>,
    has_ended: bool,
}

impl Claim {
    pub(super) fn new(gate: Arc<Gate>, offer: Offer, grant: Grant) -> Self {
        Self {
            gate,
            offer,
            number: grant.number,
            since: grant.since,
            revocation: grant.revocation,
            has_ended: false,
        }
    }

    pub(crate) fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Stops the lease while the inner service has no capacity.
    pub(crate) fn await_capacity(&self) {
        self.gate.set_lease(self.offer.peer(), self.number, |_| Tick::NEVER);
    }

    /// Starts the lease: the inner service is about to be called.
    pub(crate) fn start_lease(&self) {
        let lease = self.gate.settings.lease;
        self.gate
            .set_lease(self.offer.peer(), self.number, |now| now.after(lease));
    }

    /// Returns why the claim was revoked, or registers the task of `cx` to be woken when it is.
    pub(crate) fn poll_revoked(&self, cx: &Context<'_>) -> Option<Revoked> {
        self.revocation.as_ref()?.poll(cx)
    }

    /// Returns the guard of a response future that waits for this claim without holding it.
    pub(crate) fn attend(&self) -> Attendance {
        Attendance {
            gate: Arc::clone(&self.gate),
            offer: self.offer.clone(),
            number: self.number,
            is_over: false,
        }
    }

    /// Returns a handle to what this claim remembers or will remember.
    pub(crate) fn memory(&self) -> ClaimMemory {
        ClaimMemory {
            gate: Arc::clone(&self.gate),
            peer: self.offer.peer(),
            number: self.number,
        }
    }

    /// Ends the claim: remembers the offer if that is due, releases the peer and answers its followers. `replays` says
    /// whether duplicates would get the recorded answer.
    ///
    /// # Panics
    ///
    /// If a subscriber, a recorder or a waker panics, after the state is settled.
    pub(crate) fn complete(mut self, outcome: Outcome, record: Option<Record>, replays: bool) {
        let is_unrecorded = replays && outcome == Outcome::Success && record.is_none();
        let mut effects = Effects::default();
        let now = self.end(outcome, record, &mut effects);
        let is_unrecorded = is_unrecorded || effects.trims_answers();
        let ran = catch(|| self.gate.run(self.offer.peer(), &mut effects));
        observe::ended(
            self.gate.counters(),
            &self.offer,
            outcome,
            now.since(self.since),
            is_unrecorded,
        );
        ran.resume();
    }

    /// Settles the state of the peer. Nothing in here calls out, so nothing panics.
    fn end(&mut self, outcome: Outcome, record: Option<Record>, effects: &mut Effects) -> Tick {
        self.has_ended = true;
        self.gate
            .release(self.offer.peer(), self.number, End { outcome, record }, effects)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.has_ended {
            let mut effects = Effects::default();
            let now = self.end(Outcome::Abandoned, None, &mut effects);
            quietly(|| self.gate.run(self.offer.peer(), &mut effects));
            quietly(|| {
                let held = now.since(self.since);
                observe::ended(self.gate.counters(), &self.offer, Outcome::Abandoned, held, false);
            });
        }
        // Last, also after a completion that panicked: `drain` resolves when the history is in the cache, the followers
        // have been woken and the end has been counted.
        self.gate.live.claim_gone();
    }
}

/// A response future that waits for a claim held by a task of its own. Dropped, it leaves the claim unattended unless a
/// follower waits for it: a different offer of the peer then takes over.
#[derive(Debug)]
pub(crate) struct Attendance {
    gate: Arc<Gate>,
    offer: Offer,
    number: ClaimNumber,
    is_over: bool,
}

impl Attendance {
    /// Ends the attendance: the task is done.
    pub(crate) fn end(mut self) {
        self.is_over = true;
    }

    /// Ends the attendance: the runtime dropped the task.
    pub(crate) fn end_aborted(mut self) {
        self.is_over = true;
        observe::aborted(&self.offer);
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        quietly(|| {
            self.gate.change(&self.offer, |active, effects| {
                active.abandon(self.number, effects);
            });
        });
    }
}

/// A handle to the memory of one claim, written or still to be written. It never touches a newer claim of the same peer.
#[derive(Clone)]
pub(crate) struct ClaimMemory {
    gate: Arc<Gate>,
    peer: PeerKey,
    number: ClaimNumber,
}

impl ClaimMemory {
    /// Forgets it. While the claim is in flight, this only prevents remembering.
    pub(crate) fn forget(&self) -> bool {
        self.gate.forget(self.peer, Scope::Claim(self.number))
    }

    /// Returns whether the claim is one of `gate`.
    pub(crate) fn is_of(&self, gate: &Arc<Gate>) -> bool {
        Arc::ptr_eq(&self.gate, gate)
    }
}

impl fmt::Debug for ClaimMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimMemory")
            .field("peer", &self.peer)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}
