//! The guards of an admitted offer: [`Claim`] holds the lock, [`Attendance`] waits for it, [`ClaimMemory`] forgets it.

use std::{convert::Infallible, fmt, sync::Arc, task::Context, time::Duration};

use super::{
    clock::Tick,
    decision::{Again, Grant, Scope, Verdict},
    effects::Effects,
    end::{Elsewhere, End},
    gate::Gate,
    history::Record,
    number::ClaimNumber,
    revocation::{Revocation, Revoked},
};
use crate::{
    Offer, PeerKey, Reason, Refusal,
    answer::Duplicates,
    fence::Fence,
    observe,
    outcome::Outcome,
    quiet::{catch, quietly},
};

/// A verdict on an offer that is neither processed nor waits.
type Concluded = Verdict<Infallible, Infallible>;

/// The held lock of one peer for one offer. It ends by [`complete`](Self::complete), or by drop, which releases the peer
/// and remembers nothing.
#[derive(Debug)]
#[must_use = "dropped, it releases the peer"]
pub(crate) struct Claim {
    gate: Arc<Gate>,
    offer: Offer,
    number: ClaimNumber,
    since: Tick,
    arrived: Tick,
    revocation: Option<Arc<Revocation>>,
    /// `false` while a shared store is still to decide.
    is_admitted: bool,
    has_ended: bool,
}

impl Claim {
    #[inline]
    pub(super) fn new(gate: Arc<Gate>, offer: Offer, grant: Grant) -> Self {
        Self {
            is_admitted: !gate.settings().is_shared,
            gate,
            offer,
            number: grant.number,
            since: grant.since,
            arrived: grant.arrived,
            revocation: grant.revocation,
            has_ended: false,
        }
    }

    pub(crate) fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Returns what is left of `time`, counted from the first arrival of the offer.
    pub(crate) fn time_left(&self, time: Duration) -> Duration {
        self.arrived.after(time).since(self.gate.peers.clock.now())
    }

    /// Sets the number under which the shared store has granted the claim, [`Fence::NONE`] if the node decides alone. From
    /// now on the claim is forgotten with what has a lower number.
    pub(crate) fn set_fence(&self, fence: Fence) {
        self.gate.peers.set_fence(self.offer.peer(), self.number, fence);
    }

    /// Notes that the offer is admitted.
    ///
    /// # Panics
    ///
    /// If a subscriber or a recorder panics, after the offer counts as admitted.
    pub(crate) fn note_admitted(&mut self) {
        self.is_admitted = true;
        let verdict = Verdict::<_, Infallible>::Admitted(());
        observe::count_decided(self.gate.counters(), &verdict);
        observe::decided(self.gate.counters(), &self.offer, &verdict);
    }

    /// Returns whether the claim still holds the peer's lock. One that was forgotten does not.
    pub(crate) fn is_held(&self) -> bool {
        self.gate.peers.is_held(self.offer.peer(), self.number)
    }

    /// Returns whether no response future waits for the claim any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.gate.peers.is_abandoned(self.offer.peer(), self.number)
    }

    /// Stops the lease while the store decides or the inner service has no capacity.
    pub(crate) fn await_capacity(&self) {
        self.gate
            .peers
            .set_lease(self.offer.peer(), self.number, |_| Tick::NEVER);
    }

    /// Starts the lease: the inner service is about to be called.
    pub(crate) fn start_lease(&self) {
        let lease = self.gate.settings().lease;
        self.gate
            .peers
            .set_lease(self.offer.peer(), self.number, |now| now.after(lease));
    }

    /// Returns why the claim was revoked, or registers the task of `cx` to be woken when it is.
    #[inline]
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
    #[inline]
    pub(crate) fn memory(&self) -> ClaimMemory {
        ClaimMemory {
            gate: Arc::clone(&self.gate),
            peer: self.offer.peer(),
            number: self.number,
        }
    }

    /// Gives up a claim that was forgotten before it was admitted. Its offer decides again, and is counted then. Until that
    /// is done, the claim must be kept for `drain`.
    pub(crate) fn decide_again(&mut self) -> Again {
        self.has_ended = true;
        Again {
            arrived: self.arrived,
            // Offers that came between its arrival and its grant have waited behind it, or are superseded.
            rank: self.number,
        }
    }

    /// Ends the claim: remembers the offer if that is due, releases the peer and answers its followers. `replays` says
    /// whether duplicates would get the recorded answer.
    ///
    /// # Panics
    ///
    /// If a subscriber, a recorder or a waker panics, after the state is settled.
    #[inline]
    pub(crate) fn complete(self, outcome: Outcome, record: Option<Record>, replays: bool) {
        self.complete_late(outcome, record, replays, Duration::ZERO);
    }

    /// Completes a claim whose processing ended `age` ago. The window of its offer began then.
    ///
    /// # Panics
    ///
    /// As [`complete`](Self::complete).
    pub(crate) fn complete_late(mut self, outcome: Outcome, record: Option<Record>, replays: bool, age: Duration) {
        let is_unrecorded = replays && outcome == Outcome::Success && record.is_none();
        let mut effects = Effects::default();
        let now = self.end(End::Here(outcome, record, age), &mut effects);
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

    /// Ends the claim because another node has processed the offer. Followers get its answer.
    ///
    /// # Panics
    ///
    /// If a subscriber, a recorder or a waker panics, after the state is settled.
    pub(crate) fn resolve_elsewhere(self, elsewhere: Elsewhere, duplicates: Duplicates) -> Concluded {
        let age = Duration::ZERO;
        let verdict = match (duplicates, &elsewhere.record) {
            (Duplicates::Refuse, _) => Verdict::refused(Reason::Processed, age),
            (Duplicates::Wait { .. }, None) => Verdict::refused(Reason::NotRecorded, age),
            (Duplicates::Wait { .. }, Some(record)) => Verdict::Replay {
                record: record.clone(),
                age,
            },
        };
        self.resolve(End::Elsewhere(elsewhere), verdict)
    }

    /// Ends the claim because the shared store refuses the offer. Followers are refused as well.
    ///
    /// # Panics
    ///
    /// If a subscriber, a recorder or a waker panics, after the state is settled.
    pub(crate) fn refuse(self, refusal: Refusal) -> Concluded {
        let verdict = Verdict::Refused {
            refusal: refusal.clone(),
            age: Duration::ZERO,
        };
        self.resolve(End::Refused(refusal), verdict)
    }

    fn resolve(mut self, end: End, verdict: Concluded) -> Concluded {
        let mut effects = Effects::default();
        self.end(end, &mut effects);
        observe::count_decided(self.gate.counters(), &verdict);
        let ran = catch(|| self.gate.run(self.offer.peer(), &mut effects));
        observe::decided(self.gate.counters(), &self.offer, &verdict);
        ran.resume();
        verdict
    }

    /// Settles the state of the peer. Nothing in here calls out, so nothing panics.
    #[inline]
    fn end(&mut self, end: End, effects: &mut Effects) -> Tick {
        self.has_ended = true;
        self.gate.peers.release(self.offer.peer(), self.number, end, effects)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.has_ended {
            let mut effects = Effects::default();
            let now = self.end(End::Here(Outcome::Abandoned, None, Duration::ZERO), &mut effects);
            quietly(|| self.gate.run(self.offer.peer(), &mut effects));
            quietly(|| {
                let held = now.since(self.since);
                if self.is_admitted {
                    observe::ended(self.gate.counters(), &self.offer, Outcome::Abandoned, held, false);
                } else {
                    observe::dropped(self.gate.counters(), &self.offer);
                }
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
    #[inline]
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
