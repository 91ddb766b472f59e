//! The server's report for the page.

use axum::{Json, Router, extract::State, routing::get};
use serde_json::{Value, json};

use crate::{
    App, exporter,
    progress::{Snapshot, State as SessionState},
    sessions::{Overview, Record},
};

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/stats", get(stats))
        .route("/metrics", get(exporter::metrics))
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
        "ended": ends.into_iter().map(|(end, count)| (end.as_str(), count)).collect::<Value>(),
        "sessions": sessions.iter().map(|(record, snapshot)| session(record, snapshot)).collect::<Vec<_>>(),
        "offers": whip.counters().collect::<Value>(),
        "held": whip.gauges().collect::<Value>(),
        "viewer_offers": whep.counters().collect::<Value>(),
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
