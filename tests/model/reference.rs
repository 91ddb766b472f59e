//! The behaviour of DESIGN.md §3, written down as plainly as it goes: every request in one list, nothing is clever.

use std::{collections::BTreeSet, time::Duration};

use tower_offer_dedup::Reason;

use crate::terms::{End, Id, Peer, Quality, Request, Rules, State, Time};

struct Memory {
    peer: Peer,
    offer: u8,
    at: Time,
    /// The call whose answer was recorded.
    answer: Option<(usize, Quality)>,
}

pub(crate) struct Model {
    rules: Rules,
    pub(crate) requests: Vec<Request>,
    memories: Vec<Memory>,
    cooling: Vec<(Peer, Time)>,
    calls: usize,
    places: usize,
    pub(crate) taken_over: u64,
    pub(crate) replayed: BTreeSet<Id>,
    pub(crate) forgotten: u64,
}

impl Model {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            requests: Vec::new(),
            memories: Vec::new(),
            cooling: Vec::new(),
            calls: 0,
            places: 0,
            taken_over: 0,
            replayed: BTreeSet::new(),
            forgotten: 0,
        }
    }

    /// A new request.
    pub(crate) fn offer(&mut self, peer: Peer, offer: u8, now: Time) {
        self.requests.push(Request {
            peer,
            offer,
            arrived: now,
            state: State::Waits,
            in_queue: false,
            place: 0,
            called: None,
            is_stray: false,
        });
        self.decide(self.requests.len() - 1, now);
        self.settle(now);
    }

    /// The processing of a request ends.
    pub(crate) fn end(&mut self, id: Id, end: End, now: Time) {
        let Request {
            peer,
            offer,
            called,
            is_stray,
            ..
        } = self.requests[id].clone();
        let (_, call) = called.expect("it is being processed");
        self.requests[id].state = match end {
            End::Answer(quality) => State::Answered(call, quality),
            End::Err => State::Erred,
            End::Panic => State::Panicked,
        };
        if is_stray {
            return;
        }
        let is_remembered = match end {
            End::Answer(Quality::Success) => true,
            End::Answer(Quality::Failure) | End::Err => self.rules.remembers_failures,
            End::Panic => false,
        };
        let answer = match end {
            End::Answer(quality) => self.rules.replays.then_some((call, quality)),
            End::Err | End::Panic => None,
        };
        if is_remembered {
            self.cooling.push((peer, now + self.rules.cooldown));
            self.memories.push(Memory {
                peer,
                offer,
                at: now,
                answer,
            });
        }
        if let End::Answer(_) = end {
            for duplicate in self.duplicates(peer, offer) {
                self.repeat(duplicate, answer);
            }
        }
        self.settle(now);
    }

    /// The sender of a request goes away.
    pub(crate) fn drop(&mut self, id: Id, now: Time) {
        self.requests[id].state = State::Dropped;
        self.settle(now);
    }

    /// Whether there was anything to forget.
    pub(crate) fn forget(&mut self, peer: Peer, now: Time) -> bool {
        let was_locked =
            self.holder(peer).is_some() || self.queue(peer).next().is_some() || self.cools(peer, now).is_some();
        let was_remembered = self
            .memories
            .iter()
            .any(|memory| memory.peer == peer && self.is_live(memory, now));
        if let Some(holder) = self.holder(peer) {
            self.requests[holder].is_stray = true;
        }
        self.memories.retain(|memory| memory.peer != peer);
        self.cooling.retain(|(cooling, _)| *cooling != peer);
        let was_known = was_locked || was_remembered;
        self.forgotten += u64::from(was_known);
        self.settle(now);
        was_known
    }

    pub(crate) fn clear(&mut self, now: Time) {
        for request in &mut self.requests {
            request.is_stray |= request.state == State::Processed;
        }
        self.memories.clear();
        self.cooling.clear();
        self.settle(now);
    }

    /// Those who have a reason look again, until none has.
    pub(crate) fn settle(&mut self, now: Time) {
        loop {
            let mut waiting = (0..self.requests.len()).filter(|id| self.requests[*id].state == State::Waits);
            let Some(id) = waiting.find(|id| self.has_reason(*id, now)) else {
                return;
            };
            self.look(id, now);
        }
    }

    fn has_reason(&self, id: Id, now: Time) -> bool {
        let request = &self.requests[id];
        let (queue_timeout, duplicate_timeout) =
            (self.rules.queue.map(|(_, timeout)| timeout), self.rules.duplicates.1);
        let is_overdue = self
            .holder(request.peer)
            .is_some_and(|holder| self.is_overdue(holder, now));
        if request.in_queue {
            let is_front = self.queue(request.peer).next() == Some(id);
            let is_free = self.holder(request.peer).is_none() && self.cools(request.peer, now).is_none();
            is_overdue || (is_front && is_free) || queue_timeout.is_some_and(|timeout| request.arrived + timeout <= now)
        } else {
            is_overdue || self.leader(id).is_none() || request.arrived + duplicate_timeout <= now
        }
    }

    fn look(&mut self, id: Id, now: Time) {
        let Request {
            peer,
            arrived,
            in_queue,
            ..
        } = self.requests[id].clone();
        if in_queue {
            self.take_over(peer, now);
            let is_front = self.queue(peer).next() == Some(id);
            if is_front && self.holder(peer).is_none() && self.cools(peer, now).is_none() {
                self.process(id, now);
            } else if arrived + self.rules.queue.unwrap_or_default().1 <= now {
                self.refuse(id, Reason::TimedOut);
            }
        } else if self.leader(id).is_some() && arrived + self.rules.duplicates.1 <= now {
            self.refuse(id, Reason::TimedOut);
        } else {
            self.decide(id, now);
        }
    }

    /// The table of DESIGN.md §3.
    fn decide(&mut self, id: Id, now: Time) {
        let Request { peer, offer, .. } = self.requests[id].clone();
        let remembered = self
            .memories
            .iter()
            .rev()
            .find(|memory| memory.peer == peer && memory.offer == offer && self.is_live(memory, now));
        if let Some(memory) = remembered {
            let answer = memory.answer;
            return if self.rules.replays {
                self.repeat(id, answer)
            } else {
                self.refuse(id, Reason::Processed)
            };
        }
        // It is nowhere while it is decided where it goes.
        self.requests[id].state = State::Dropped;
        self.take_over(peer, now);
        let cools = self.cools(peer, now);
        if self.under_way(peer, offer).is_some() {
            let (limit, _) = self.rules.duplicates;
            if !self.rules.replays {
                self.refuse(id, Reason::InFlight);
            } else if self.waiting(peer).filter(|id| !self.requests[*id].in_queue).count() >= limit {
                self.refuse(id, Reason::QueueFull);
            } else {
                self.requests[id].in_queue = false;
                self.requests[id].state = State::Waits;
            }
        } else if self.holder(peer).is_none() && self.queue(peer).next().is_none() && cools.is_none() {
            self.process(id, now);
        } else if let Some((depth, _)) = self.rules.queue {
            if self.queue(peer).count() >= depth {
                self.refuse(id, Reason::QueueFull);
            } else {
                self.places += 1;
                let place = self.places;
                let request = &mut self.requests[id];
                (request.in_queue, request.place, request.state) = (true, place, State::Waits);
            }
        } else if self.holder(peer).is_some() {
            self.refuse(id, Reason::Busy);
        } else {
            self.requests[id].state = State::Refused(Reason::CoolingDown, cools);
        }
    }

    fn process(&mut self, id: Id, now: Time) {
        let request = &mut self.requests[id];
        request.state = State::Processed;
        request.in_queue = false;
        request.called = Some((now, self.calls));
        self.calls += 1;
    }

    fn repeat(&mut self, id: Id, answer: Option<(usize, Quality)>) {
        match answer {
            Some((call, quality)) => {
                self.replayed.insert(id);
                self.requests[id].state = State::Answered(call, quality);
            }
            None => self.refuse(id, Reason::NotRecorded),
        }
    }

    fn refuse(&mut self, id: Id, reason: Reason) {
        let is_final = matches!(reason, Reason::Processed | Reason::NotRecorded);
        self.requests[id].state = State::Refused(reason, (!is_final).then_some(Duration::from_secs(1)));
    }

    fn take_over(&mut self, peer: Peer, now: Time) {
        if let Some(holder) = self.holder(peer).filter(|holder| self.is_overdue(*holder, now)) {
            self.requests[holder].is_stray = true;
            self.taken_over += 1;
        }
    }

    fn is_overdue(&self, holder: Id, now: Time) -> bool {
        self.requests[holder]
            .called
            .is_some_and(|(called, _)| called + self.rules.lease <= now)
    }

    fn is_live(&self, memory: &Memory, now: Time) -> bool {
        now < memory.at + self.rules.window
    }

    /// How long the peer is still cooling, if it is.
    fn cools(&self, peer: Peer, now: Time) -> Option<Duration> {
        let (_, until) = self
            .cooling
            .iter()
            .rfind(|(cooling, until)| *cooling == peer && *until > now)?;
        Some(*until - now)
    }

    pub(crate) fn holder(&self, peer: Peer) -> Option<Id> {
        (0..self.requests.len()).find(|id| {
            let request = &self.requests[*id];
            request.peer == peer && request.state == State::Processed && !request.is_stray
        })
    }

    fn waiting(&self, peer: Peer) -> impl Iterator<Item = Id> {
        (0..self.requests.len())
            .filter(move |id| self.requests[*id].peer == peer && self.requests[*id].state == State::Waits)
    }

    /// The queue of a peer, first come, first served.
    fn queue(&self, peer: Peer) -> impl Iterator<Item = Id> {
        let mut queue: Vec<Id> = self.waiting(peer).filter(|id| self.requests[*id].in_queue).collect();
        queue.sort_by_key(|id| self.requests[*id].place);
        queue.into_iter()
    }

    fn under_way(&self, peer: Peer, offer: u8) -> Option<Id> {
        self.holder(peer)
            .into_iter()
            .chain(self.queue(peer))
            .find(|id| self.requests[*id].offer == offer)
    }

    /// The request whose answer a duplicate waits for.
    fn leader(&self, duplicate: Id) -> Option<Id> {
        let Request { peer, offer, .. } = self.requests[duplicate];
        self.under_way(peer, offer)
    }

    /// Those who wait for the answer of an offer that was just processed.
    fn duplicates(&self, peer: Peer, offer: u8) -> Vec<Id> {
        self.waiting(peer)
            .filter(|id| !self.requests[*id].in_queue && self.requests[*id].offer == offer)
            .collect()
    }
}
