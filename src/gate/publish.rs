//! A peer's memory on its way from its lock, where it changes, to the cache, where everyone looks first.
//!
//! Until it has arrived, the peer's entry in the lock table tells of it. Two editions may overtake each other on the way:
//! whoever comes in with an outdated one publishes the newest after it, so the newest always comes last.

use super::{
    Gate,
    clock::Tick,
    entry::Busy,
    lock::Peers,
    memory::{PeerMemory, Processed},
};
use crate::PeerKey;

/// A peer's memory on its way to where everyone looks first.
#[derive(Debug)]
pub(super) struct Edition {
    pub(super) memory: Option<PeerMemory>,
    pub(super) number: u64,
}

impl Gate {
    /// Puts a peer's memory where all look first. Until that is done, its entry in the lock table tells of it.
    pub(super) fn publish(&self, peer: PeerKey, mut edition: Edition) {
        let shard = self.shard(peer);
        // An answer that the memory throws out may panic when it is dropped.
        let mut publishing = Publishing {
            gate: self,
            peer,
            is_done: false,
        };
        while !publishing.is_done {
            self.memory.put(peer, edition.memory.take());
            match shard.with(|peers| peers.published(peer, edition.number, self.clock.now())) {
                Ok(_vacant) => publishing.is_done = true,
                Err(newer) => edition = newer,
            }
        }
    }
}

impl Peers {
    /// Whether a published memory still counts: it may be that of an edition that is outdated already.
    pub(super) fn confirms(&self, peer: PeerKey, processed: &Processed) -> bool {
        let busy = self.entries.get(&peer).and_then(|entry| entry.busy.as_ref());
        busy.is_none_or(|busy| {
            busy.memory
                .as_ref()
                .is_some_and(|memory| memory.holds(processed.number))
        })
    }

    /// The edition `number` of the peer's memory was published. A newer one has to be published after it, in case the
    /// two have overtaken each other.
    pub(super) fn published(&mut self, peer: PeerKey, number: u64, now: Tick) -> Result<Option<Box<Busy>>, Edition> {
        if let Some(newer) = self.busy(peer).and_then(|busy| busy.newer_than(number)) {
            return Err(newer);
        }
        Ok(self.stop_publishing(peer, now))
    }

    /// One of those who publish is done.
    pub(super) fn stop_publishing(&mut self, peer: PeerKey, now: Tick) -> Option<Box<Busy>> {
        self.published += 1;
        self.busy(peer)?.publishers -= 1;
        self.publishing -= 1;
        self.settle(peer, now)
    }
}

/// Lets go of a peer's entry if publishing its memory panics.
struct Publishing<'a> {
    gate: &'a Gate,
    peer: PeerKey,
    is_done: bool,
}

impl Drop for Publishing<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            let (shard, now) = (self.gate.shard(self.peer), self.gate.clock.now());
            drop(shard.with(|peers| peers.stop_publishing(self.peer, now)));
        }
    }
}
