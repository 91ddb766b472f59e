//! Fault injection: delivers offers more than once.

use std::{ops::RangeInclusive, time::Duration};

use crate::chance::Chance;

/// The number and the times of an offer's repetitions.
#[derive(Clone, Debug)]
pub(crate) struct Repeat {
    pub(crate) times: u32,
    pub(crate) delay: Delay,
    pub(crate) chance: Chance,
}

/// The delay of a repetition after its offer.
#[derive(Clone, Debug)]
pub(crate) enum Delay {
    /// The k-th repetition comes after k times this duration.
    Step(Duration),
    /// Each repetition comes at a random time in this range, in milliseconds.
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
