//! The conditions of a room: the faults of its network, and whether the layer guards it.

use std::{fmt, ops::RangeInclusive, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{args::HOUR, chance::Chance};

const MOST_REPETITIONS: u32 = 100;

/// The conditions of one room.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Conditions {
    /// Puts the layer before the room.
    pub(crate) layer: bool,
    /// The number of repetitions of each offer.
    pub(crate) repeat: u32,
    pub(crate) delay_ms: Delay,
    /// Loses the first answer, and every second one after it, on the last hop: its offer counts as answered.
    pub(crate) lose_answers: bool,
}

/// The delay of a repetition after its offer, as text `M` or `M..N` in milliseconds.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum Delay {
    /// The k-th repetition comes after k times this many milliseconds.
    Step(u32),
    /// Each repetition comes at a random time in this range.
    Random(RangeInclusive<u32>),
}

impl Conditions {
    pub(crate) fn is_valid(&self) -> bool {
        self.repeat <= MOST_REPETITIONS
    }

    /// The delays of one offer's repetitions.
    pub(crate) fn delays(&self, chance: &Chance) -> Vec<Duration> {
        let delay = |k| match &self.delay_ms {
            Delay::Step(step) => k * Duration::from_millis((*step).into()),
            Delay::Random(millis) => Duration::from_millis(chance.within(millis).into()),
        };
        (1..=self.repeat).map(delay).collect()
    }
}

impl FromStr for Delay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = |text: &str| text.parse().ok().filter(|millis: &u32| *millis <= HOUR);
        let delay = match text.split_once("..") {
            None => read(text).map(Self::Step),
            Some((from, to)) => match (read(from), read(to)) {
                (Some(from), Some(to)) if from <= to => Some(Self::Random(from..=to)),
                _ => None,
            },
        };
        delay.ok_or_else(|| format!("not a whole number M up to {HOUR}, nor M..N with N the larger"))
    }
}

impl TryFrom<String> for Delay {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Delay> for String {
    fn from(delay: Delay) -> Self {
        delay.to_string()
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(millis) => write!(f, "{millis}"),
            Self::Random(millis) => write!(f, "{}..{}", millis.start(), millis.end()),
        }
    }
}
