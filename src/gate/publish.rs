//! A peer's memory on its way from its lock, where it changes, to the cache, where everyone looks first.
//!
//! Until it has arrived, the peer's entry in the lock table tells of it. Two editions may overtake each other on the way:
//! whoever comes in with an outdated one publishes the newest after it, so the newest always comes last.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::{Gate, clock::Tick, entry::Busy, lock::Peers, memory::PeerMemory};
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
        let mut panicked = None;
        loop {
            // An answer that the memory throws out may panic when it is dropped.
            let put = catch_unwind(AssertUnwindSafe(|| self.memory.put(peer, edition.memory.take())));
            panicked = put.err().or(panicked);
            let published = self
                .shard(peer)
                .with(|peers| peers.published(peer, edition.number, self.clock.now()));
            match published {
                Ok(_vacant) => break,
                Err(newer) => edition = newer,
            }
        }
        if let Some(panic) = panicked {
            resume_unwind(panic);
        }
    }
}

impl Peers {
    /// The edition `number` of the peer's memory was published, which is over unless there is a newer one: that has to be
    /// published after it, in case the two have overtaken each other.
    pub(super) fn published(&mut self, peer: PeerKey, number: u64, now: Tick) -> Result<Option<Box<Busy>>, Edition> {
        self.published += 1;
        let Some(busy) = self.busy(peer) else { return Ok(None) };
        if let Some(newer) = busy.newer_than(number) {
            return Err(newer);
        }
        busy.publishers -= 1;
        Ok(self.settle(peer, now))
    }
}
