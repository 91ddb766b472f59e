//! The command line.

use std::{net::SocketAddr, time::Duration};

use clap::{ArgAction, Parser, value_parser};

use crate::{
    conditions::{Conditions, Delay},
    sharing::Sharing,
};

/// One hour in milliseconds. A larger value is more likely a typo than intended.
pub(crate) const HOUR: u32 = 3_600_000;

/// A WebSocket room server that processes each WebRTC offer once
#[derive(Clone, Debug, Parser)]
#[command(
    name = "room",
    after_help = "The log goes to stderr, filtered by RUST_LOG. RUST_LOG=tower_offer_dedup=debug shows every ignored offer."
)]
pub(crate) struct Settings {
    /// Address to listen on, with port 0 for any free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    pub(crate) listen: SocketAddr,

    /// Turn the offer deduplication off, to see the difference. Each room has a switch for it on its page
    #[arg(long = "no-dedup", action = ArgAction::SetFalse)]
    pub(crate) dedup: bool,

    /// Fault injection: deliver every offer N more times, at most 100
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = value_parser!(u32).range(..=100))]
    pub(crate) repeat: u32,

    /// Deliver each repetition at a random time, M to N milliseconds after the offer. One number M delivers the k-th
    /// repetition after k * M
    #[arg(long = "repeat-delay-ms", value_name = "M..N", default_value = "50..500")]
    pub(crate) repeat_delay: Delay,

    /// Seed of these random times, for trials that can be repeated
    #[arg(long, value_name = "SEED")]
    pub(crate) repeat_seed: Option<u32>,

    /// Fault injection: lose the first N answers to each socket before they reach the room, at most 100
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = value_parser!(u32).range(..=100))]
    pub(crate) lose_answers: u32,

    /// Time for which a processed offer is remembered
    #[arg(long = "window-ms", value_name = "MS", default_value = "10000", value_parser = millis)]
    pub(crate) window: Duration,

    /// Time for which other offers of a pair are refused after one was processed
    #[arg(long = "cooldown-ms", value_name = "MS", default_value = "2000", value_parser = millis)]
    pub(crate) cooldown: Duration,

    /// Queue up to 8 other offers of a pair for up to 10 s, instead of ignoring them
    #[arg(long)]
    pub(crate) queue: bool,

    /// Replace the offer of a pair in progress by a newer one, without a cooldown: preset room()
    #[arg(long, conflicts_with_all = ["cooldown", "queue"])]
    pub(crate) newest_wins: bool,

    /// Time after which an offer without an answer fails
    #[arg(long = "answer-timeout-ms", value_name = "MS", default_value = "10000", value_parser = millis)]
    pub(crate) answer_timeout: Duration,

    #[command(flatten)]
    pub(crate) sharing: Sharing,
}

impl Settings {
    /// The conditions of a room that nobody has changed.
    pub(crate) fn conditions(&self) -> Conditions {
        Conditions {
            layer: self.dedup,
            repeat: self.repeat,
            delay_ms: self.repeat_delay.clone(),
            lose_answers: false,
        }
    }
}

fn millis(text: &str) -> Result<Duration, String> {
    let millis = text.parse().ok().filter(|millis: &u32| *millis <= HOUR);
    let millis = millis.ok_or_else(|| format!("not a whole number up to {HOUR}"))?;
    Ok(Duration::from_millis(millis.into()))
}
