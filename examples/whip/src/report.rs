//! The server's reports: a page, JSON for the page, and metrics for Prometheus.

use axum::{
    Json, Router,
    extract::State,
    http::header,
    response::{Html, IntoResponse},
    routing::get,
};
use serde_json::{Value, json};

use crate::{
    App, exporter,
    progress::{Snapshot, State as SessionState},
    sessions::{Overview, Record},
};

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/", get(page))
        .route("/stats", get(stats))
        .route("/metrics", get(exporter::metrics))
}

async fn page() -> impl IntoResponse {
    // Publishers choose the stream names, so the page must not load or run anything but its own text.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                  img-src data:; frame-ancestors 'none'";
    let headers = [
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, policy),
    ];
    (headers, Html(include_str!("page.html")))
}

async fn stats(State(app): State<App>) -> Json<Value> {
    let Overview {
        created,
        received,
        sessions,
        ends,
    } = app.sessions.overview();
    let dedup = app.dedup.stats();
    Json(json!({
        "dedup": app.settings.dedup,
        "token": app.settings.token.is_some(),
        "created": created,
        "live": sessions.iter().filter(|(_, snapshot)| snapshot.is_live()).count(),
        "packets": received.packets,
        "bytes": received.bytes,
        "ended": ends.into_iter().map(|(end, count)| (end.as_str(), count)).collect::<Value>(),
        "sessions": sessions.iter().map(|(record, snapshot)| session(record, snapshot)).collect::<Vec<_>>(),
        "offers": dedup.counters().collect::<Value>(),
        "held": dedup.gauges().collect::<Value>(),
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
