//! The behaviour of `docs/design.md` in its plainest form: every request in one list, nothing optimised.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tower_offer_dedup::{Reason, WhenBusy};

use crate::{
    memory::{Kind, Memory},
    request::{Cause, Ending, Outcome, Place, Request},
    terms::{Capacity, End, Id, Peer, Rules, State, Time},
};

pub(crate) struct Model {
    pub(crate) rules: Rules,
    pub(crate) requests: Vec<Request>,
    pub(crate) memories: Vec<Memory>,
    pub(crate) cooling: Vec<(Peer, Time)>,
    pub(crate) capacity: Capacity,
    pub(crate) turns: usize,
    pub(crate) taken_over: usize,
    pub(crate) forgotten: usize,
    /// The number of memories dropped because their peer had too many.
    pub(crate) evicted: usize,
    pub(crate) replayed: BTreeSet<Id>,
    /// The number of times that each rule without a counter has applied.
    pub(crate) seen: BTreeMap<&'static str, u64>,
    /// Peers whose waiters may have something to learn since the last comparison.
    pub(crate) changed: BTreeSet<Peer>,
    /// The times at which leases, cooldowns and queue places end, or would have ended.
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
            turns: 0,
            taken_over: 0,
            forgotten: 0,
            evicted: 0,
            replayed: BTreeSet::new(),
            seen: BTreeMap::new(),
            changed: BTreeSet::new(),
            deadlines: Vec::new(),
        }
    }

    /// A new request arrives.
    pub(crate) fn offer(&mut self, peer: Peer, offer: u8, is_poison: bool, now: Time) {
        self.requests
            .push(Request::new(self.requests.len(), peer, offer, is_poison, now));
        self.decide(self.requests.len() - 1, now);
        self.settle(now);
    }

    /// The inner service ends the call of a request.
    pub(crate) fn end(&mut self, id: Id, end: End, now: Time) {
        self.work(id).end = Some(end);
        self.settle(now);
    }

    /// The client of a request goes away. A waiter gives up its place. Processing continues only if it is detached.
    pub(crate) fn drop(&mut self, id: Id, now: Time) {
        let peer = self.requests[id].peer;
        match self.requests[id].state {
            State::Waits => {
                self.leave(id);
                self.requests[id].state = State::Dropped;
            }
            State::Processed if !self.rules.detaches => self.abort(id, Outcome::Abandoned, State::Dropped),
            _ => {
                self.requests[id].state = State::Dropped;
                self.give_way(peer);
            }
        }
        self.settle(now);
    }

    /// The client stops polling, or polls again.
    pub(crate) fn hold(&mut self, id: Id, is_held: bool, now: Time) {
        self.requests[id].is_held = is_held;
        // It may learn now what it has missed.
        self.changed.insert(self.requests[id].peer);
        self.settle(now);
    }

    /// Returns `false` if there was nothing to forget.
    pub(crate) fn forget(&mut self, peer: Peer, now: Time) -> bool {
        self.expire_places(peer, now);
        let was_locked = self.holder(peer).is_some() || !self.queue(peer).is_empty() || self.cools(peer, now).is_some();
        let was_remembered = self.live_memories(now).any(|memory| memory.peer == peer);
        self.forget_claims_of(peer);
        self.memories.retain(|memory| memory.peer != peer);
        self.cooling.retain(|(cooling, _)| *cooling != peer);
        let was_known = was_locked || was_remembered;
        self.forgotten += usize::from(was_known);
        self.settle(now);
        was_known
    }

    /// Ends the memory, mark, claim or queue place of one offer. Returns `false` if it had none.
    pub(crate) fn forget_offer(&mut self, peer: Peer, offer: u8, now: Time) -> bool {
        self.expire_places(peer, now);
        let known = self.remembered(peer, offer, now);
        let was_remembered = known.is_some();
        if let Some(Kind::Processed(id, _)) = known {
            // The marks go with the memory of the offer that they name.
            self.remove_marks_of(id);
        }
        self.memories
            .retain(|memory| memory.peer != peer || memory.offer != offer);
        let active = self.active_offer(peer, offer);
        if let Some(id) = active {
            self.note("offer forgotten while active");
            if self.requests[id].is_queued() {
                self.end_place(id, Ending::DecidesAgain(None));
            } else {
                self.revoke(id);
                self.remove_marks_of(id);
            }
        }
        let was_known = was_remembered || active.is_some();
        self.forgotten += usize::from(was_known);
        self.settle(now);
        was_known
    }

    pub(crate) fn clear(&mut self, now: Time) {
        let peers: BTreeSet<Peer> = self.requests.iter().map(|request| request.peer).collect();
        for peer in peers {
            self.forget_claims_of(peer);
        }
        self.memories.clear();
        self.cooling.clear();
        self.settle(now);
    }

    /// The inner service gains or loses its readiness.
    pub(crate) fn set_capacity(&mut self, capacity: Capacity, now: Time) {
        self.capacity = capacity;
        self.settle(now);
    }

    /// Polls what has something to do until nothing has: futures first, then detached tasks.
    pub(crate) fn settle(&mut self, now: Time) {
        loop {
            let mut ids = 0..self.requests.len();
            if let Some(id) = ids.clone().find(|id| self.has_reason(*id, now)) {
                self.poll(id, now);
            } else if let Some(id) = ids.find(|id| self.rules.detaches && self.is_due(*id)) {
                self.run(id, now);
            } else {
                return;
            }
        }
    }

    /// Returns `true` if a waiter of this peer may have been woken since `then`, or since the last comparison.
    pub(crate) fn may_have_changed(&self, peer: Peer, then: Time, now: Time) -> bool {
        let mut deadlines = self.deadlines.iter();
        self.changed.contains(peer) || deadlines.any(|(whose, at)| *whose == peer && then < *at && *at <= now)
    }

    pub(crate) fn clear_changed(&mut self) {
        self.changed.clear();
    }

    /// Returns whether `drain` resolves, or `None` if only unpolled waiters past their deadline are left.
    pub(crate) fn is_drained(&self, now: Time) -> Option<bool> {
        let mut waiters = self.requests.iter().filter(|request| request.state == State::Waits);
        if self.requests.iter().any(Request::is_open) {
            return Some(false);
        }
        let is_early = |request: &Request| match request.place {
            Some(Place::Queued { deadline, .. }) => deadline.is_some_and(|deadline| deadline > now),
            Some(Place::Following(_)) => request.arrived + self.rules.duplicates.1 > now,
            Some(Place::Ended(_)) | None => false,
        };
        if waiters.clone().any(is_early) {
            return Some(false);
        }
        let queued = match self.rules.when_busy {
            WhenBusy::Refuse => Duration::ZERO,
            WhenBusy::Queue { timeout, .. } => timeout,
            // Ten times what a newcomer waits at most.
            WhenBusy::Supersede => Duration::from_secs(1),
        };
        let longest = queued.max(self.rules.duplicates.1);
        let are_all_late = self.requests.iter().all(|request| request.arrived + longest <= now);
        (waiters.next().is_none() || are_all_late).then_some(true)
    }

    pub(crate) fn holder(&self, peer: Peer) -> Option<Id> {
        (0..self.requests.len()).find(|id| self.requests[*id].peer == peer && self.requests[*id].holds_lock())
    }

    /// The queue of a peer, in first-in-first-out order.
    pub(crate) fn queue(&self, peer: Peer) -> Vec<Id> {
        let is_queued = |id: &Id| self.requests[*id].peer == peer && self.requests[*id].is_queued();
        let mut queue: Vec<Id> = (0..self.requests.len()).filter(is_queued).collect();
        queue.sort_by_key(|id| self.requests[*id].turn());
        queue
    }

    /// The request that processes this offer or waits in the queue with it.
    pub(crate) fn active_offer(&self, peer: Peer, offer: u8) -> Option<Id> {
        let mut active = self.holder(peer).into_iter().chain(self.queue(peer));
        active.find(|id| self.requests[*id].offer == offer)
    }

    pub(crate) fn followers(&self, leader: Id) -> Vec<Id> {
        (0..self.requests.len())
            .filter(|id| self.requests[*id].follows(leader))
            .collect()
    }

    /// Returns `true` if no response future waits for the answer of a claim.
    pub(crate) fn is_abandoned(&self, id: Id) -> bool {
        self.requests[id].state == State::Dropped && self.followers(id).is_empty()
    }

    /// The rest of the peer's cooldown, or `None` if the peer is not cooling down.
    pub(crate) fn cools(&self, peer: Peer, now: Time) -> Option<Duration> {
        let mut cooling = self.cooling.iter();
        let (_, until) = cooling.rfind(|(whose, until)| *whose == peer && *until > now)?;
        Some(*until - now)
    }

    /// Ends the place of a queued request. Its followers decide again, or are superseded with it.
    pub(crate) fn end_place(&mut self, id: Id, ending: Ending) {
        self.changed.insert(self.requests[id].peer);
        let followers = match ending {
            Ending::Refused(Reason::Superseded) => ending,
            _ => Ending::DecidesAgain(None),
        };
        self.end_followers(id, followers);
        let own = match (ending, self.requests[id].place) {
            (Ending::DecidesAgain(_), Some(Place::Queued { deadline, .. })) => Ending::DecidesAgain(deadline),
            _ => ending,
        };
        self.requests[id].place = Some(Place::Ended(own));
        self.remove_marks_of(id);
    }

    pub(crate) fn end_followers(&mut self, leader: Id, ending: Ending) {
        for follower in self.followers(leader) {
            self.requests[follower].place = Some(Place::Ended(ending));
        }
    }

    /// A waiter gives up its place. The claim that it attended may be taken over.
    pub(crate) fn leave(&mut self, id: Id) {
        let peer = self.requests[id].peer;
        let place = self.requests[id].place.take();
        if let Some(Place::Queued { .. }) = place {
            self.changed.insert(peer);
            self.end_followers(id, Ending::DecidesAgain(None));
            self.remove_marks_of(id);
        }
        self.give_way(peer);
    }

    /// Lets the queue take over a claim that nobody waits for any more.
    fn give_way(&mut self, peer: Peer) {
        let holder = self.holder(peer).filter(|holder| self.is_abandoned(*holder));
        if let Some(holder) = holder.filter(|_| !self.queue(peer).is_empty()) {
            self.note("queue took over abandoned work");
            self.take_over(holder, Cause::Abandoned);
        }
    }

    /// Ends the claim and every queue place of a peer.
    fn forget_claims_of(&mut self, peer: Peer) {
        self.changed.insert(peer);
        if let Some(holder) = self.holder(peer) {
            self.revoke(holder);
        }
        for id in self.queue(peer) {
            self.end_place(id, Ending::DecidesAgain(None));
        }
    }

    pub(crate) fn note(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }
}
