//! Metrics by the `metrics` facade. Without the feature all of it is nothing, and costs nothing.

pub(crate) use self::facade::{record, set, step};

/// Adds one to a counter, by its `outcome`. Both are literals, so that no key is built at run time.
macro_rules! count {
    ($name:literal, $outcome:literal) => {{
        #[cfg(feature = "metrics")]
        ::metrics::counter!($name, "outcome" => $outcome).increment(1);
    }};
}

pub(crate) use count;

#[cfg(feature = "metrics")]
mod facade {
    use std::time::Duration;

    use ::metrics::{gauge, histogram};

    /// Records how long something took.
    pub(crate) fn record(name: &'static str, time: Duration) {
        histogram!(name).record(time);
    }

    /// Moves what is held now by one, up or down.
    pub(crate) fn step(name: &'static str, step: f64) {
        gauge!(name).increment(step);
    }

    /// Sets what is held now.
    pub(crate) fn set(name: &'static str, value: u64) {
        gauge!(name).set(value as f64);
    }
}

#[cfg(not(feature = "metrics"))]
mod facade {
    use std::time::Duration;

    pub(crate) fn record(_: &'static str, _: Duration) {}

    pub(crate) fn step(_: &'static str, _: f64) {}

    pub(crate) fn set(_: &'static str, _: u64) {}
}
