//! [`Counter`]: one counter of a layer, and its metric.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::metrics::Series;

/// Counts events. Relaxed: the number says how often, and orders nothing.
#[derive(Debug)]
pub(crate) struct Counter {
    count: AtomicU64,
    pub(super) series: Series,
}

impl Counter {
    pub(super) fn new(series: Series) -> Self {
        Self {
            count: AtomicU64::new(0),
            series,
        }
    }

    pub(crate) fn count(&self) {
        self.count.fetch_add(1, Relaxed);
    }

    /// Counts, and returns whether this is the first time.
    pub(crate) fn count_is_first(&self) -> bool {
        self.count.fetch_add(1, Relaxed) == 0
    }

    /// Counts in the metric. Recorders may panic, so this comes after [`count`](Self::count).
    pub(crate) fn measure(&self) {
        self.series.count(1);
    }

    pub(super) fn read(&self) -> u64 {
        self.count.load(Relaxed)
    }
}
