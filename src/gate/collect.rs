//! Collects what is past its window or has cooled down, off the callers' path.

use std::{
    sync::{
        Arc, Weak,
        atomic::Ordering::{AcqRel, Relaxed, Release},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use super::{Gate, lock::Number};
use crate::observe;

/// At twice as many changes, moka does its upkeep in a caller's call.
const CHANGES: u32 = 32;

const SOONEST: Duration = Duration::from_millis(1);
const LATEST: Duration = Duration::from_millis(50);

impl Gate {
    /// Collects in the background, as long as there is something to collect.
    ///
    /// A thread and no task: it depends on no runtime, blocks none of its threads, and moves no paused clock.
    pub(super) fn keep_collecting(self: &Arc<Self>) {
        if self.is_collecting.load(Relaxed) || self.is_collecting.swap(true, AcqRel) {
            return;
        }
        let collector = Collector(Arc::downgrade(self));
        let runtime = Handle::try_current().ok();
        let collect = move || {
            // The clock to go by, if it is paused, is that of the runtime.
            let _context = runtime.as_ref().map(Handle::enter);
            collector.collect();
        };
        let thread = thread::Builder::new().name("offer-dedup".to_owned()).spawn(collect);
        if thread.is_err() {
            // moka collects by itself then, in its callers' calls, and the next offer tries again.
            self.is_collecting.store(false, Release);
        }
    }

    pub(super) fn collect(&self) {
        self.memory.collect();
        observe::memory(self.memory.len(), self.memory.bytes());
        let now = self.clock.now();
        for shard in &self.shards {
            shard.with(|peers| peers.sweep(now, usize::MAX));
        }
    }

    /// Whether collecting has stopped: not if something came since the last look, and found a collector at work.
    pub(super) fn stop_collecting(&self) -> bool {
        self.is_collecting.store(false, Release);
        self.is_empty() || self.is_collecting.swap(true, AcqRel)
    }

    fn is_empty(&self) -> bool {
        // In this order: whoever publishes counts its memory, locks its shard, and then asks for a collector.
        let is_unlocked = self.shards.iter().all(|shard| shard.with(|peers| peers.is_empty()));
        is_unlocked && self.memory.len() == 0
    }
}

/// The gate to collect for, which it does not keep alive.
pub(super) struct Collector(pub(super) Weak<Gate>);

impl Collector {
    fn collect(&self) {
        let (mut last, mut pause, mut claims) = (Instant::now(), SOONEST, 0);
        loop {
            thread::sleep(pause);
            let Some(gate) = self.0.upgrade() else { return };
            let start = Instant::now();
            gate.collect();
            if gate.is_empty() && gate.stop_collecting() {
                return;
            }
            let (now, number) = (Instant::now(), gate.next_number.load(Relaxed));
            pause = if now - start > LATEST {
                // moka gives up after a while, with more to collect.
                SOONEST
            } else {
                until_more(now - last, number - claims)
            };
            (last, claims) = (now, number);
        }
    }
}

/// How long it takes until there is more to collect, at the rate of `new` claims in `time`.
pub(super) fn until_more(time: Duration, new: Number) -> Duration {
    let new = u32::try_from(new).unwrap_or(u32::MAX).max(1);
    (time.saturating_mul(CHANGES) / new).clamp(SOONEST, LATEST)
}

/// After a panic, in an answer that is dropped, the next offer starts another.
impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(gate) = self.0.upgrade().filter(|_| thread::panicking()) {
            gate.is_collecting.store(false, Release);
        }
    }
}
