//! The vocabulary of decisions: arrivals and verdicts.

use std::{sync::Arc, time::Duration};

use super::{
    clock::Tick,
    completion::Completion,
    history::{Cutoff, Kind, Record, Remembered},
    number::{ClaimNumber, Numbers},
    revocation::Revocation,
};
use crate::{Fingerprint, Offer, Reason, Refusal, answer::Duplicates, fence::Fence, settings::Settings};

/// The decision on an offer. `C` is the claim that admits it, `W` the way it waits.
#[derive(Debug)]
pub(crate) enum Verdict<C, W> {
    /// The offer may be processed.
    Admitted(C),
    /// The offer is a duplicate and gets the recorded answer. It was processed `age` ago.
    Replay { record: Record, age: Duration },
    /// The offer is not processed. What it conflicts with has gone on for `age`, or for zero where that says nothing.
    Refused { refusal: Refusal, age: Duration },
    /// The offer waits.
    Wait(W),
}

impl<C, W> Verdict<C, W> {
    pub(super) fn refused(reason: Reason, age: Duration) -> Self {
        Self::Refused {
            refusal: Refusal::new(reason),
            age,
        }
    }

    /// Converts the claim and how the offer waits.
    #[inline]
    pub(super) fn map<D, V>(self, claim: impl FnOnce(C) -> D, wait: impl FnOnce(W) -> V) -> Verdict<D, V> {
        match self {
            Self::Admitted(grant) => Verdict::Admitted(claim(grant)),
            Self::Replay { record, age } => Verdict::Replay { record, age },
            Self::Refused { refusal, age } => Verdict::Refused { refusal, age },
            Self::Wait(place) => Verdict::Wait(wait(place)),
        }
    }

    /// Decides on a duplicate of a remembered offer.
    pub(super) fn known(known: &Remembered, arrival: &Arrival<'_>, now: Tick) -> Self {
        let age = now.since(known.at);
        match (&known.kind, arrival.policy.duplicates) {
            (Kind::Superseded, _) => Self::refused(Reason::Superseded, age),
            (Kind::Processed(_), Duplicates::Refuse) => Self::refused(Reason::Processed, age),
            (Kind::Processed(record), Duplicates::Wait { .. }) => Self::replay(record.clone(), arrival.policy, age),
        }
    }

    /// Refuses an offer whose peer cools down.
    pub(super) fn cooling(until: Tick, now: Tick) -> Self {
        Self::Refused {
            refusal: Refusal::with_retry_after(Reason::CoolingDown, until.since(now)),
            age: Duration::ZERO,
        }
    }

    /// Replays `record` if there is one that fits, and refuses otherwise.
    pub(super) fn replay(record: Option<Record>, policy: DuplicatePolicy, age: Duration) -> Self {
        match record.filter(policy.can_replay) {
            Some(record) => Self::Replay { record, age },
            None => Self::refused(Reason::NotRecorded, age),
        }
    }
}

/// The answer's policy for duplicates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DuplicatePolicy {
    pub(crate) duplicates: Duplicates,
    /// Returns whether a record can be replayed: services of one layer may have different response types.
    pub(crate) can_replay: fn(&Record) -> bool,
}

/// An offer to decide on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<'a> {
    pub(super) offer: &'a Offer,
    pub(super) policy: DuplicatePolicy,
    /// `true` if the offer is processed in a task of its own, which must learn when its claim is lost.
    pub(super) is_detached: bool,
    /// Set if the offer decides again: it has waited, or was forgotten while a shared store decided.
    pub(super) again: Option<Again>,
}

/// The first arrival of an offer that decides again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Again {
    /// Its deadlines count from then.
    pub(super) arrived: Tick,
    /// Its number among the arrivals; for a follower, that of the offer it followed.
    pub(super) rank: ClaimNumber,
}

impl<'a> Arrival<'a> {
    /// Describes an offer that has not waited before.
    pub(crate) fn new(offer: &'a Offer, policy: DuplicatePolicy, is_detached: bool) -> Self {
        Self {
            offer,
            policy,
            is_detached,
            again: None,
        }
    }

    /// Describes the same for an offer that decides again.
    pub(crate) fn again(self, again: Again) -> Self {
        Self {
            again: Some(again),
            ..self
        }
    }

    /// Returns when the offer first arrived: `now`, unless it decides again.
    pub(super) fn first(&self, now: Tick) -> Tick {
        self.again.map_or(now, |again| again.arrived)
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.offer.fingerprint()
    }
}

/// The input of a decision besides the state of the peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    /// Read under the shard's mutex, so that no deadline of the lock table is compared with an older time.
    pub(super) now: Tick,
    pub(super) cutoff: Cutoff,
    pub(super) settings: &'a Settings,
    pub(super) numbers: &'a Numbers,
}

/// The lock of a peer, granted to one offer.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) number: ClaimNumber,
    pub(super) since: Tick,
    pub(super) arrived: Tick,
    pub(super) revocation: Option<Arc<Revocation>>,
}

/// The place where an offer waits.
#[derive(Debug)]
pub(super) enum Place {
    /// Behind the same offer, which is in flight or queued under `id`.
    Following {
        completion: Arc<Completion>,
        id: ClaimNumber,
        /// The rank of that offer.
        rank: ClaimNumber,
        /// When the follower must look again even if nothing wakes it: the leader may be past its lease then.
        wake: Tick,
    },
    /// In the queue of its peer.
    Queued {
        id: ClaimNumber,
        rank: ClaimNumber,
        seat: Arc<Completion>,
        /// When the offer must check its turn even if nothing wakes it. `None` after the first poll.
        wake: Option<Tick>,
    },
}

/// The turn of a queued offer.
#[derive(Debug)]
pub(super) enum Turn<C> {
    Granted(C),
    /// The offer must look again at that time even if nothing wakes it.
    NotYet(Tick),
    /// The place was removed. Its completion says what follows, as soon as the remover has run its effects.
    Removed,
}

/// The scope of `forget`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scope {
    /// Everything of the peer.
    Peer,
    /// The memory, mark, claim or queue place of one offer.
    Offer(Fingerprint),
    /// The memory of one claim, written or still to be written.
    Claim(ClaimNumber),
    /// The memories and the claim with a number in the shared store up to `fence`, of one offer or of all. What the store
    /// has not numbered goes too, except a claim that it is still to decide.
    Older {
        fingerprint: Option<Fingerprint>,
        fence: Fence,
    },
    /// The memory of the claim with this number in the shared store, written or still to be written.
    Fenced(Fingerprint, Fence),
}
