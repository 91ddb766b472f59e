//! The command line.

use std::{ffi::OsString, net::SocketAddr, time::Duration};

use lexopt::{Arg, Parser, ValueExt};

use crate::{
    chance::Chance,
    repeat::{Delay, Repeat},
};

pub(crate) const HELP: &str = "\
A WebSocket room server that processes each WebRTC offer once

Usage: room [OPTIONS]

Options:
  --listen ADDRESS         address to listen on, with port 0 for any free port [default: 127.0.0.1:3000]
  --no-dedup               turn the offer deduplication off, to see the difference
  --repeat N               fault injection: deliver every offer N more times, at most 100 [default: 0]
  --repeat-delay-ms M      deliver the k-th repetition k * M milliseconds after the offer [default: 30]
  --repeat-delay-ms M..N   deliver each repetition at a random time, M to N milliseconds after the offer
  --repeat-seed SEED       seed of these random times, for trials that can be repeated
  --lose-answers N         fault injection: lose the first N answers to each socket, at most 100 [default: 0]
  --window-ms MS           how long to remember a processed offer [default: 10000]
  --cooldown-ms MS         how long to refuse other offers of a pair after one was processed [default: 2000]
  --queue                  queue up to 8 other offers of a pair for up to 10 s, instead of ignoring them
  --newest-wins            replace the offer of a pair in progress by a newer one, without a cooldown: preset room()
  --answer-timeout-ms MS   how long an offer may wait for its answer before it fails [default: 10000]
  -h, --help               print this help

The log goes to stderr, filtered by RUST_LOG. RUST_LOG=tower_offer_dedup=debug shows every ignored offer.
";

/// The parsed command line.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Serve(Settings),
}

/// The settings of the server.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) dedup: bool,
    pub(crate) repeat: Repeat,
    pub(crate) window: Duration,
    pub(crate) cooldown: Duration,
    pub(crate) queue: bool,
    pub(crate) newest_wins: bool,
    pub(crate) lose_answers: u32,
    pub(crate) answer_timeout: Duration,
}

impl Command {
    pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, lexopt::Error> {
        let mut settings = Settings::default();
        let mut parser = Parser::from_iter(args);
        while let Some(arg) = parser.next()? {
            match arg {
                Arg::Long("listen") => {
                    let address = parser.value()?.string()?;
                    settings.listen = address
                        .parse()
                        .map_err(|_| format!("--listen takes ADDRESS:PORT such as 127.0.0.1:3000, not {address:?}"))?;
                }
                Arg::Long("no-dedup") => settings.dedup = false,
                Arg::Long("repeat") => {
                    settings.repeat.times = number("--repeat", &mut parser, 100)?;
                }
                Arg::Long("repeat-delay-ms") => {
                    settings.repeat.delay = delay("--repeat-delay-ms", &mut parser)?;
                }
                Arg::Long("repeat-seed") => {
                    settings.repeat.chance = Chance::new(number("--repeat-seed", &mut parser, u32::MAX)?);
                }
                Arg::Long("window-ms") => settings.window = millis("--window-ms", &mut parser)?,
                Arg::Long("cooldown-ms") => {
                    settings.cooldown = millis("--cooldown-ms", &mut parser)?;
                }
                Arg::Long("queue") => settings.queue = true,
                Arg::Long("newest-wins") => settings.newest_wins = true,
                Arg::Long("lose-answers") => settings.lose_answers = number("--lose-answers", &mut parser, 100)?,
                Arg::Long("answer-timeout-ms") => {
                    settings.answer_timeout = millis("--answer-timeout-ms", &mut parser)?;
                }
                Arg::Short('h') | Arg::Long("help") => return Ok(Self::Help),
                Arg::Short(_) | Arg::Long(_) | Arg::Value(_) => return Err(arg.unexpected()),
            }
        }
        Ok(Self::Serve(settings))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 3000)),
            dedup: true,
            repeat: Repeat {
                times: 0,
                delay: Delay::Step(Duration::from_millis(30)),
                chance: Chance::new(Chance::random_seed()),
            },
            window: Duration::from_secs(10),
            cooldown: Duration::from_secs(2),
            queue: false,
            newest_wins: false,
            lose_answers: 0,
            answer_timeout: Duration::from_secs(10),
        }
    }
}

fn number(flag: &str, parser: &mut Parser, most: u32) -> Result<u32, lexopt::Error> {
    let value = parser.value()?.string()?;
    match value.parse() {
        Ok(number) if number <= most => Ok(number),
        _ => Err(format!("{flag} takes a whole number up to {most}, not {value:?}").into()),
    }
}

/// One hour. A larger value is more likely a typo than intended.
const HOUR: u32 = 3_600_000;

fn millis(flag: &str, parser: &mut Parser) -> Result<Duration, lexopt::Error> {
    number(flag, parser, HOUR).map(|millis| Duration::from_millis(millis.into()))
}

/// Parses `M` or `M..N`.
fn delay(flag: &str, parser: &mut Parser) -> Result<Delay, lexopt::Error> {
    let value = parser.value()?.string()?;
    let read = |text: &str| text.parse().ok().filter(|millis: &u32| *millis <= HOUR);
    let delay = match value.split_once("..") {
        None => read(&value).map(|millis| Delay::Step(Duration::from_millis(millis.into()))),
        Some((from, to)) => match (read(from), read(to)) {
            (Some(from), Some(to)) if from <= to => Some(Delay::Random(from..=to)),
            _ => None,
        },
    };
    delay.ok_or_else(|| {
        format!("{flag} takes a whole number M up to {HOUR}, or M..N with N the larger, not {value:?}").into()
    })
}
