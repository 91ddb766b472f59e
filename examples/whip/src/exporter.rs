//! `/metrics` for Prometheus: what the layers measure, and the sessions.

use std::time::Duration;

use axum::{extract::State, http::header, response::IntoResponse};
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::interval;
use tower_offer_dedup::SECONDS_BUCKETS;

use crate::{App, progress::State as SessionState, sessions::Overview};

/// Installs the recorder. It comes before the layers are built.
pub(crate) fn install() -> Result<PrometheusHandle, BuildError> {
    let exporter = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Prefix("offer_dedup_".to_owned()), &SECONDS_BUCKETS)?
        .install_recorder()?;
    describe_counter!("whip_sessions_created_total", Unit::Count, "Sessions created.");
    describe_counter!("whip_sessions_ended_total", Unit::Count, "Ended sessions, by reason.");
    describe_counter!("whip_received_packets_total", Unit::Count, "RTP packets received.");
    describe_counter!(
        "whip_received_bytes_total",
        Unit::Bytes,
        "Bytes of RTP payload received."
    );
    describe_counter!("whip_sent_packets_total", Unit::Count, "RTP packets sent to viewers.");
    describe_counter!(
        "whip_sent_bytes_total",
        Unit::Bytes,
        "Bytes of RTP payload sent to viewers."
    );
    describe_gauge!("whip_sessions", Unit::Count, "Live sessions, by state.");
    Ok(exporter)
}

/// Sorts recorded times into their buckets, so that they take no room while nobody scrapes.
pub(crate) async fn keep_up(exporter: PrometheusHandle) {
    let mut tick = interval(Duration::from_secs(5));
    loop {
        tick.tick().await;
        exporter.run_upkeep();
    }
}

pub(crate) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    measure(&app.sessions.overview());
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
        app.exporter.render(),
    )
}

/// Sets the metrics of the sessions, which count themselves.
fn measure(overview: &Overview) {
    counter!("whip_sessions_created_total").absolute(overview.created);
    counter!("whip_received_packets_total").absolute(overview.media.received.packets);
    counter!("whip_received_bytes_total").absolute(overview.media.received.bytes);
    counter!("whip_sent_packets_total").absolute(overview.media.sent.packets);
    counter!("whip_sent_bytes_total").absolute(overview.media.sent.bytes);
    for (end, count) in overview.ends {
        counter!("whip_sessions_ended_total", "reason" => end.as_str()).absolute(count);
    }
    for state in [SessionState::Connecting, SessionState::Connected] {
        let sessions = overview.sessions.iter().filter(|(_, snapshot)| snapshot.state == state);
        gauge!("whip_sessions", "state" => state.as_str()).set(sessions.count() as f64);
    }
}
