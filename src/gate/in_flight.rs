//! The holder of a peer's lock and the offers that wait for it: plain state of [`Active`](super::active::Active).

use std::{sync::Arc, time::Duration};

use super::{
    clock::Tick,
    completion::{Completion, Resolution},
    decision::Arrival,
    effects::Effects,
    number::ClaimNumber,
    revocation::{Revocation, Revoked},
};
use crate::{Fingerprint, Reason, Refusal, fence::Fence, settings::Settings};

/// The longest time that a superseded claim holds the lock while its processing is being dropped.
const SUPERSEDED_LEASE: Duration = Duration::from_millis(100);

/// The claim that holds the lock.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) number: ClaimNumber,
    /// Its number in a shared store, [`Fence::NONE`] if the node decided alone. `None` until then.
    pub(super) fence: Option<Fence>,
    pub(super) in_flight: InFlight,
    pub(super) lease_end: Tick,
    /// `true` while the leader's response future lives.
    pub(super) has_leader: bool,
    /// `true` once a newer offer has arrived: the claim has been revoked, and nothing of it is remembered.
    pub(super) is_superseded: bool,
    /// The session of this claim has ended already: nothing of it is remembered.
    pub(super) is_forgotten: bool,
    pub(super) revocation: Option<Arc<Revocation>>,
}

/// An offer that waits for the lock.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) in_flight: InFlight,
    pub(super) seat: Arc<Completion>,
    pub(super) deadline: Tick,
    pub(super) is_detached: bool,
}

/// An offer that is processed or queued.
#[derive(Debug)]
pub(super) struct InFlight {
    /// Given on arrival and never changed: followers and marks refer to it.
    pub(super) id: ClaimNumber,
    /// The number of the offer's first arrival: the offer with the highest one is the newest.
    pub(super) rank: ClaimNumber,
    pub(super) fingerprint: Fingerprint,
    pub(super) since: Tick,
    /// When the offer first arrived: deadlines count from then.
    pub(super) arrived: Tick,
    pub(super) followers: usize,
    /// Made for the first follower.
    pub(super) completion: Option<Arc<Completion>>,
}

impl Holder {
    /// Revokes the claim for a newer offer, and refuses its followers.
    pub(super) fn supersede(&mut self, now: Tick, effects: &mut Effects) {
        if !self.is_superseded {
            self.is_superseded = true;
            self.lease_end = self.lease_end.min(now.after(SUPERSEDED_LEASE));
            effects.revoke(self.revocation.clone(), Revoked::Superseded);
        }
        self.in_flight.followers = 0;
        let followers = self.in_flight.completion.take();
        effects.resolve(followers, Resolution::Refused(Refusal::new(Reason::Superseded)));
    }

    pub(super) fn is_abandoned(&self) -> bool {
        !self.has_leader && self.in_flight.followers == 0
    }

    /// Returns when the claim is past its lease at the earliest. While it waits for capacity, no lease runs.
    pub(super) fn wake(&self, now: Tick, settings: &Settings) -> Tick {
        if self.lease_end == Tick::NEVER {
            lease_wake(now, settings)
        } else {
            self.lease_end
        }
    }
}

impl Queued {
    /// Ends the place: its own future gets `resolution`, its followers decide again or are superseded with it.
    pub(super) fn resolve(self, resolution: Resolution, effects: &mut Effects) {
        let followers = match &resolution {
            Resolution::Refused(refusal) if refusal.reason() == Reason::Superseded => resolution.clone(),
            _ => Resolution::Retry,
        };
        effects.resolve(self.in_flight.completion, followers);
        effects.resolve(Some(self.seat), resolution);
    }
}

impl InFlight {
    pub(super) fn new(id: ClaimNumber, arrival: &Arrival<'_>, now: Tick) -> Self {
        Self {
            id,
            rank: arrival.again.map_or(id, |again| again.rank),
            fingerprint: arrival.fingerprint(),
            since: now,
            arrived: arrival.first(now),
            followers: 0,
            completion: None,
        }
    }
}

/// Returns when a claim whose lease has not begun may be past it at the earliest. A lease of zero must not make its
/// waiters spin.
pub(super) fn lease_wake(now: Tick, settings: &Settings) -> Tick {
    now.after(settings.lease.max(Duration::from_millis(1)))
}
