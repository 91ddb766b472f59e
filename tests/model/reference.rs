//! The behaviour of `docs/design.md` in its plainest form: every request in one list, nothing optimised.

use std::collections::BTreeSet;

use tower_offer_dedup::Reason;

use crate::{
    request::{Outcome, Request},
    terms::{Capacity, End, Id, Peer, Quality, Rules, State, Time},
};

/// The number of processed offers that are remembered per peer.
const MEMORIES: usize = 16;

pub(crate) struct Memory {
    pub(crate) peer: Peer,
    pub(crate) offer: u8,
    pub(crate) at: Time,
    /// The call whose answer was recorded.
    pub(crate) answer: Option<(Id, Quality)>,
}

pub(crate) struct Model {
    pub(crate) rules: Rules,
    pub(crate) requests: Vec<Request>,
    memories: Vec<Memory>,
    pub(crate) cooling: Vec<(Peer, Time)>,
    pub(crate) capacity: Capacity,
    pub(crate) places: usize,
    pub(crate) taken_over: usize,
    pub(crate) forgotten: usize,
    pub(crate) replayed: BTreeSet<Id>,
    /// The number of memories dropped because their peer had too many.
    pub(crate) crowded_out: usize,
    /// Peers whose waiters may have something to learn since the last comparison.
    pub(crate) changed: BTreeSet<Peer>,
    /// The times at which leases and cooldowns end, or would have ended.
    pub(crate) deadlines: Vec<(Peer, Time)>,
}

impl Model {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            requests: Vec::new(),
            memories: Vec::new(),
            cooling: Vec::new(),
            capacity: Capacity::Ready,
            places: 0,
            taken_over: 0,
            forgotten: 0,
            replayed: BTreeSet::new(),
            crowded_out: 0,
            changed: BTreeSet::new(),
            deadlines: Vec::new(),
        }
    }

    /// A new request arrives.
    pub(crate) fn offer(&mut self, peer: Peer, offer: u8, is_poison: bool, now: Time) {
        self.requests.push(Request::new(peer, offer, is_poison, now));
        self.decide(self.requests.len() - 1, now);
        self.settle(now);
    }

    /// The processing of a request ends.
    pub(crate) fn end(&mut self, id: Id, end: End, now: Time) {
        self.finish(id, end, now);
        self.settle(now);
    }

    /// The client of a request goes away. A waiter is removed. Processing continues only if it is detached.
    pub(crate) fn drop(&mut self, id: Id, now: Time) {
        if self.requests[id].is_open() && !self.rules.detaches {
            self.close(id, Outcome::Abandoned, State::Dropped);
        }
        self.leave(id, State::Dropped);
        self.settle(now);
    }

    /// Returns `false` if there was nothing to forget.
    pub(crate) fn forget(&mut self, peer: Peer, now: Time) -> bool {
        let was_locked =
            self.holder(peer).is_some() || self.queue(peer).next().is_some() || self.cools(peer, now).is_some();
        let was_remembered = self.live_memories(now).any(|memory| memory.peer == peer);
        if let Some(holder) = self.holder(peer) {
            self.revoke(holder);
        }
        self.memories.retain(|memory| memory.peer != peer);
        self.cooling.retain(|(cooling, _)| *cooling != peer);
        self.changed.insert(peer);
        let was_known = was_locked || was_remembered;
        self.forgotten += usize::from(was_known);
        self.settle(now);
        was_known
    }

    pub(crate) fn clear(&mut self, now: Time) {
        for id in 0..self.requests.len() {
            self.changed.insert(self.requests[id].peer);
            self.revoke(id);
        }
        self.memories.clear();
        self.cooling.clear();
        self.settle(now);
    }

    /// The inner service gains or loses its readiness.
    pub(crate) fn set_capacity(&mut self, capacity: Capacity, now: Time) {
        self.capacity = capacity;
        for id in 0..self.requests.len() {
            if self.requests[id].is_open() && !self.requests[id].is_called() {
                self.call(id, now);
            }
        }
        self.settle(now);
    }

    /// Waiters that have a reason decide again, until none has one.
    pub(crate) fn settle(&mut self, now: Time) {
        loop {
            let mut ids = 0..self.requests.len();
            if let Some(id) = ids.find(|id| self.has_reason(*id, now)) {
                self.decide_again(id, now);
            } else if let Some(id) = self.next_broken_call() {
                self.finish(id, End::Err, now);
            } else {
                return;
            }
        }
    }

    /// A request whose detached task finds the inner service broken.
    fn next_broken_call(&self) -> Option<Id> {
        let mut ids = 0..self.requests.len();
        let is_broken = self.capacity == Capacity::Broken;
        ids.find(|id| is_broken && self.requests[*id].is_open() && !self.requests[*id].is_called())
    }

    /// Returns `true` if a waiter of this peer may have been woken since `then`, or since the last comparison.
    pub(crate) fn may_have_changed(&self, peer: Peer, then: Time, now: Time) -> bool {
        let mut deadlines = self.deadlines.iter();
        self.changed.contains(peer) || deadlines.any(|(whose, at)| *whose == peer && then < *at && *at <= now)
    }

    pub(crate) fn clear_changed(&mut self) {
        self.changed.clear();
    }

    pub(crate) fn live_memories(&self, now: Time) -> impl Iterator<Item = &Memory> {
        self.memories.iter().filter(move |memory| self.is_live(memory, now))
    }

    pub(crate) fn holder(&self, peer: Peer) -> Option<Id> {
        (0..self.requests.len()).find(|id| self.requests[*id].peer == peer && self.requests[*id].holds_lock())
    }

    pub(crate) fn finish(&mut self, id: Id, end: End, now: Time) {
        let Request { peer, offer, .. } = self.requests[id];
        let held_lock = self.requests[id].holds_lock();
        let (outcome, state) = match end {
            End::Answer(quality @ Quality::Success) => (Outcome::Completed, State::Answered(id, quality)),
            End::Answer(quality @ Quality::Failure) => (Outcome::Failed, State::Answered(id, quality)),
            End::Err => (Outcome::Failed, State::Erred),
            End::Panic => (Outcome::Abandoned, State::Panicked),
        };
        self.close(id, outcome, state);
        if !held_lock {
            return;
        }
        let is_remembered = match outcome {
            Outcome::Completed => true,
            Outcome::Failed => self.rules.remembers_failures,
            Outcome::Abandoned => false,
        };
        let answer = match end {
            End::Answer(quality) => (self.rules.replays && self.rules.records).then_some((id, quality)),
            End::Err | End::Panic => None,
        };
        if is_remembered {
            let until = now + self.rules.cooldown;
            self.cooling.push((peer, until));
            self.deadlines.push((peer, until));
            self.remember(peer, offer, answer, now);
        }
        if let End::Answer(_) = end {
            // An offer that is not remembered may be retried, also if there is no answer to share.
            let reason = if is_remembered {
                Reason::NotRecorded
            } else {
                Reason::InFlight
            };
            for duplicate in self.duplicates(peer, offer) {
                self.repeat(duplicate, answer, reason);
            }
        }
    }

    fn remember(&mut self, peer: Peer, offer: u8, answer: Option<(Id, Quality)>, now: Time) {
        self.memories.push(Memory {
            peer,
            offer,
            at: now,
            answer,
        });
        let of_peer = |memory: &Memory| memory.peer == peer;
        if self.live_memories(now).filter(|memory| of_peer(memory)).count() > MEMORIES {
            let is_oldest = |memory: &Memory| of_peer(memory) && self.is_live(memory, now);
            let oldest = self.memories.iter().position(is_oldest);
            self.memories.remove(oldest.expect("the peer has memories"));
            self.crowded_out += 1;
        }
    }

    /// Ends the processing of a request.
    pub(crate) fn close(&mut self, id: Id, outcome: Outcome, state: State) {
        self.release(id);
        let request = &mut self.requests[id];
        request.work.as_mut().expect("the request is admitted").outcome = Some(outcome);
        if request.state != State::Dropped {
            request.state = state;
        }
    }

    /// Ends the wait of a request. Others notice only if it was the front of the queue or had followers.
    pub(crate) fn leave(&mut self, id: Id, state: State) {
        let Request { peer, offer, .. } = self.requests[id];
        let in_queue = self.requests[id].state == State::Waits && self.requests[id].in_queue;
        if in_queue && (self.queue(peer).next() == Some(id) || !self.duplicates(peer, offer).is_empty()) {
            self.changed.insert(peer);
        }
        self.requests[id].in_queue = false;
        self.requests[id].state = state;
    }

    /// Takes the lock from a claim. Its result then counts for nothing.
    pub(crate) fn revoke(&mut self, id: Id) {
        self.release(id);
        if let Some(work) = &mut self.requests[id].work {
            work.is_revoked = true;
        }
    }

    /// Frees the lock, if the request holds it. Its followers decide again.
    fn release(&mut self, id: Id) {
        let Request { peer, offer, .. } = self.requests[id];
        if self.requests[id].holds_lock() {
            self.changed.insert(peer);
            for duplicate in self.duplicates(peer, offer) {
                self.requests[duplicate].must_decide_again = true;
            }
        }
    }
}
