//! [`Stats`]: what a layer has done so far, and what it holds now.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{Reason, outcome::Outcome};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of a layer since it was built, and what it holds now.
        ///
        /// Once nothing waits, every offer is counted once in `admitted`, `replayed`, `refused_*` or `waits_abandoned`.
        /// Once no claim is held, each of `admitted` is counted in `completed`, `failed`, `abandoned` or `superseded`.
        ///
        /// # Examples
        ///
        /// ```
        /// use tower_offer_dedup::{OfferDedupLayer, Refuse};
        ///
        /// let layer = OfferDedupLayer::builder()
        ///     .answer(Refuse::with(|refusal| refusal.to_string()))
        ///     .build();
        /// let stats = layer.handle().stats();
        /// assert_eq!((stats.admitted, stats.duplicate_rate()), (0, 0.0));
        /// ```
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
            /// Requests refused because the same offer was being processed or queued.
            pub refused_in_flight: u64,
            /// Requests refused because the same offer was processed.
            pub refused_processed: u64,
            /// Requests refused because the same offer was processed and its answer was not kept.
            pub refused_not_recorded: u64,
            /// Requests refused because a newer offer of the peer had arrived.
            pub refused_superseded: u64,
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
            /// Memories, cooldowns and sessions dropped inside their time to stay inside a limit. Duplicates of a dropped
            /// memory pass.
            pub evicted: u64,
            /// Claims held now, those of detached tasks and forgotten ones included.
            pub claims: u64,
            /// Requests that wait now, for their turn or for the answer to the same offer.
            pub waiters: u64,
            /// Offers that are remembered. Those past their window count until they are collected.
            pub memories: u64,
            /// Peers that cool down. Those past their cooldown count until they are collected.
            pub cooldowns: u64,
            /// Sessions that a later request may end. Those past their window count until they are collected.
            pub sessions: u64,
            /// Bytes that memories, cooldowns and sessions take, by estimate.
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

            /// Returns the counter of claims that ended with `outcome`.
            pub(crate) fn ended(&self, outcome: Outcome) -> &Counter {
                match outcome {
                    Outcome::Success => &self.completed,
                    Outcome::Failure | Outcome::Broken => &self.failed,
                    Outcome::Abandoned => &self.abandoned,
                    Outcome::Superseded => &self.superseded,
                }
            }

            /// Reads the counters. The gate adds what is held now.
            pub(crate) fn read(&self) -> Stats {
                let refused = |reason| self.refused(reason).read();
                let mut stats = Stats {
                    $($name: self.$name.read(),)*
                    refused_in_flight: refused(Reason::InFlight),
                    refused_processed: refused(Reason::Processed),
                    refused_not_recorded: refused(Reason::NotRecorded),
                    refused_superseded: refused(Reason::Superseded),
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
    /// Requests that are not offers, or have no peer, and passed through.
    passed,
    /// Requests that may be offers but could not be checked, and passed through.
    unchecked,
    /// Offers passed to the inner service.
    admitted,
    /// Duplicates that got the recorded answer.
    replayed,
    /// Offers that were processed.
    completed,
    /// Offers that failed, by `Err` or with a failure as the answer.
    failed,
    /// Offers whose processing was dropped, panicked or was aborted.
    abandoned,
    /// Offers whose processing was ended because a newer offer of the peer arrived.
    superseded,
    /// Processed offers whose answer was not kept, so that their duplicates are refused.
    not_recorded,
    /// Waiting requests that were dropped.
    waits_abandoned,
    /// Claims that lost their peer to the next offer: they outlived their lease, or nobody waited for them.
    taken_over,
    /// Peers, offers and sessions forgotten through a handle.
    forgotten,
}

impl Stats {
    /// Returns the number of all refused requests.
    pub fn refused(&self) -> u64 {
        self.refused_in_flight
            + self.refused_processed
            + self.refused_not_recorded
            + self.refused_superseded
            + self.refused_busy
            + self.refused_cooling_down
            + self.refused_queue_full
            + self.refused_timed_out
            + self.refused_otherwise
    }

    /// Returns the share of offers that were duplicates, from 0 to 1. It is 0 before the first offer.
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

/// Counts events. Relaxed: the number says how often, and orders nothing.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn count(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// Counts, and returns whether this is the first time.
    pub(crate) fn count_is_first(&self) -> bool {
        self.0.fetch_add(1, Relaxed) == 0
    }

    fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
