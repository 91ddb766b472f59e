//! Numbers of claims and of queue places.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use super::{clock::Tick, sync::AtomicU64};

/// The number of a claim or of a queue place. Later ones are larger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClaimNumber(u64);

/// Hands out claim numbers.
#[derive(Debug)]
pub(super) struct Numbers(AtomicU64);

impl Numbers {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(1))
    }

    /// Returns a number above all that were returned before.
    pub(super) fn next(&self) -> ClaimNumber {
        // Relaxed: a read-modify-write never returns a value twice, and nothing else is published with it.
        ClaimNumber(self.0.fetch_add(1, Relaxed))
    }

    /// Returns how many numbers have been handed out.
    pub(super) fn issued(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Claims numbered below the floor are cleared: neither found nor stored. Memories from before its tick are not found.
#[derive(Debug, Default)]
pub(super) struct Floor {
    number: AtomicU64,
    tick: AtomicU64,
}

impl Floor {
    /// Raises the floor to `number`. A lower number changes nothing.
    pub(super) fn raise(&self, number: ClaimNumber) {
        // Release publishes the emptied cache to every thread that reads the new floor.
        self.number.fetch_max(number.0, AcqRel);
    }

    pub(super) fn get(&self) -> ClaimNumber {
        // Acquire pairs with the release in `raise`.
        ClaimNumber(self.number.load(Acquire))
    }

    /// Hides the memories from before `tick`.
    pub(super) fn hide_before(&self, tick: Tick) {
        // Relaxed: the tick publishes nothing else.
        self.tick.fetch_max(tick.as_nanos(), Relaxed);
    }

    pub(super) fn tick(&self) -> Tick {
        Tick::from_nanos(self.tick.load(Relaxed))
    }
}
