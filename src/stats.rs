//! [`Stats`]: what a layer has done so far, and what it holds.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::Reason;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a layer has done since it was built, and what it holds now.
        ///
        /// Once nothing waits, every offer is counted once in `admitted`, `replayed`, `refused_*` or `waits_abandoned`;
        /// once no claim is held, every one of `admitted` in `completed`, `failed` or `abandoned`.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
            /// Requests refused because the same offer was being processed or queued.
            pub refused_in_flight: u64,
            /// Requests refused because the same offer was processed.
            pub refused_processed: u64,
            /// Requests refused because the same offer was processed, and its answer was not kept.
            pub refused_not_recorded: u64,
            /// Requests refused because another offer of the peer was being processed.
            pub refused_busy: u64,
            /// Requests refused because the peer was cooling down.
            pub refused_cooling_down: u64,
            /// Requests refused because too many waited.
            pub refused_queue_full: u64,
            /// Requests refused because they waited too long.
            pub refused_timed_out: u64,
            /// Requests refused for all other reasons.
            pub refused_otherwise: u64,
            /// Memories thrown out inside their window because the memory was full: their duplicates pass.
            pub evicted: u64,
            /// Claims held now, those of detached tasks and forgotten ones included.
            pub claims: u64,
            /// Requests that wait now, for their turn or for the answer of the same offer.
            pub waiters: u64,
            /// Processed offers that are remembered; those past their window count until they are collected.
            pub memories: u64,
            /// Bytes that the memories take, by estimate.
            pub bytes: u64,
        }

        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
            refused: [Counter; Reason::ALL.len()],
        }

        impl Counters {
            pub(crate) fn refused(&self, reason: Reason) -> &Counter {
                &self.refused[reason as usize]
            }

            /// The counters; what is held now is for the gate to fill in.
            pub(crate) fn read(&self) -> Stats {
                let refused = |reason| self.refused(reason).read();
                let mut stats = Stats {
                    $($name: self.$name.read(),)*
                    refused_in_flight: refused(Reason::InFlight),
                    refused_processed: refused(Reason::Processed),
                    refused_not_recorded: refused(Reason::NotRecorded),
                    refused_busy: refused(Reason::Busy),
                    refused_cooling_down: refused(Reason::CoolingDown),
                    refused_queue_full: refused(Reason::QueueFull),
                    refused_timed_out: refused(Reason::TimedOut),
                    ..Stats::default()
                };
                let all: u64 = self.refused.iter().map(Counter::read).sum();
                stats.refused_otherwise = all.saturating_sub(stats.refused());
                stats
            }
        }
    };
}

counters! {
    /// Requests that were no offer, or had no peer, and passed untouched.
    passed,
    /// Offers handed to the inner service.
    admitted,
    /// Duplicates that were given the recorded answer.
    replayed,
    /// Offers that were processed.
    completed,
    /// Offers that failed, by `Err` or with a failure for an answer.
    failed,
    /// Offers whose processing was dropped, panicked or was aborted.
    abandoned,
    /// Waiting requests that were dropped.
    waits_abandoned,
    /// Claims that outlived their lease and lost their peer to the next offer.
    taken_over,
    /// Peers that were forgotten by [`forget`](crate::OfferDedupHandle::forget).
    forgotten,
}

impl Stats {
    /// All refused requests.
    pub fn refused(&self) -> u64 {
        self.refused_in_flight
            + self.refused_processed
            + self.refused_not_recorded
            + self.refused_busy
            + self.refused_cooling_down
            + self.refused_queue_full
            + self.refused_timed_out
            + self.refused_otherwise
    }

    /// The share of offers that were duplicates, 0 to 1; 0 before the first offer.
    pub fn duplicate_rate(&self) -> f64 {
        let duplicates = self.replayed + self.refused_in_flight + self.refused_processed + self.refused_not_recorded;
        let offers = self.admitted + self.replayed + self.refused() + self.waits_abandoned;
        if offers == 0 {
            0.0
        } else {
            duplicates as f64 / offers as f64
        }
    }
}

/// Counts, on a best-effort order: it tells how often, never when.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn count(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
