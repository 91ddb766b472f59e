//! What is told of many outcomes.

use crate::pair::Outcome;

/// Of one arm.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) tries: usize,
    /// Percent that connected, or were answered, in time.
    pub(crate) in_time: f64,
    /// Percent that did, and still worked when the time was over.
    pub(crate) works: f64,
    /// Percent of which no offer was refused.
    pub(crate) unrefused: f64,
    /// Peer connections that the receiver made, on average and at most.
    pub(crate) made: (f64, u32),
    /// Milliseconds of those in time: median and 95th percentile.
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

/// The nearest rank: a value that was measured.
fn rank(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}
