//! [`Claim`]: the held lock of one peer for one offer.

use std::sync::{
    Arc,
    atomic::Ordering::{AcqRel, Acquire},
};

use tokio::task::AbortHandle;

use super::{
    Gate,
    clock::Tick,
    lock::{End, Number},
    memory::{Processed, Record},
    news::Ending,
};
use crate::{Offer, Reason, Refusal, observe};

/// The held lock of one peer for one offer. It ends by [`complete`](Self::complete), [`fail`](Self::fail) or by drop,
/// which releases the peer and remembers nothing.
#[derive(Debug)]
#[must_use = "dropped, it releases the peer"]
pub(crate) struct Claim {
    gate: Arc<Gate>,
    offer: Offer,
    number: Number,
    since: Tick,
    has_ended: bool,
}

/// How an offer that was processed to its end ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Result {
    Success,
    Failure,
}

impl Claim {
    pub(super) fn new(gate: Arc<Gate>, offer: Offer, (number, since): (Number, Tick)) -> Self {
        gate.claims.fetch_add(1, AcqRel);
        observe::admitted(&gate.counters);
        observe::claims(1.0);
        Self {
            gate,
            offer,
            number,
            since,
            has_ended: false,
        }
    }

    /// Stops the lease while the inner service has no capacity.
    pub(crate) fn await_capacity(&self) {
        self.set_lease(Tick::NEVER);
    }

    /// Starts the lease: the inner service is about to be called.
    pub(crate) fn start_lease(&self) {
        let gate = &self.gate;
        self.set_lease(gate.clock.now().after(gate.settings.lease));
    }

    /// What ties the claim to a task, once there is one.
    pub(crate) fn tether(&self) -> Tether {
        Tether {
            gate: Arc::clone(&self.gate),
            offer: self.offer.clone(),
            number: self.number,
        }
    }

    /// Tells operators that duplicates will be refused for want of an answer.
    pub(crate) fn note_not_recorded(&self) {
        observe::not_recorded(&self.offer);
    }

    /// The service answered: remembers the offer if that is due, then releases the peer and answers the duplicates.
    pub(crate) fn complete(mut self, result: Result, record: Option<Record>) {
        let is_remembered = result == Result::Success || self.gate.settings.remember_failures;
        observe::completed(&self.gate.counters, &self.offer, result);
        let ending = if record.is_none() && !is_remembered {
            Ending::NotShared
        } else {
            Ending::Completed(record.clone())
        };
        self.end(is_remembered, record, &ending);
    }

    /// The service failed without an answer: the duplicates that wait look again.
    pub(crate) fn fail(mut self) {
        observe::completed(&self.gate.counters, &self.offer, Result::Failure);
        self.end(self.gate.settings.remember_failures, None, &Ending::LookAgain);
    }

    /// Remembers and releases in one step, then publishes what is remembered.
    fn end(&mut self, is_remembered: bool, record: Option<Record>, ending: &Ending) {
        self.has_ended = true;
        let (gate, number, peer) = (&self.gate, self.number, self.offer.peer());
        let now = gate.clock.now();
        observe::processing(now.since(self.since));

        let is_remembered_here = is_remembered && gate.remembers() && number >= gate.floor.load(Acquire);
        let processed = is_remembered_here.then(|| Processed {
            number,
            fingerprint: self.offer.fingerprint(),
            at: now,
            record,
        });
        let cooldown = if is_remembered {
            gate.settings.cooldown
        } else {
            <_>::default()
        };
        let end = End {
            now,
            cooling_until: now.after(cooldown),
            ending,
            processed,
            horizon: &gate.horizon(now),
            max_memory: gate.settings.max_memory,
        };
        let released = gate.shard(peer).with(|peers| peers.release(peer, number, end));
        if let Some((mut after, edition)) = released {
            after.carry_out();
            if let Some(edition) = edition {
                gate.publish(peer, edition);
                gate.keep_collecting();
            }
        }
    }

    fn set_lease(&self, lease_end: Tick) {
        let peer = self.offer.peer();
        self.gate
            .shard(peer)
            .with(|peers| peers.set_lease(peer, self.number, lease_end));
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.has_ended {
            observe::claim_abandoned(&self.gate.counters, &self.offer);
            self.end(false, None, &Ending::LookAgain);
        }
        observe::claims(-1.0);
        if self.gate.claims.fetch_sub(1, AcqRel) == 1 {
            self.gate.idle.notify_waiters();
        }
    }
}

/// Ties a claim to the task that processes its offer: the task is aborted if the claim is taken over.
#[derive(Debug)]
pub(crate) struct Tether {
    gate: Arc<Gate>,
    offer: Offer,
    number: Number,
}

impl Tether {
    pub(crate) fn tie(&self, task: AbortHandle) {
        let peer = self.offer.peer();
        self.gate
            .shard(peer)
            .with(|peers| peers.set_task(peer, self.number, task));
    }

    /// What the sender is told whose processing was aborted.
    pub(crate) fn refuse_aborted(&self) -> Refusal {
        observe::aborted(&self.offer);
        Refusal::new(Reason::TimedOut)
    }
}
