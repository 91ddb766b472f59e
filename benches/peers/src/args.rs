//! The command line, and the size of a run.

use std::{ffi::OsString, time::Duration};

use lexopt::{Arg, Parser, ValueExt};

use crate::contenders::{self, Contender, Settings};

pub(crate) const HELP: &str = "\
Compares offer deduplication with its alternatives

Usage: peers [--quick]

  --quick     small sizes, for CI
  -h, --help  print this help

Node 20 or newer is required. This program also runs the servers, as `peers serve NAME MS` and
`peers fill NAME COUNT BYTES PROBES`.
";

#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Compare(Size),
    Serve(Serve),
    Fill(Fill),
}

/// The amount of work. The storm always has the same size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) quick: bool,
    /// Number of rounds of storms, duplicates and new offers. The tables show medians.
    pub(crate) rounds: u64,
    pub(crate) duplicates: u64,
    pub(crate) new_offers: u64,
    pub(crate) remembered: u64,
    /// The limit of bounded memories.
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

    /// The command that starts a run of this size.
    pub(crate) fn command(&self) -> String {
        let quick = if self.quick { " -- --quick" } else { "" };
        format!("cargo run --release --manifest-path benches/peers/Cargo.toml{quick}")
    }
}

/// A server on its own port.
#[derive(Debug)]
pub(crate) struct Serve {
    pub(crate) contender: Contender,
    pub(crate) takes: Duration,
}

/// A contender that is filled with offers in its own process.
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
