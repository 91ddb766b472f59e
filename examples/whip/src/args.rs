//! The command line.

use std::{
    ffi::OsString,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use lexopt::{Arg, Parser, ValueExt};

pub(crate) const HELP: &str = "\
A WHIP endpoint that makes one session per WebRTC offer, however often the offer arrives

Usage: whip [OPTIONS]

Options:
  --listen ADDRESS       address to listen on, with port 0 for any free port [default: 127.0.0.1:8080]
  --media-ip IP          address for the publishers' media, on any free UDP port [default: the address of
                         --listen, or this machine's address on the network if that one is unspecified]
  --token TOKEN          require this bearer token
  --no-dedup             turn the offer deduplication off, to see the difference
  --answer-delay-ms MS   for tests: delay every answer by this much, at most 60000 [default: 0]
  -h, --help             print this help

Publish to http://ADDRESS/whip/NAME. The log goes to stderr, filtered by RUST_LOG: RUST_LOG=tower_offer_dedup=debug shows
every repeated offer.
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
    pub(crate) media_ip: Option<IpAddr>,
    pub(crate) token: Option<String>,
    pub(crate) dedup: bool,
    pub(crate) answer_delay: Duration,
}

impl Command {
    pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, lexopt::Error> {
        let mut settings = Settings::default();
        let mut parser = Parser::from_iter(args);
        while let Some(arg) = parser.next()? {
            match arg {
                Arg::Long("listen") => {
                    settings.listen = value("--listen", "ADDRESS:PORT such as 127.0.0.1:8080", &mut parser)?;
                }
                Arg::Long("media-ip") => {
                    let ip: IpAddr = value("--media-ip", "an IP address", &mut parser)?;
                    if ip.is_unspecified() {
                        return Err("--media-ip takes an address that publishers can send to".into());
                    }
                    settings.media_ip = Some(ip);
                }
                Arg::Long("token") => match parser.value()?.string()? {
                    empty if empty.is_empty() => return Err("--token must not be empty".into()),
                    token => settings.token = Some(token),
                },
                Arg::Long("no-dedup") => settings.dedup = false,
                Arg::Long("answer-delay-ms") => {
                    let expected = "a whole number up to 60000";
                    let delay = value("--answer-delay-ms", expected, &mut parser)?;
                    if delay > 60_000 {
                        return Err(format!("--answer-delay-ms takes {expected}, not {delay}").into());
                    }
                    settings.answer_delay = Duration::from_millis(delay);
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
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            media_ip: None,
            token: None,
            dedup: true,
            answer_delay: Duration::ZERO,
        }
    }
}

fn value<T: std::str::FromStr>(flag: &str, expected: &str, parser: &mut Parser) -> Result<T, lexopt::Error> {
    let value = parser.value()?.string()?;
    value
        .parse()
        .map_err(|_| format!("{flag} takes {expected}, not {value:?}").into())
}
