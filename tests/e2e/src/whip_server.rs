//! Starts the WHIP endpoint as the process that a user would start.

use std::{
    process::{Child, Command},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::time::sleep;

use crate::{http::Message, program};

/// Long enough for a slow machine. Conditions are polled, so a fast machine does not wait that long.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// An offer made by FFmpeg.
pub const OFFER: &str = include_str!("../tests/whip/offer.sdp");

/// A running endpoint. Stopped on drop.
#[derive(Debug)]
pub struct WhipServer {
    /// The endpoint's process.
    pub child: Child,
    /// Host and port.
    pub address: String,
}

impl WhipServer {
    /// Starts the endpoint on any free port, and waits until it listens.
    pub fn start(flags: &[&str]) -> Self {
        let (child, address) = program::start(Self::command(), "WHIP endpoint", "127.0.0.1:0", flags);
        Self { child, address }
    }

    /// The endpoint's binary.
    pub fn command() -> Command {
        program::command("whip")
    }

    /// Sends a request, and returns the response.
    pub async fn request(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Message {
        let request = Message::request(method, path, fields, body);
        request
            .exchange(&self.address)
            .await
            .expect("the endpoint should answer")
    }

    /// Sends an offer.
    pub async fn publish(&self, path: &str, offer: &str) -> Message {
        self.request("POST", path, &[("Content-Type", "application/sdp")], offer)
            .await
    }

    /// Returns what the endpoint's status page shows.
    pub async fn stats(&self) -> Value {
        let stats = self.request("GET", "/stats", &[], "").await;
        serde_json::from_slice(&stats.body).expect("the stats should be JSON")
    }

    /// Waits until `holds` is true for the stats, and returns them.
    pub async fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let stats = self.stats().await;
            if holds(&stats) {
                return stats;
            }
            assert!(start.elapsed() < TIMEOUT, "timed out waiting for {what}: {stats:#}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until a connected session has received at least this many packets of each codec.
    pub async fn receives(&self, codecs: &[(&str, u64)]) -> Value {
        self.until(&format!("media {codecs:?}"), |stats| has_received(stats, codecs))
            .await
    }
}

impl Drop for WhipServer {
    fn drop(&mut self) {
        program::stop(&mut self.child);
    }
}

/// Returns the number of packets of a codec that a session has received.
pub fn packets(session: &Value, codec: &str) -> u64 {
    let media = session["media"].as_array().expect("the media should be a list");
    media
        .iter()
        .filter(|media| media["codec"] == codec)
        .filter_map(|media| media["packets"].as_u64())
        .sum()
}

fn has_received(stats: &Value, codecs: &[(&str, u64)]) -> bool {
    let sessions = stats["sessions"].as_array().expect("the sessions should be a list");
    sessions.iter().any(|session| {
        session["state"] == "connected" && codecs.iter().all(|(codec, least)| packets(session, codec) >= *least)
    })
}
