//! Metrics by the `metrics` facade. Without the feature all of it is nothing, and costs nothing.
//!
//! The table in `stats.rs` names the metrics. Keys are built once per layer. Handles are not kept: they belong to the
//! recorder that made them, and another one may be installed later.

#[cfg(feature = "metrics")]
pub use self::facade::SECONDS_BUCKETS;
pub(crate) use self::facade::{Held, LayerName, Series};

#[cfg(feature = "metrics")]
mod facade {
    use std::{
        sync::atomic::{AtomicU64, Ordering::Relaxed},
        time::Duration,
    };

    use ::metrics::{Key, KeyName, Label, Level, Metadata, SharedString, Unit, with_recorder};

    static METADATA: Metadata<'_> = Metadata::new("tower_offer_dedup", Level::INFO, Some("tower_offer_dedup"));

    /// Recommended upper bounds, in seconds, for the buckets of `offer_dedup_processing_seconds` and
    /// `offer_dedup_wait_seconds`.
    ///
    /// They reach from an answer that is ready at once to the default lease of 30 s, in steps of 2 to 3. With
    /// `metrics-exporter-prometheus`:
    ///
    /// ```text
    /// PrometheusBuilder::new()
    ///     .set_buckets_for_metric(Matcher::Prefix("offer_dedup_".into()), &SECONDS_BUCKETS)?
    /// ```
    pub const SECONDS_BUCKETS: [f64; 14] = [
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    ];

    /// The value of the label `layer`.
    #[derive(Clone, Debug)]
    pub(crate) struct LayerName(pub(crate) SharedString);

    impl Default for LayerName {
        fn default() -> Self {
            Self("default".into())
        }
    }

    /// One time series of one layer.
    #[derive(Debug)]
    pub(crate) struct Series(Key);

    impl Series {
        pub(crate) fn new(layer: &LayerName, metric: &'static str, outcome: Option<&'static str>) -> Self {
            match outcome {
                Some(outcome) => Self::labelled(layer, metric, &[("outcome", outcome)]),
                None => Self::labelled(layer, metric, &[]),
            }
        }

        pub(crate) fn labelled(
            layer: &LayerName,
            metric: &'static str,
            labels: &[(&'static str, &'static str)],
        ) -> Self {
            let layer = Label::new("layer", layer.0.clone());
            let labels = labels.iter().map(|(name, value)| Label::from_static_parts(name, value));
            Self(Key::from_parts(
                metric,
                [layer].into_iter().chain(labels).collect::<Vec<_>>(),
            ))
        }

        /// Counts `n` more.
        pub(crate) fn count(&self, n: u64) {
            with_recorder(|recorder| recorder.register_counter(&self.0, &METADATA).increment(n));
        }

        /// Moves a gauge up or down. Layers of one name add up.
        pub(crate) fn step(&self, step: f64) {
            with_recorder(|recorder| recorder.register_gauge(&self.0, &METADATA).increment(step));
        }

        /// Records how long something took.
        pub(crate) fn record(&self, time: Duration) {
            with_recorder(|recorder| recorder.register_histogram(&self.0, &METADATA).record(time));
        }

        /// Creates a counter, so that it is exported as zero and its first increment shows as an increase.
        pub(crate) fn create_counter(&self) {
            self.count(0);
        }

        pub(crate) fn create_gauge(&self) {
            self.step(0.0);
        }

        pub(crate) fn describe_counter(metric: &'static str, help: &'static str) {
            with_recorder(|recorder| recorder.describe_counter(name(metric), Some(Unit::Count), text(help)));
        }

        pub(crate) fn describe_gauge(metric: &'static str, help: &'static str) {
            let unit = if metric.ends_with("_bytes") {
                Unit::Bytes
            } else {
                Unit::Count
            };
            with_recorder(|recorder| recorder.describe_gauge(name(metric), Some(unit), text(help)));
        }

        pub(crate) fn describe_seconds(metric: &'static str, help: &'static str) {
            with_recorder(|recorder| recorder.describe_histogram(name(metric), Some(Unit::Seconds), text(help)));
        }
    }

    fn name(metric: &'static str) -> KeyName {
        KeyName::from_const_str(metric)
    }

    /// The text of a doc comment.
    fn text(help: &'static str) -> SharedString {
        help.trim().into()
    }

    /// A number that is read from time to time. Its series moves by what has changed since the last report, so that
    /// several parts of a layer, and layers of one name, add up.
    #[derive(Debug)]
    pub(crate) struct Held {
        series: Series,
        last: AtomicU64,
    }

    impl Held {
        pub(crate) fn new(series: Series) -> Self {
            Self {
                series,
                last: AtomicU64::new(0),
            }
        }

        pub(crate) fn report_gauge(&self, now: u64) {
            let last = self.last.swap(now, Relaxed);
            if now != last {
                self.series.step(now as f64 - last as f64);
            }
        }

        pub(crate) fn report_counter(&self, now: u64) {
            let last = self.last.swap(now, Relaxed);
            if now > last {
                self.series.count(now - last);
            }
        }

        pub(crate) fn series(&self) -> &Series {
            &self.series
        }
    }
}

#[cfg(not(feature = "metrics"))]
#[allow(clippy::unused_self, reason = "the shape is the one that the feature fills")]
mod facade {
    use std::time::Duration;

    #[derive(Clone, Debug, Default)]
    pub(crate) struct LayerName(());

    #[derive(Debug)]
    pub(crate) struct Series;

    impl Series {
        pub(crate) fn new(_: &LayerName, _: &'static str, _: Option<&'static str>) -> Self {
            Self
        }

        pub(crate) fn labelled(_: &LayerName, _: &'static str, _: &[(&'static str, &'static str)]) -> Self {
            Self
        }

        pub(crate) fn count(&self, _: u64) {}

        pub(crate) fn step(&self, _: f64) {}

        pub(crate) fn record(&self, _: Duration) {}

        pub(crate) fn create_counter(&self) {}

        pub(crate) fn create_gauge(&self) {}

        pub(crate) fn describe_counter(_: &'static str, _: &'static str) {}

        pub(crate) fn describe_gauge(_: &'static str, _: &'static str) {}

        pub(crate) fn describe_seconds(_: &'static str, _: &'static str) {}
    }

    #[derive(Debug)]
    pub(crate) struct Held(Series);

    impl Held {
        pub(crate) fn new(series: Series) -> Self {
            Self(series)
        }

        pub(crate) fn report_gauge(&self, _: u64) {}

        pub(crate) fn report_counter(&self, _: u64) {}

        pub(crate) fn series(&self) -> &Series {
            &self.0
        }
    }
}
