//! Figures over many outcomes.

use crate::pair::Outcome;

/// The figures of one arm.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) tries: usize,
    /// Percentage that connected, or was answered, in time.
    pub(crate) in_time: f64,
    /// Percentage that did so and still worked at the end.
    pub(crate) works: f64,
    /// Percentage without a refused offer.
    pub(crate) unrefused: f64,
    /// Peer connections made by the receiver, on average and at most.
    pub(crate) made: (f64, u32),
    /// Median and 95th percentile of those in time, in milliseconds.
    pub(crate) took: Option<(f64, f64)>,
}

impl Figures {
    pub(crate) fn of(outcomes: &[Outcome]) -> Self {
        let percent = |is: fn(&Outcome) -> bool| {
            100.0 * outcomes.iter().filter(|outcome| is(outcome)).count() as f64 / outcomes.len() as f64
        };
        let made = outcomes.iter().map(|outcome| outcome.made);
        let mut took: Vec<f64> = outcomes.iter().filter_map(|outcome| outcome.after).collect();
        took.sort_by(f64::total_cmp);
        Self {
            tries: outcomes.len(),
            in_time: percent(|outcome| outcome.after.is_some()),
            works: percent(|outcome| outcome.after.is_some() && outcome.works),
            unrefused: percent(|outcome| outcome.refused == 0),
            made: (
                f64::from(made.clone().sum::<u32>()) / outcomes.len() as f64,
                made.max().unwrap_or(0),
            ),
            took: rank(&took, 50).zip(rank(&took, 95)),
        }
    }
}

/// The nearest-rank percentile, so that the result is a measured value.
fn rank(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}
