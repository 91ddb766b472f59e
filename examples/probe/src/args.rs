//! The command line.

use std::time::Duration;

use clap::{Parser, ValueEnum};
use str0m::media::Direction;
use url::{ParseError, Url};

use crate::{
    check::Check,
    message::{Format, Template},
};

const TEMPLATE: &str = r#"{"type":"offer","sdp":"$sdp"}"#;

/// Limit for different offers that one peer sends at once.
const MAX_OF_ONE_PEER: u16 = 8;

const MORE: &str = r#"Examples:
  probe 'http://127.0.0.1:8080/whip/$peer'
  probe http://127.0.0.1:8080/offer --json
  probe ws://127.0.0.1:8080/socket --hello '{"join":"$peer"}' \
      --ws='{"type":"offer","sdp":"$sdp"}'

$peer in the URL or in a template becomes a name that is new for each peer.
Without it all offers of the storm are of one peer, and are 8 at most. A
WebSocket is a peer by itself.

The exit code is 0 if no check failed, and 1 if one did. It is 2 if the server
cannot be probed (wrong option, not reachable, token missing, nothing at this
path), and 130 after an interrupt.

Certificates are checked against the system's, or against those in the file
that SSL_CERT_FILE names."#;

/// Sends repeated WebRTC offers to a signaling server, and judges what comes back
///
/// The offers are real. No media is sent, and the sessions are ended with DELETE.
#[derive(Debug, Parser)]
#[command(name = "probe", after_help = MORE)]
pub(crate) struct Args {
    /// The URL that takes offers: http or https, or ws or wss with --ws
    #[arg(value_parser = url)]
    pub(crate) url: Url,
    /// Bearer token to send
    #[arg(long, value_name = "TOKEN")]
    pub(crate) bearer: Option<String>,
    /// Bearer token of another user, who must not get the first one's answer [default: a random one]
    #[arg(long, value_name = "TOKEN")]
    other_bearer: Option<String>,
    /// Send offers of a viewer, as in WHEP
    #[arg(long)]
    whep: bool,
    /// POST JSON, with $sdp where the offer goes [default template: {"type":"offer","sdp":"$sdp"}]
    #[arg(long, value_name = "TEMPLATE", num_args = 0..=1, require_equals = true, default_missing_value = TEMPLATE,
        value_parser = Template::offer, conflicts_with = "ws")]
    json: Option<Template>,
    /// Send JSON messages over a WebSocket, with $sdp where the offer goes [default template: as for --json]
    #[arg(long, value_name = "TEMPLATE", num_args = 0..=1, require_equals = true, default_missing_value = TEMPLATE,
        value_parser = Template::offer)]
    ws: Option<Template>,
    /// JSON message to send first on each WebSocket, such as a join; may be repeated
    #[arg(long, value_name = "TEMPLATE", value_parser = Template::message, requires = "ws")]
    pub(crate) hello: Vec<Template>,
    /// JSON pointer to the SDP in an answer
    #[arg(long, value_name = "POINTER", default_value = "/sdp")]
    answer: String,
    /// Time limit for each request, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
    /// Number of peers in the storm, each with an offer of its own
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    peers: u16,
    /// Number of copies of each offer in the storm
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(2..=100))]
    pub(crate) copies: u16,
    /// Run only this check; may be repeated
    #[arg(long, value_name = "CHECK", value_enum)]
    only: Vec<Check>,
    /// Form of the report on standard output
    #[arg(long, value_name = "FORM", value_enum, default_value_t = Form::Text)]
    pub(crate) report: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum Form {
    Text,
    Json,
}

/// The protocol that the server speaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Protocol {
    Whip,
    Whep,
    Json,
    Ws,
}

impl Args {
    /// Checks what clap cannot: the URL, and the token.
    pub(crate) fn check(&self) -> Result<(), String> {
        let [plain, encrypted] = if self.ws.is_some() {
            ["ws", "wss"]
        } else {
            ["http", "https"]
        };
        if ![plain, encrypted].contains(&self.url.scheme()) || !self.url.has_host() {
            let hint = if self.ws.is_none() && self.url.scheme().starts_with("ws") {
                " (or --ws)"
            } else {
                ""
            };
            return Err(format!("the URL should start with {plain}:// or {encrypted}://{hint}"));
        }
        let tokens = [&self.bearer, &self.other_bearer].into_iter().flatten();
        if tokens
            .into_iter()
            .any(|token| !token.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err("a bearer token has no blanks and only ASCII characters".into());
        }
        if self.bearer.is_some() && self.bearer == self.other_bearer {
            return Err("--bearer and --other-bearer are the same".into());
        }
        if !self.answer.is_empty() && !self.answer.starts_with('/') {
            return Err("--answer takes a JSON pointer such as /sdp".into());
        }
        Ok(())
    }

    pub(crate) fn protocol(&self) -> Protocol {
        match (&self.ws, &self.json, self.whep) {
            (Some(_), ..) => Protocol::Ws,
            (None, Some(_), _) => Protocol::Json,
            (None, None, true) => Protocol::Whep,
            (None, None, false) => Protocol::Whip,
        }
    }

    pub(crate) fn direction(&self) -> Direction {
        if self.whep {
            Direction::RecvOnly
        } else {
            Direction::SendOnly
        }
    }

    pub(crate) fn format(&self) -> Format {
        match self.ws.as_ref().or(self.json.as_ref()) {
            None => Format::Sdp,
            Some(template) => Format::Json {
                template: template.clone(),
                answer: self.answer.clone(),
            },
        }
    }

    pub(crate) fn other_bearer(&self) -> String {
        self.other_bearer.clone().unwrap_or_else(|| {
            let mut bytes = [0; 8];
            getrandom::fill(&mut bytes).expect("the system should have randomness");
            format!("probe-{:016x}", u64::from_ne_bytes(bytes))
        })
    }

    /// The number of offers in the storm. One peer has no more than a few at once.
    pub(crate) fn peers(&self) -> u16 {
        let has_names = self.url.as_str().contains("$peer") || self.json.as_ref().is_some_and(Template::has_peer);
        if has_names || self.ws.is_some() {
            self.peers
        } else {
            self.peers.min(MAX_OF_ONE_PEER)
        }
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// The checks to run, in order. The first one shows that the server can be probed.
    pub(crate) fn checks(&self) -> impl Iterator<Item = Check> {
        let all = Check::value_variants().iter().copied();
        all.filter(|check| *check == Check::One || self.only.is_empty() || self.only.contains(check))
    }
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Whip => "WHIP",
            Self::Whep => "WHEP",
            Self::Json => "JSON over HTTP",
            Self::Ws => "JSON over a WebSocket",
        }
    }
}

fn url(text: &str) -> Result<Url, String> {
    Url::parse(text).map_err(|error| match error {
        ParseError::RelativeUrlWithoutBase => "the URL should start with http://, https://, ws:// or wss://".into(),
        error => error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &[&str]) -> Args {
        Args::parse_from(["probe", "http://host/path"].iter().chain(flags))
    }

    #[test]
    fn flags_choose_protocol_and_direction() {
        let rows: [(&[&str], Protocol, Direction); 4] = [
            (&[], Protocol::Whip, Direction::SendOnly),
            (&["--whep"], Protocol::Whep, Direction::RecvOnly),
            (&["--json"], Protocol::Json, Direction::SendOnly),
            (&["--ws", "--whep"], Protocol::Ws, Direction::RecvOnly),
        ];
        for (flags, protocol, direction) in rows {
            let args = parse(flags);
            assert_eq!((args.protocol(), args.direction()), (protocol, direction), "{flags:?}");
        }
    }

    #[test]
    fn first_check_always_runs() {
        let checks: Vec<_> = parse(&["--only", "storm"]).checks().collect();
        assert_eq!(checks, [Check::One, Check::Storm]);
        assert_eq!(parse(&[]).checks().count(), 11);
    }

    #[test]
    fn urls_need_scheme_of_protocol() {
        let error = |flags: &[&str]| match Args::try_parse_from([&["probe"], flags].concat()) {
            Ok(args) => args.check().expect_err("the URL should be refused"),
            Err(error) => error.to_string(),
        };
        let rows: [(&[&str], &str); 6] = [
            (
                &["127.0.0.1:8080/whip/a"],
                "start with http://, https://, ws:// or wss://",
            ),
            (&["/whip/a"], "start with http://, https://, ws:// or wss://"),
            (&["localhost:8080/whip/a"], "start with http:// or https://"),
            (&["ws://localhost/a"], "start with http:// or https:// (or --ws)"),
            (&["http://localhost/a", "--ws"], "start with ws:// or wss://"),
            (&["http://localhost:99999/a"], "invalid port number"),
        ];
        for (flags, expected) in rows {
            let error = error(flags);
            assert!(error.contains(expected), "{flags:?}: {error}");
        }
    }

    #[test]
    fn random_users_differ() {
        assert_ne!(parse(&[]).other_bearer(), parse(&[]).other_bearer());
        assert_eq!(parse(&["--other-bearer", "b"]).other_bearer(), "b");
    }
}
