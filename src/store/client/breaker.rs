//! [`Breaker`]: spares calls while the store cannot be reached.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::sleep;

use super::StoreClient;
use crate::quiet::quietly;

/// So many failures in a row open the breaker.
const MAX_FAILURES: u32 = 5;

const FIRST_PROBE: Duration = Duration::from_millis(100);
const SLOWEST_PROBE: Duration = Duration::from_secs(5);

/// Counts failures in a row. Open, it lets no call through until a probe succeeds.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    // Relaxed everywhere: the count decides nothing but whether calls are made.
    failures: AtomicU32,
}

impl Breaker {
    pub(super) fn is_open(&self) -> bool {
        self.failures.load(Relaxed) >= MAX_FAILURES
    }

    /// Notes a success. A late reply does not close an open breaker: that is the probe's task.
    pub(super) fn succeeded(&self) {
        if self.failures.load(Relaxed) != 0 {
            let reset = |failures| (failures < MAX_FAILURES).then_some(0);
            let _ = self.failures.fetch_update(Relaxed, Relaxed, reset);
        }
    }

    /// Notes a failure. Returns whether it has opened the breaker: the caller then starts a [`Probe`].
    pub(super) fn failed(&self) -> bool {
        self.failures.fetch_add(1, Relaxed) + 1 == MAX_FAILURES
    }
}

/// Pings the store until it answers, then closes the breaker.
pub(super) struct Probe(Weak<StoreClient>);

impl Probe {
    pub(super) fn new(client: &Arc<StoreClient>) -> Self {
        Self(Arc::downgrade(client))
    }

    pub(super) async fn run(mut self) {
        let mut pause = FIRST_PROBE;
        loop {
            sleep(pause).await;
            let Some(client) = self.0.upgrade() else {
                return;
            };
            if client.ping().await {
                self.0 = Weak::new();
                client.breaker.failures.store(0, Relaxed);
                quietly(|| client.meter.up());
                return;
            }
            pause = (2 * pause).min(SLOWEST_PROBE);
        }
    }
}

impl Drop for Probe {
    /// Ended by a panic or with its runtime, the probe leaves it to the next call to try the store.
    fn drop(&mut self) {
        if let Some(client) = self.0.upgrade() {
            client.breaker.failures.store(MAX_FAILURES - 1, Relaxed);
            quietly(|| client.meter.not_probed());
        }
    }
}
