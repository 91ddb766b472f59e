//! The model's memories of processed and superseded offers.

use tower_offer_dedup::WhenBusy;

use crate::{
    reference::Model,
    request::Cause,
    terms::{Id, Peer, Quality, Time},
};

/// The number of offers that are remembered per peer.
const MEMORIES: usize = 16;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) peer: Peer,
    pub(crate) offer: u8,
    pub(crate) at: Time,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// The request that was processed, and the call whose answer was recorded.
    Processed(Id, Option<(Id, Quality)>),
    /// The request that superseded the offer.
    Mark(Id),
}

impl Model {
    pub(crate) fn live_memories(&self, now: Time) -> impl Iterator<Item = &Memory> {
        self.memories.iter().filter(move |memory| self.is_live(memory, now))
    }

    pub(crate) fn remembered(&self, peer: Peer, offer: u8, now: Time) -> Option<Kind> {
        let mut memories = self.live_memories(now);
        let memory = memories.find(|memory| memory.peer == peer && memory.offer == offer)?;
        Some(memory.kind)
    }

    pub(crate) fn remember(&mut self, peer: Peer, offer: u8, kind: Kind, now: Time) {
        if !self.rules.has_memory || self.rules.window.is_zero() {
            return;
        }
        self.memories
            .retain(|memory| memory.peer != peer || memory.offer != offer);
        self.memories.push(Memory {
            peer,
            offer,
            at: now,
            kind,
        });
        let of_peer = |memory: &Memory| memory.peer == peer;
        if self.live_memories(now).filter(|memory| of_peer(memory)).count() > MEMORIES {
            let is_oldest = |memory: &Memory| of_peer(memory) && self.is_live(memory, now);
            let oldest = self.memories.iter().position(is_oldest);
            let evicted = self.memories.remove(oldest.expect("the peer has memories"));
            if let Kind::Mark(_) = evicted.kind {
                self.note("mark evicted");
            }
            self.evicted += 1;
        }
    }

    /// Remembers that `loser` was superseded by `by`, which takes over the loser's own marks.
    pub(crate) fn mark(&mut self, loser: Id, by: Id, now: Time) {
        let (peer, offer) = (self.requests[loser].peer, self.requests[loser].offer);
        let mut transferred = 0;
        for memory in self
            .memories
            .iter_mut()
            .filter(|memory| memory.kind == Kind::Mark(loser))
        {
            memory.kind = Kind::Mark(by);
            transferred += 1;
        }
        if transferred > 0 {
            self.note("mark transferred");
        }
        self.remember(peer, offer, Kind::Mark(by), now);
    }

    /// Removes the marks of the offers that `id` superseded, because it has not succeeded.
    pub(crate) fn remove_marks_of(&mut self, id: Id) {
        let marks = self.memories.len();
        self.memories.retain(|memory| memory.kind != Kind::Mark(id));
        if self.memories.len() < marks {
            self.note("mark removed");
        }
    }

    /// Starts the cooldown of a peer.
    pub(crate) fn cool_down(&mut self, peer: Peer, now: Time) {
        if self.rules.has_memory && self.rules.when_busy != WhenBusy::Supersede {
            let until = now + self.rules.cooldown;
            self.cooling.push((peer, until));
            self.deadlines.push((peer, until));
        }
    }

    /// Makes the processing of a claim end at its next poll. The first cause counts.
    pub(crate) fn end_soon(&mut self, id: Id, cause: Cause) {
        // An inline handler runs on, unless every newer offer may end it.
        if self.rules.detaches || self.rules.when_busy == WhenBusy::Supersede {
            self.work(id).must_end.get_or_insert(cause);
        }
    }

    fn is_live(&self, memory: &Memory, now: Time) -> bool {
        now < memory.at + self.rules.window
    }
}
