//! [`Counter`]: one counter of a layer, and its metric.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

use crate::{metrics::Series, striped::Striped};

/// Counts events. Relaxed: the number says how often, and orders nothing.
#[derive(Debug)]
pub(crate) struct Counter<C = AtomicU64> {
    count: C,
    pub(super) series: Series,
}

/// A count with a part for each thread, for what every request may add to.
pub(crate) type ByThread = Striped<CachePadded<AtomicU64>>;

pub(crate) trait Count {
    fn zero() -> Self;
    fn increment(&self);
    fn total(&self) -> u64;
}

impl Count for AtomicU64 {
    fn zero() -> Self {
        Self::new(0)
    }

    #[inline]
    fn increment(&self) {
        self.fetch_add(1, Relaxed);
    }

    fn total(&self) -> u64 {
        self.load(Relaxed)
    }
}

impl Count for ByThread {
    fn zero() -> Self {
        Self::new(CachePadded::default)
    }

    #[inline]
    fn increment(&self) {
        self.own().increment();
    }

    fn total(&self) -> u64 {
        self.iter().map(|count| count.total()).sum()
    }
}

impl Counter {
    /// Counts, and returns whether this is the first time.
    pub(crate) fn count_is_first(&self) -> bool {
        self.count.fetch_add(1, Relaxed) == 0
    }
}

impl<C: Count> Counter<C> {
    pub(super) fn new(series: Series) -> Self {
        Self {
            count: C::zero(),
            series,
        }
    }

    #[inline]
    pub(crate) fn count(&self) {
        self.count.increment();
    }

    /// Counts in the metric. Recorders may panic, so this comes after [`count`](Self::count).
    pub(crate) fn measure(&self) {
        self.series.count(1);
    }

    pub(super) fn read(&self) -> u64 {
        self.count.total()
    }
}
