//! The model's decision on an offer, and the polls of waiting requests.

use std::time::Duration;

use tower_offer_dedup::{Reason, WhenBusy};

use crate::{
    memory::Kind,
    reference::Model,
    request::{Cause, Ending, Place, Request},
    terms::{Id, Peer, Quality, State, Time},
};

/// The time that a superseded claim may hold the lock.
const LOSER_LEASE: Duration = Duration::from_millis(100);

impl Model {
    /// Returns `true` if the future of a request has something to do.
    pub(crate) fn has_reason(&self, id: Id, now: Time) -> bool {
        let Request {
            peer,
            arrived,
            state,
            place,
            checks_at,
            is_held,
            ..
        } = self.requests[id];
        if is_held {
            return false;
        }
        if state == State::Processed {
            return !self.rules.detaches && self.is_due(id);
        }
        match place {
            Some(Place::Ended(_)) => true,
            Some(Place::Queued { turn, .. }) => {
                let queue = self.queue(peer);
                let is_late = |id: &Id| self.requests[*id].turn() <= turn && self.requests[*id].is_late(now);
                let is_free = self.holder(peer).is_none() && self.cools(peer, now).is_none();
                queue.iter().any(is_late)
                    || self.holder(peer).is_some_and(|holder| self.is_overdue(holder, now))
                    || is_free && queue.first() == Some(&id)
            }
            Some(Place::Following(_)) => arrived + self.rules.duplicates.1 <= now || checks_at <= now,
            None => false,
        }
    }

    /// Polls the future of a request that has something to do.
    pub(crate) fn poll(&mut self, id: Id, now: Time) {
        let Request {
            peer, arrived, place, ..
        } = self.requests[id];
        match place {
            None => self.run(id, now),
            Some(Place::Ended(Ending::Answered(call, quality))) => self.repeat(id, call, quality),
            Some(Place::Ended(Ending::Refused(reason))) => self.refuse(id, reason),
            Some(Place::Ended(Ending::DecidesAgain(deadline))) => {
                if deadline.is_some_and(|deadline| deadline <= now) {
                    self.refuse(id, Reason::TimedOut);
                } else {
                    self.decide(id, now);
                }
            }
            Some(Place::Following(_)) if arrived + self.rules.duplicates.1 <= now => {
                self.leave(id);
                self.refuse(id, Reason::TimedOut);
            }
            Some(Place::Following(leader)) => {
                let holds_lock = self.requests[leader].holds_lock();
                if self.requests[leader].is_late(now) || holds_lock && self.is_overdue(leader, now) {
                    self.leave(id);
                    self.decide(id, now);
                } else {
                    self.requests[id].checks_at = self.next_check(leader, now);
                }
            }
            Some(Place::Queued { .. }) => {
                self.expire_places(peer, now);
                self.take_over_if_overdue(peer, now);
                let is_first = self.queue(peer).first() == Some(&id);
                if is_first && self.holder(peer).is_none() && self.cools(peer, now).is_none() {
                    self.process(id, now);
                }
            }
        }
    }

    /// The behaviour table of `docs/design.md`.
    pub(crate) fn decide(&mut self, id: Id, now: Time) {
        let Request {
            peer,
            offer,
            arrived,
            has_waited,
            ..
        } = self.requests[id];
        self.requests[id].place = None;
        match self.remembered(peer, offer, now) {
            Some(Kind::Mark(_)) => return self.refuse(id, Reason::Superseded),
            Some(Kind::Processed(..)) if !self.rules.replays => return self.refuse(id, Reason::Processed),
            Some(Kind::Processed(_, None)) => return self.refuse(id, Reason::NotRecorded),
            Some(Kind::Processed(_, Some((call, quality)))) => return self.repeat(id, call, quality),
            None => {}
        }
        self.expire_places(peer, now);
        self.take_over_if_overdue(peer, now);
        if let Some(leader) = self.active_offer(peer, offer) {
            if self.requests[leader].must_end(Cause::Superseded) && !self.queue(peer).is_empty() {
                self.note("loser met without a memory");
                return self.refuse(id, Reason::Superseded);
            }
            let (limit, _) = self.rules.duplicates;
            let is_full = self.followers_of_peer(peer) >= limit;
            return if !self.rules.replays {
                self.refuse(id, Reason::InFlight);
            } else if is_full && !has_waited {
                self.refuse(id, Reason::QueueFull);
            } else {
                if self.holder(peer) == Some(leader) && self.is_abandoned(leader) {
                    self.note("work attended again");
                }
                self.requests[id].checks_at = self.next_check(leader, now);
                self.wait(id, Place::Following(leader));
            };
        }
        if let Some(holder) = self.holder(peer).filter(|holder| self.is_abandoned(*holder)) {
            self.note("newcomer took over abandoned work");
            self.take_over(holder, Cause::Abandoned);
        }
        let cools = self.cools(peer, now);
        if self.holder(peer).is_none() && self.queue(peer).is_empty() && cools.is_none() {
            return self.process(id, now);
        }
        match self.rules.when_busy {
            WhenBusy::Supersede => self.supersede(id, now),
            WhenBusy::Queue { depth, timeout } if self.queue(peer).len() < depth => {
                self.enqueue(id, Some(arrived + timeout));
            }
            WhenBusy::Queue { .. } => self.refuse(id, Reason::QueueFull),
            WhenBusy::Refuse if self.holder(peer).is_some() => self.refuse(id, Reason::Busy),
            WhenBusy::Refuse => self.requests[id].state = State::Refused(Reason::CoolingDown, cools),
        }
    }

    /// The newest offer wins: it takes the free lock, or the only waiting place.
    fn supersede(&mut self, id: Id, now: Time) {
        let Request { peer, has_waited, .. } = self.requests[id];
        let others = self.holder(peer).into_iter().chain(self.queue(peer));
        let rank = |id: Id| self.requests[id].rank;
        let newest = others.max_by_key(|other| rank(*other));
        if let Some(newest) = newest.filter(|newest| has_waited && rank(*newest) > rank(id)) {
            // The newest offer is the last to arrive, not the last to decide.
            self.note("older waiter gave way");
            self.mark(id, newest, now);
            return self.refuse(id, Reason::Superseded);
        }
        for waiter in self.queue(peer) {
            self.note("waiter superseded");
            self.mark(waiter, id, now);
            self.end_place(waiter, Ending::Refused(Reason::Superseded));
        }
        let Some(holder) = self.holder(peer) else {
            return self.process(id, now);
        };
        let work = self.work(holder);
        let cut = now + LOSER_LEASE;
        work.lease_end = Some(work.lease_end.map_or(cut, |lease_end| lease_end.min(cut)));
        self.deadlines.push((peer, cut));
        self.end_soon(holder, Cause::Superseded);
        self.end_followers(holder, Ending::Refused(Reason::Superseded));
        self.mark(holder, id, now);
        self.enqueue(id, None);
    }

    /// Ends every queue place that is past its deadline, polled or not.
    pub(crate) fn expire_places(&mut self, peer: Peer, now: Time) {
        for id in self.queue(peer) {
            if self.requests[id].is_late(now) {
                if self.requests[id].is_held {
                    self.note("place lost without a poll");
                }
                self.end_place(id, Ending::Refused(Reason::TimedOut));
            }
        }
    }

    fn enqueue(&mut self, id: Id, deadline: Option<Time>) {
        self.turns += 1;
        let turn = self.turns;
        let peer = self.requests[id].peer;
        self.deadlines.extend(deadline.map(|deadline| (peer, deadline)));
        self.wait(id, Place::Queued { turn, deadline });
    }

    fn wait(&mut self, id: Id, place: Place) {
        if let (Place::Following(leader), false) = (place, self.requests[id].has_waited) {
            self.requests[id].rank = self.requests[leader].rank;
        }
        let request = &mut self.requests[id];
        (request.state, request.place, request.has_waited) = (State::Waits, Some(place), true);
    }

    fn repeat(&mut self, id: Id, call: Id, quality: Quality) {
        self.replayed.insert(id);
        let request = &mut self.requests[id];
        (request.state, request.place) = (State::Answered(call, quality), None);
    }

    fn refuse(&mut self, id: Id, reason: Reason) {
        let request = &mut self.requests[id];
        (request.state, request.place) = (Request::refused(reason), None);
    }

    /// The time at which a follower has to check its leader: the lease may be over, or the place may have ended.
    fn next_check(&self, leader: Id, now: Time) -> Time {
        // Behind a lease of zero it checks a moment later, so that it does not spin.
        let lease_end = now + self.rules.lease.max(Duration::from_millis(1));
        match (&self.requests[leader].work, self.requests[leader].place) {
            (_, Some(Place::Queued { deadline, .. })) => deadline.map_or(lease_end, |deadline| deadline.min(lease_end)),
            (Some(work), _) => work.lease_end.unwrap_or(lease_end),
            _ => unreachable!("a leader is processed or queued"),
        }
    }

    fn followers_of_peer(&self, peer: Peer) -> usize {
        let is_follower = |request: &&Request| matches!(request.place, Some(Place::Following(_)));
        let of_peer = self.requests.iter().filter(|request| request.peer == peer);
        of_peer.filter(is_follower).count()
    }
}
