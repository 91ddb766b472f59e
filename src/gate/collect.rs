//! Collects what is past its window or has cooled down, off the callers' path.

use std::{
    sync::{
        Arc, Weak,
        atomic::Ordering::{AcqRel, Relaxed, Release},
    },
    thread,
    time::Duration,
};

use tokio::{runtime::Handle, task::spawn_blocking, time::sleep};

use super::Gate;
use crate::observe;

/// How often; moka collects inside its callers' calls what piles up in between.
const EVERY: Duration = Duration::from_millis(100);

impl Gate {
    /// Collects in the background, as long as there is something to collect. Outside a runtime moka does it by itself.
    pub(super) fn keep_collecting(self: &Arc<Self>) {
        if self.is_collecting.load(Relaxed) || self.is_collecting.swap(true, AcqRel) {
            return;
        }
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(collect(Collector(Arc::downgrade(self))))),
            Err(_) => self.is_collecting.store(false, Release),
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

    fn is_empty(&self) -> bool {
        self.memory.len() == 0 && self.shards.iter().all(|shard| shard.with(|peers| peers.is_empty()))
    }
}

/// The gate to collect for, which it does not keep alive.
struct Collector(Weak<Gate>);

impl Drop for Collector {
    fn drop(&mut self) {
        // A runtime without timers makes it panic, and would do so again for every offer.
        if let Some(gate) = self.0.upgrade().filter(|_| !thread::panicking()) {
            gate.is_collecting.store(false, Release);
        }
    }
}

async fn collect(collector: Collector) {
    loop {
        sleep(EVERY).await;
        let Some(gate) = collector.0.upgrade() else { return };
        let collected = spawn_blocking(move || {
            gate.collect();
            gate.is_empty()
        });
        // A memory that is stored meanwhile starts the next collector, or is collected with those after it.
        if collected.await.unwrap_or(true) {
            return;
        }
    }
}
