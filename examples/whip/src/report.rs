//! The server's reports: JSON for the page, and text for Prometheus.

use std::fmt::Write;

use axum::{Json, Router, extract::State, http::header, response::IntoResponse, routing::get};
use serde_json::{Value, json};
use tower_offer_dedup::Stats;

use crate::{
    App,
    progress::{Snapshot, State as SessionState},
    sessions::{Overview, Record},
};

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/stats", get(stats))
        .route("/metrics", get(metrics))
}

async fn stats(State(app): State<App>) -> Json<Value> {
    let Overview {
        created,
        copies,
        media,
        sessions,
        ends,
    } = app.sessions.overview();
    let (whip, whep) = (app.whip.stats(), app.whep.stats());
    Json(json!({
        "dedup": app.settings.dedup,
        "token": app.settings.token.is_some(),
        "created": created,
        "copies": copies,
        "live": sessions.iter().filter(|(_, snapshot)| snapshot.is_live()).count(),
        "packets": media.received.packets,
        "bytes": media.received.bytes,
        "sent_packets": media.sent.packets,
        "sent_bytes": media.sent.bytes,
        "ended": object(ends.map(|(end, count)| (end.as_str(), count))),
        "sessions": sessions.iter().map(|(record, snapshot)| session(record, snapshot)).collect::<Vec<_>>(),
        "offers": object(outcomes(&whip)),
        "held": object(held(&whip)),
        "viewer_offers": object(outcomes(&whep)),
    }))
}

fn session(record: &Record, snapshot: &Snapshot) -> Value {
    let media = snapshot
        .media
        .iter()
        .map(|media| json!({ "codec": media.codec.to_string(), "packets": media.packets, "bytes": media.bytes }));
    json!({
        "number": record.number,
        "stream": record.stream,
        "client": record.client,
        "role": record.role.as_str(),
        "repeats": record.repeats,
        "copy_of": record.copy_of,
        "state": snapshot.state.as_str(),
        "end": match snapshot.state {
            SessionState::Ended(end) => Some(end.as_str()),
            SessionState::Connecting | SessionState::Connected => None,
        },
        "seconds": snapshot.duration().as_secs_f64(),
        "packets": snapshot.packets(),
        "bytes": snapshot.bytes(),
        "media": media.collect::<Vec<_>>(),
    })
}

async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let overview = app.sessions.overview();
    let dedup = app.whip.stats();
    let live = |state: SessionState| {
        let sessions = overview.sessions.iter().filter(|(_, snapshot)| snapshot.state == state);
        (state.as_str(), sessions.count() as u64)
    };
    let mut text = Exposition::default();
    text.single(
        "whip_sessions_created_total",
        "counter",
        "Sessions created.",
        overview.created,
    );
    let states = [live(SessionState::Connecting), live(SessionState::Connected)];
    text.family("whip_sessions", "gauge", "Live sessions.", "state", states);
    let ends = overview.ends.map(|(end, count)| (end.as_str(), count));
    text.family(
        "whip_sessions_ended_total",
        "counter",
        "Ended sessions.",
        "reason",
        ends,
    );
    let received = overview.media.received;
    text.single(
        "whip_received_packets_total",
        "counter",
        "RTP packets received.",
        received.packets,
    );
    text.single(
        "whip_received_bytes_total",
        "counter",
        "Bytes of RTP payload received.",
        received.bytes,
    );
    text.family(
        "offer_dedup_offers_total",
        "counter",
        "Offers by outcome.",
        "outcome",
        outcomes(&dedup),
    );
    for (name, value) in held(&dedup) {
        text.single(
            &format!("offer_dedup_{name}"),
            "gauge",
            "Current holdings of the layer.",
            value,
        );
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text.0)
}

/// Text in Prometheus' exposition format.
#[derive(Default)]
struct Exposition(String);

impl Exposition {
    fn single(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn family<const N: usize>(&mut self, name: &str, kind: &str, help: &str, label: &str, values: [(&str, u64); N]) {
        self.head(name, kind, help);
        for (value, number) in values {
            let _ = writeln!(self.0, "{name}{{{label}=\"{value}\"}} {number}");
        }
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }
}

fn object<const N: usize>(pairs: [(&str, u64); N]) -> Value {
    pairs
        .into_iter()
        .map(|(name, number)| (name.to_owned(), json!(number)))
        .collect()
}

fn outcomes(stats: &Stats) -> [(&'static str, u64); 17] {
    [
        ("passed", stats.passed),
        ("admitted", stats.admitted),
        ("replayed", stats.replayed),
        ("completed", stats.completed),
        ("failed", stats.failed),
        ("abandoned", stats.abandoned),
        ("waits_abandoned", stats.waits_abandoned),
        ("taken_over", stats.taken_over),
        ("forgotten", stats.forgotten),
        ("refused_in_flight", stats.refused_in_flight),
        ("refused_processed", stats.refused_processed),
        ("refused_not_recorded", stats.refused_not_recorded),
        ("refused_busy", stats.refused_busy),
        ("refused_cooling_down", stats.refused_cooling_down),
        ("refused_queue_full", stats.refused_queue_full),
        ("refused_timed_out", stats.refused_timed_out),
        ("refused_otherwise", stats.refused_otherwise),
    ]
}

fn held(stats: &Stats) -> [(&'static str, u64); 4] {
    [
        ("claims", stats.claims),
        ("waiters", stats.waiters),
        ("memories", stats.memories),
        ("bytes", stats.bytes),
    ]
}
