//! Fault injection: when an offer is handed on again.

use std::{ops::RangeInclusive, time::Duration};

use crate::chance::Chance;

/// How often an offer is handed on again, and when.
#[derive(Clone, Debug)]
pub(crate) struct Repeat {
    pub(crate) times: u32,
    pub(crate) delay: Delay,
    pub(crate) chance: Chance,
}

/// How long after the offer a repetition comes.
#[derive(Clone, Debug)]
pub(crate) enum Delay {
    /// The k-th at k times that.
    Step(Duration),
    /// Each at a random time, in milliseconds.
    Random(RangeInclusive<u32>),
}

impl Repeat {
    /// The delays of one offer's repetitions.
    pub(crate) fn delays(&self) -> impl Iterator<Item = Duration> {
        (1..=self.times).map(|k| match &self.delay {
            Delay::Step(step) => k * *step,
            Delay::Random(millis) => Duration::from_millis(self.chance.within(millis).into()),
        })
    }
}
