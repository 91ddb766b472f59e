//! Metrics by the `metrics` facade. Without the feature all of it is nothing, and costs nothing.

pub(crate) use self::facade::{count, record, set, step};

#[cfg(feature = "metrics")]
mod facade {
    use std::time::Duration;

    use ::metrics::{counter, gauge, histogram};

    /// Adds one to what `name` counts, by its `outcome`.
    pub(crate) fn count(name: &'static str, outcome: &'static str) {
        counter!(name, "outcome" => outcome).increment(1);
    }

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

    pub(crate) fn count(_: &'static str, _: &'static str) {}

    pub(crate) fn record(_: &'static str, _: Duration) {}

    pub(crate) fn step(_: &'static str, _: f64) {}

    pub(crate) fn set(_: &'static str, _: u64) {}
}
