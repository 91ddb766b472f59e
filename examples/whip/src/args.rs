//! The command line.

use std::{
    ffi::OsString,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use lexopt::{Arg, Parser, ValueExt};

pub(crate) const HELP: &str = "\
A WHIP endpoint that makes one session of each WebRTC offer, however often it arrives

Usage: whip [OPTIONS]

Options:
  --listen ADDRESS       where to listen, port 0 for any free one [default: 127.0.0.1:8080]
  --media-ip IP          the address that publishers send media to, on any free UDP port [default: the one of --listen,
                         or if that is any, the one this machine has towards the network]
  --token TOKEN          let in only who has this bearer token
  --no-dedup             leave the offer deduplication out, to see what then happens
  --answer-delay-ms MS   testing aid: take this much longer to answer an offer, at most 60000 [default: 0]
  -h, --help             print this

Publish to http://ADDRESS/whip/NAME. The log goes to stderr, filtered by RUST_LOG: RUST_LOG=tower_offer_dedup=debug shows
every repeated offer.
";

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Serve(Settings),
}

/// How the server runs.
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
                        return Err("--media-ip wants an address that publishers can send to".into());
                    }
                    settings.media_ip = Some(ip);
                }
                Arg::Long("token") => match parser.value()?.string()? {
                    empty if empty.is_empty() => return Err("--token wants a token, not nothing".into()),
                    token => settings.token = Some(token),
                },
                Arg::Long("no-dedup") => settings.dedup = false,
                Arg::Long("answer-delay-ms") => {
                    let wanted = "a whole number up to 60000";
                    let delay = value("--answer-delay-ms", wanted, &mut parser)?;
                    if delay > 60_000 {
                        return Err(format!("--answer-delay-ms wants {wanted}, not {delay}").into());
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

fn value<T: std::str::FromStr>(flag: &str, wanted: &str, parser: &mut Parser) -> Result<T, lexopt::Error> {
    let value = parser.value()?.string()?;
    value
        .parse()
        .map_err(|_| format!("{flag} wants {wanted}, not {value:?}").into())
}
