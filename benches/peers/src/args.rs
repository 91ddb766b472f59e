//! The command line, and how large a run is.

use std::{ffi::OsString, time::Duration};

use lexopt::{Arg, Parser, ValueExt};

use crate::contenders::{self, Contender, Settings};

pub(crate) const HELP: &str = "\
Offer deduplication beside its alternatives

Usage: peers [--quick]

  --quick     everything at a small size, for CI
  -h, --help  print this

Node 20 or newer is needed. The servers are this program too, started as `peers serve NAME MS` and
`peers fill NAME COUNT BYTES PROBES`.
";

#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Compare(Size),
    Serve(Serve),
    Fill(Fill),
}

/// How much is done. The storm is of one size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) quick: bool,
    /// How often storms, duplicates and new offers are run; the table has the medians.
    pub(crate) rounds: u64,
    pub(crate) duplicates: u64,
    pub(crate) new_offers: u64,
    pub(crate) remembered: u64,
    /// The bound of bounded memories.
    pub(crate) max_memory: u64,
}

impl Size {
    const FULL: Self = Self {
        quick: false,
        rounds: 5,
        duplicates: 50_000,
        new_offers: 50_000,
        remembered: 1_000_000,
        max_memory: 64 * 1024 * 1024,
    };

    const QUICK: Self = Self {
        quick: true,
        rounds: 1,
        duplicates: 2_000,
        new_offers: 2_000,
        remembered: 50_000,
        max_memory: 4 * 1024 * 1024,
    };

    /// What it is asked for by.
    pub(crate) fn command(&self) -> String {
        let quick = if self.quick { " -- --quick" } else { "" };
        format!("cargo run --release --manifest-path benches/peers/Cargo.toml{quick}")
    }
}

/// A server on a port of its own.
#[derive(Debug)]
pub(crate) struct Serve {
    pub(crate) contender: Contender,
    pub(crate) takes: Duration,
}

/// A contender that is given offers in its own process.
#[derive(Debug)]
pub(crate) struct Fill {
    pub(crate) contender: Contender,
    pub(crate) count: u64,
    pub(crate) probes: u64,
    pub(crate) settings: Settings,
}

impl Command {
    pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        Self::read(&mut Parser::from_args(args)).map_err(|error| format!("{error}; see --help"))
    }

    fn read(parser: &mut Parser) -> Result<Self, lexopt::Error> {
        let mut size = Size::FULL;
        while let Some(arg) = parser.next()? {
            match arg {
                Arg::Long("quick") => size = Size::QUICK,
                Arg::Short('h') | Arg::Long("help") => return Ok(Self::Help),
                Arg::Value(command) if command == "serve" => {
                    return Ok(Self::Serve(Serve {
                        contender: contender(parser)?,
                        takes: Duration::from_millis(parser.value()?.parse()?),
                    }));
                }
                Arg::Value(command) if command == "fill" => {
                    return Ok(Self::Fill(Fill {
                        contender: contender(parser)?,
                        count: parser.value()?.parse()?,
                        settings: Settings {
                            window: Some(crate::memory::WINDOW),
                            max_memory: Some(parser.value()?.parse()?),
                        },
                        probes: parser.value()?.parse()?,
                    }));
                }
                _ => return Err(arg.unexpected()),
            }
        }
        Ok(Self::Compare(size))
    }
}

fn contender(parser: &mut Parser) -> Result<Contender, lexopt::Error> {
    let name = parser.value()?.string()?;
    contenders::find(&name).ok_or_else(|| format!("there is no contender {name:?}").into())
}
