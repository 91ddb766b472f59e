//! The command line.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use clap::{ArgAction, Parser, builder::NonEmptyStringValueParser};

use crate::sharing::Sharing;

/// A WHIP and WHEP endpoint that makes one session per WebRTC offer, however often the offer arrives
#[derive(Clone, Debug, Parser)]
#[command(
    name = "whip",
    after_help = "Publish to http://ADDRESS/whip/NAME, and watch at http://ADDRESS/whep/NAME. The log goes to stderr, filtered \
                  by RUST_LOG: RUST_LOG=tower_offer_dedup=debug shows every repeated offer."
)]
pub(crate) struct Settings {
    /// Address to listen on, with port 0 for any free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// Address for media, on any free UDP port [default: the address of --listen, or this machine's address on the network
    /// if that one is unspecified]
    #[arg(long, value_name = "IP", value_parser = reachable)]
    pub(crate) media_ip: Option<IpAddr>,

    /// Require this bearer token
    #[arg(long, value_name = "TOKEN", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) token: Option<String>,

    /// Turn the offer deduplication off, to see the difference
    #[arg(long = "no-dedup", action = ArgAction::SetFalse)]
    pub(crate) dedup: bool,

    /// Identify publishers without the host that they name, behind a proxy that sends each node another `Host`
    #[arg(long)]
    pub(crate) ignore_host: bool,

    /// Begin the last part of session URLs with this name of letters and digits, so that a proxy can route by it
    #[arg(long, value_name = "NAME", value_parser = node_name)]
    pub(crate) node: Option<String>,

    #[command(flatten)]
    pub(crate) sharing: Sharing,

    /// For tests: delay every answer by this much, at most 60000
    #[arg(long = "answer-delay-ms", value_name = "MS", default_value = "0", value_parser = millis)]
    pub(crate) answer_delay: Duration,
}

fn reachable(text: &str) -> Result<IpAddr, String> {
    let ip: IpAddr = text.parse().map_err(|_| "not an IP address".to_owned())?;
    if ip.is_unspecified() {
        return Err("not an address that publishers can send to".into());
    }
    Ok(ip)
}

fn node_name(text: &str) -> Result<String, &'static str> {
    let is_name = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_name.then(|| text.to_owned()).ok_or("not letters and digits")
}

fn millis(text: &str) -> Result<Duration, &'static str> {
    let millis = text.parse().ok().filter(|millis| *millis <= 60_000);
    millis
        .map(Duration::from_millis)
        .ok_or("not a whole number up to 60000")
}
