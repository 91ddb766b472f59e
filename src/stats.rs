//! [`Stats`]: what a layer has done so far, and what it holds now.
//!
//! The table below is the one list of fields. `Stats`, its iterators, the counters behind it and the metrics come from
//! it.

mod counter;

use self::counter::{ByThread, Counter};
use crate::{
    Reason,
    metrics::{Held, LayerName, Series},
    outcome::Outcome,
    quiet::quietly,
};

macro_rules! stats {
    (
        families { $($family:literal: $family_help:literal;)* }
        counters { $($(#[doc = $counter_doc:literal])+ $counter:ident: $counter_metric:literal $($outcome:literal)? $(as $count:ident)?;)* }
        refusals $refusals:literal { $($(#[doc = $refusal_doc:literal])+ $refusal:ident: $reason:ident;)* }
        reported_counters { $($(#[doc = $reported_doc:literal])+ $reported:ident: $reported_metric:literal;)* }
        live_gauges { $($(#[doc = $live_doc:literal])+ $live:ident: $live_metric:literal;)* }
        reported_gauges { $($(#[doc = $gauge_doc:literal])+ $gauge:ident: $gauge_metric:literal;)* }
        histograms { $($time:ident: $time_metric:literal, $time_help:literal;)* }
    ) => {
        /// Counters of a layer since it was built, and what it holds now.
        ///
        /// Once nothing waits, every offer is counted once in `admitted`, `replayed`, `refused_*` or `waits_abandoned`.
        /// Once no claim is held, each of `admitted` is counted in `completed`, `failed`, `abandoned` or `superseded`.
        ///
        /// It iterates over names and values. With feature `json` it serializes to a map of them. With feature
        /// `metrics` each field has a [metric](crate::guide::metrics).
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
        ///
        /// for (name, value) in &stats {
        ///     println!("{name}: {value}");
        /// }
        /// ```
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[doc = $counter_doc])+ pub $counter: u64,)*
            $($(#[doc = $refusal_doc])+ pub $refusal: u64,)*
            $($(#[doc = $reported_doc])+ pub $reported: u64,)*
            $($(#[doc = $live_doc])+ pub $live: u64,)*
            $($(#[doc = $gauge_doc])+ pub $gauge: u64,)*
        }

        impl Stats {
            /// Returns the names and values of the counters, which only grow.
            pub fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [
                    $((stringify!($counter), self.$counter),)*
                    $((stringify!($refusal), self.$refusal),)*
                    $((stringify!($reported), self.$reported),)*
                ]
                .into_iter()
            }

            /// Returns the names and values of the gauges: what the layer holds now.
            pub fn gauges(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [
                    $((stringify!($live), self.$live),)*
                    $((stringify!($gauge), self.$gauge),)*
                ]
                .into_iter()
            }

            /// Returns the number of all refused requests.
            pub fn refused(&self) -> u64 {
                [$(self.$refusal),*].iter().sum()
            }
        }

        /// The counters of a layer, each with its metric, and the metrics of what is counted elsewhere.
        #[derive(Debug)]
        pub(crate) struct Counters {
            $(pub(crate) $counter: Counter$(<$count>)?,)*
            $($refusal: Counter,)*
            $(pub(crate) $live: Series,)*
            $(pub(crate) $time: Series,)*
        }

        impl Counters {
            pub(crate) fn new(layer: &LayerName) -> Self {
                Self {
                    $($counter: Counter::new(Series::new(layer, $counter_metric, None$(.or(Some($outcome)))?)),)*
                    $($refusal: Counter::new(Series::new(layer, $refusals, Some(Reason::$reason.as_str()))),)*
                    $($live: Series::new(layer, $live_metric, None),)*
                    $($time: Series::new(layer, $time_metric, None),)*
                }
            }

            pub(crate) fn refused(&self, reason: Reason) -> &Counter {
                match reason {
                    $(Reason::$reason => &self.$refusal,)*
                }
            }

            /// Reads the counters. The gate adds what is held now.
            pub(crate) fn read(&self) -> Stats {
                Stats {
                    $($counter: self.$counter.read(),)*
                    $($refusal: self.$refusal.read(),)*
                    ..Stats::default()
                }
            }

            /// Describes the metrics, and creates those that are there from the start.
            pub(crate) fn announce(&self) {
                $(Series::describe_counter($family, $family_help);)*
                $(stats!(@describe $counter_metric, concat!($($counter_doc),+) $(, $outcome)?);)*
                $(Series::describe_counter($reported_metric, concat!($($reported_doc),+));)*
                $(Series::describe_gauge($live_metric, concat!($($live_doc),+));)*
                $(Series::describe_gauge($gauge_metric, concat!($($gauge_doc),+));)*
                $(Series::describe_seconds($time_metric, $time_help);)*
                $(self.$counter.series.create_counter();)*
                $(self.$refusal.series.create_counter();)*
                $(self.$live.create_gauge();)*
            }
        }

        /// The metrics of what is read from time to time, as one part of a layer has reported it last.
        #[derive(Debug)]
        pub(crate) struct Reported {
            $($reported: Held,)*
            $($gauge: Held,)*
        }

        impl Reported {
            pub(crate) fn new(layer: &LayerName) -> Self {
                Self {
                    $($reported: Held::new(Series::new(layer, $reported_metric, None)),)*
                    $($gauge: Held::new(Series::new(layer, $gauge_metric, None)),)*
                }
            }

            pub(crate) fn announce(&self) {
                $(self.$reported.series().create_counter();)*
                $(self.$gauge.series().create_gauge();)*
            }

            pub(crate) fn report(&self, stats: &Stats) {
                $(self.$reported.report_counter(stats.$reported);)*
                self.report_gauges(stats);
            }

            fn report_gauges(&self, stats: &Stats) {
                $(self.$gauge.report_gauge(stats.$gauge);)*
            }
        }
    };
    // A family with outcomes is described as a whole.
    (@describe $metric:literal, $help:expr, $outcome:literal) => {};
    (@describe $metric:literal, $help:expr) => {
        Series::describe_counter($metric, $help)
    };
}

stats! {
    families {
        "offer_dedup_offers_total": "Offers, by what became of them: admitted, replayed, waits_abandoned or the reason of a refusal.";
        "offer_dedup_processed_total": "Admitted offers, by how their processing ended.";
    }
    counters {
        /// Requests that are not offers, or have no peer, and passed through.
        passed: "offer_dedup_passed_total" as ByThread;
        /// Requests that may be offers but could not be checked, and passed through.
        unchecked: "offer_dedup_unchecked_total" as ByThread;
        /// Offers passed to the inner service.
        admitted: "offer_dedup_offers_total" "admitted";
        /// Duplicates that got the recorded answer.
        replayed: "offer_dedup_offers_total" "replayed";
        /// Waiting requests that were dropped.
        waits_abandoned: "offer_dedup_offers_total" "waits_abandoned";
        /// Offers that were processed.
        completed: "offer_dedup_processed_total" "completed";
        /// Offers that failed, by `Err` or with a failure as the answer.
        failed: "offer_dedup_processed_total" "failed";
        /// Offers whose processing was dropped, panicked or was aborted.
        abandoned: "offer_dedup_processed_total" "abandoned";
        /// Offers whose processing was ended because a newer offer of the peer arrived.
        superseded: "offer_dedup_processed_total" "superseded";
        /// Processed offers whose answer was not kept, so that their duplicates are refused.
        not_recorded: "offer_dedup_not_recorded_total";
        /// Claims that lost their peer to the next offer: they outlived their lease, or nobody waited for them.
        taken_over: "offer_dedup_taken_over_total";
        /// Peers, offers and sessions forgotten through a handle, or because another node has forgotten them.
        forgotten: "offer_dedup_forgotten_total";
        /// Calls of the shared store that failed or took too long.
        store_failures: "offer_dedup_store_failures_total";
        /// Offers admitted by this node alone, because the shared store could not be asked.
        admitted_alone: "offer_dedup_admitted_alone_total";
        /// Claims that the shared store took away from this node.
        store_claims_lost: "offer_dedup_store_claims_lost_total";
        /// Messages to the shared store that were dropped: too many waited, or they were not acknowledged in time.
        store_messages_dropped: "offer_dedup_store_messages_dropped_total";
    }
    refusals "offer_dedup_offers_total" {
        /// Requests refused because the same offer was being processed or queued.
        refused_in_flight: InFlight;
        /// Requests refused because the same offer was processed.
        refused_processed: Processed;
        /// Requests refused because the same offer was processed and its answer was not kept.
        refused_not_recorded: NotRecorded;
        /// Requests refused because a newer offer of the peer had arrived.
        refused_superseded: Superseded;
        /// Requests refused because another offer of the peer was being processed.
        refused_busy: Busy;
        /// Requests refused because the peer was cooling down.
        refused_cooling_down: CoolingDown;
        /// Requests refused because too many waited.
        refused_queue_full: QueueFull;
        /// Requests refused because they waited too long.
        refused_timed_out: TimedOut;
        /// Requests refused because processing was ended from outside.
        refused_aborted: Aborted;
        /// Requests refused because their body was larger than the cap.
        refused_body_too_large: BodyTooLarge;
        /// Requests refused because their body did not arrive in time.
        refused_body_timed_out: BodyTimedOut;
        /// Requests refused because they named no peer.
        refused_peer_missing: PeerMissing;
        /// Requests refused because a shared store could not be reached.
        refused_store_unavailable: StoreUnavailable;
    }
    reported_counters {
        /// Memories, cooldowns and sessions dropped inside their time to stay inside a limit. Duplicates of a dropped
        /// memory pass.
        evicted: "offer_dedup_evicted_total";
    }
    live_gauges {
        /// Claims held now, those of detached tasks and forgotten ones included.
        claims: "offer_dedup_claims";
        /// Requests that wait now, for their turn or for the answer to the same offer.
        waiters: "offer_dedup_waiters";
        /// Requests whose body is being read now, to find an offer in it.
        body_reads: "offer_dedup_body_reads";
        /// Messages that wait for the shared store now.
        store_messages: "offer_dedup_store_messages";
        /// 1 while the shared store cannot be reached and is not called, else 0.
        store_down: "offer_dedup_store_down";
    }
    reported_gauges {
        /// Offers that are remembered. Those past their window count until they are collected.
        memories: "offer_dedup_memories";
        /// Peers that cool down. Those past their cooldown count until they are collected.
        cooldowns: "offer_dedup_cooldowns";
        /// Sessions that a later request may end. Those past their window count until they are collected.
        sessions: "offer_dedup_sessions";
        /// Bytes that memories, cooldowns and sessions take, by estimate.
        bytes: "offer_dedup_memory_bytes";
        /// Bytes that memories, cooldowns and sessions may take at most.
        max_bytes: "offer_dedup_max_memory_bytes";
    }
    histograms {
        processing: "offer_dedup_processing_seconds", "Time from the admission of an offer until its peer was released.";
        wait: "offer_dedup_wait_seconds", "Time that requests waited, for their turn or for the answer to the same offer.";
    }
}

impl Stats {
    /// Returns the names and values of all fields.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_offer_dedup::Stats;
    ///
    /// let stats = Stats::default();
    /// assert!(stats.iter().any(|(name, _)| name == "admitted"));
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        self.counters().chain(self.gauges())
    }

    /// Returns the number of offers that were decided on, each once.
    pub fn offers(&self) -> u64 {
        self.admitted + self.replayed + self.refused() + self.waits_abandoned
    }

    /// Returns the number of offers that were duplicates.
    pub fn duplicates(&self) -> u64 {
        self.replayed + self.refused_in_flight + self.refused_processed + self.refused_not_recorded
    }

    /// Returns the share of offers that were duplicates, from 0 to 1. It is 0 before the first offer.
    pub fn duplicate_rate(&self) -> f64 {
        match self.offers() {
            0 => 0.0,
            offers => self.duplicates() as f64 / offers as f64,
        }
    }
}

impl IntoIterator for &Stats {
    type Item = (&'static str, u64);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter().collect::<Vec<_>>().into_iter()
    }
}

#[cfg(feature = "json")]
impl serde::Serialize for Stats {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

impl Counters {
    /// Returns the counter of claims that ended with `outcome`.
    pub(crate) fn ended(&self, outcome: Outcome) -> &Counter {
        match outcome {
            Outcome::Success => &self.completed,
            Outcome::Failure | Outcome::Broken => &self.failed,
            Outcome::Abandoned => &self.abandoned,
            Outcome::Superseded => &self.superseded,
        }
    }
}

impl Drop for Reported {
    fn drop(&mut self) {
        // A layer that is gone holds nothing.
        quietly(|| self.report_gauges(&Stats::default()));
    }
}
