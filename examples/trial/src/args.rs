//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, value_parser};

use crate::chance::Chance;

/// Headless browsers rejoin a room on a faulty network, with and without the layer
#[derive(Debug, Parser)]
#[command(name = "trial")]
pub(crate) struct Settings {
    /// Number of rejoins per figure
    #[arg(long, value_name = "N", default_value_t = 102, value_parser = value_parser!(u32).range(1..=100_000))]
    pub(crate) rejoins: u32,

    /// Number of browser pairs that run in parallel
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = value_parser!(u32).range(1..=64))]
    pub(crate) pairs: u32,

    /// Time limit for a rejoin to connect, from 1000 to 20000
    #[arg(long = "within-ms", value_name = "MS", default_value = "5000", value_parser = within)]
    pub(crate) within: Duration,

    /// Seed of the random delays [default: random, and printed]
    #[arg(long, value_name = "SEED", default_value_t = Chance::random_seed(), hide_default_value = true)]
    pub(crate) seed: u32,

    /// Fewer networks, for a first impression
    #[arg(long)]
    pub(crate) short: bool,

    /// Folder for trial.json, trial.md and trial.svg
    #[arg(long, value_name = "DIR", default_value = "target/benchmarks")]
    pub(crate) into: PathBuf,
}

impl Settings {
    /// The command that repeats this run.
    pub(crate) fn command(&self) -> String {
        let Self {
            rejoins,
            pairs,
            within,
            seed,
            short,
            ..
        } = self;
        let short = if *short { " --short" } else { "" };
        let within = within.as_millis();
        format!("examples/trial/run --rejoins {rejoins} --pairs {pairs} --within-ms {within} --seed {seed}{short}")
    }
}

fn within(text: &str) -> Result<Duration, &'static str> {
    let millis = text.parse().ok().filter(|millis| (1_000..=20_000).contains(millis));
    millis
        .map(Duration::from_millis)
        .ok_or("not a whole number from 1000 to 20000")
}
