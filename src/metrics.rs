//! Metrics by the `metrics` facade. Without the feature all of it is nothing, and costs nothing.

/// Adds one to what `name` counts, by its `outcome`.
pub(crate) fn count(name: &'static str, outcome: &'static str) {
    facade::count(name, outcome);
}

/// Records how long something took.
pub(crate) fn record(name: &'static str, time: std::time::Duration) {
    facade::record(name, time);
}

/// Moves what is held now by one, up or down.
pub(crate) fn step(name: &'static str, step: f64) {
    facade::step(name, step);
}

/// Sets what is held now.
pub(crate) fn set(name: &'static str, value: u64) {
    facade::set(name, value);
}

#[cfg(feature = "metrics")]
mod facade {
    use std::time::Duration;

    use ::metrics::{counter, gauge, histogram};

    pub(super) fn count(name: &'static str, outcome: &'static str) {
        counter!(name, "outcome" => outcome).increment(1);
    }

    pub(super) fn record(name: &'static str, time: Duration) {
        histogram!(name).record(time);
    }

    pub(super) fn step(name: &'static str, step: f64) {
        gauge!(name).increment(step);
    }

    pub(super) fn set(name: &'static str, value: u64) {
        gauge!(name).set(value as f64);
    }
}

#[cfg(not(feature = "metrics"))]
mod facade {
    use std::time::Duration;

    pub(super) fn count(_: &'static str, _: &'static str) {}

    pub(super) fn record(_: &'static str, _: Duration) {}

    pub(super) fn step(_: &'static str, _: f64) {}

    pub(super) fn set(_: &'static str, _: u64) {}
}
