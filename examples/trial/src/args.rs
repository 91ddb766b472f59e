//! The command line.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use lexopt::{Arg, Parser, ValueExt};

use crate::chance::Chance;

pub(crate) const HELP: &str = "\
Headless browsers rejoin a room on a faulty network, with and without the layer

Usage: trial [OPTIONS]

Options:
  --rejoins N      number of rejoins per figure [default: 102]
  --pairs N        number of browser pairs that run in parallel [default: 9]
  --within-ms MS   time limit for a rejoin to connect, from 1000 to 20000 [default: 5000]
  --seed SEED      seed of the random delays [default: random, and printed]
  --short          fewer networks, for a first impression
  --into DIR       folder for trial.json, trial.md and trial.svg [default: target/benchmarks]
  -h, --help       print this help
";

/// The parsed command line.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Run(Settings),
}

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) rejoins: u32,
    pub(crate) pairs: u32,
    pub(crate) within: Duration,
    pub(crate) seed: u32,
    pub(crate) short: bool,
    pub(crate) into: PathBuf,
}

impl Command {
    pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, lexopt::Error> {
        let mut settings = Settings::default();
        let mut parser = Parser::from_iter(args);
        while let Some(arg) = parser.next()? {
            match arg {
                Arg::Long("rejoins") => settings.rejoins = number("--rejoins", &mut parser, 1, 100_000)?,
                Arg::Long("pairs") => settings.pairs = number("--pairs", &mut parser, 1, 64)?,
                Arg::Long("within-ms") => {
                    let millis = number("--within-ms", &mut parser, 1_000, 20_000)?;
                    settings.within = Duration::from_millis(millis.into());
                }
                Arg::Long("seed") => settings.seed = number("--seed", &mut parser, 0, u32::MAX)?,
                Arg::Long("short") => settings.short = true,
                Arg::Long("into") => settings.into = parser.value()?.into(),
                Arg::Short('h') | Arg::Long("help") => return Ok(Self::Help),
                Arg::Short(_) | Arg::Long(_) | Arg::Value(_) => return Err(arg.unexpected()),
            }
        }
        Ok(Self::Run(settings))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rejoins: 102,
            pairs: 9,
            within: Duration::from_secs(5),
            seed: Chance::random_seed(),
            short: false,
            into: PathBuf::from("target/benchmarks"),
        }
    }
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

fn number(flag: &str, parser: &mut Parser, least: u32, most: u32) -> Result<u32, lexopt::Error> {
    let value = parser.value()?.string()?;
    match value.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("{flag} takes a whole number from {least} to {most}, not {value:?}").into()),
    }
}
