//! [`Striped`]: copies of a value, so that threads that write at once need not share a cache line.

use std::{
    array,
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// The number of copies. More threads share them.
const STRIPES: usize = 16;

/// Copies of a value. Each thread uses one of them. What they write belongs in a
/// [`CachePadded`](crossbeam_utils::CachePadded).
#[derive(Debug)]
pub(crate) struct Striped<T>([T; STRIPES]);

impl<T> Striped<T> {
    pub(crate) fn new(make: impl Fn() -> T) -> Self {
        Self(array::from_fn(|_| make()))
    }

    /// Returns the one of this thread.
    #[inline]
    pub(crate) fn own(&self) -> &T {
        &self.0[stripe() % STRIPES]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

/// Returns the number of this thread.
#[inline]
fn stripe() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(1);
    thread_local! {
        /// Zero until it is first used.
        static STRIPE: Cell<usize> = const { Cell::new(0) };
    }
    STRIPE.with(|stripe| {
        if stripe.get() == 0 {
            stripe.set(THREADS.fetch_add(1, Relaxed));
        }
        stripe.get()
    })
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering::Relaxed},
        thread,
    };

    use super::{STRIPES, Striped};

    #[test]
    fn each_thread_keeps_its_copy() {
        let striped = Striped::new(|| AtomicU64::new(0));
        thread::scope(|scope| {
            for _ in 0..STRIPES {
                scope.spawn(|| {
                    for _ in 0..10 {
                        striped.own().fetch_add(1, Relaxed);
                    }
                });
            }
        });
        // Threads of other tests may have taken numbers in between.
        let counts: Vec<_> = striped.iter().map(|count| count.load(Relaxed)).collect();
        assert_eq!(counts.iter().sum::<u64>(), 10 * STRIPES as u64);
        assert!(
            counts.iter().all(|count| count % 10 == 0),
            "a thread keeps its copy: {counts:?}"
        );
        assert!(counts.iter().filter(|count| **count > 0).count() > 1, "{counts:?}");
    }
}
