//! The WHIP endpoint behind every contender. It takes a set time per offer and counts its calls.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};

/// A small answer, so that figures show the contender and not the answer.
const ANSWER: &str =
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-lite\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n";

/// Counts the offers that reach it, and answers each after `takes`.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    calls: Arc<AtomicU64>,
    takes: Duration,
}

/// The answer to one offer. Each one opens its own session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    session: u64,
}

impl Endpoint {
    pub(crate) fn new(takes: Duration) -> Self {
        Self {
            calls: Arc::default(),
            takes,
        }
    }

    /// The number of offers that reached the endpoint.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Relaxed)
    }

    /// A real server would make its peer connection here.
    pub(crate) async fn publish(&self, offer: Bytes) -> Answer {
        let session = self.calls.fetch_add(1, Relaxed);
        assert!(offer.starts_with(b"v=0"), "an offer arrived damaged");
        if !self.takes.is_zero() {
            tokio::time::sleep(self.takes).await;
        }
        Answer { session }
    }

    /// The endpoint as an app without a layer.
    pub(crate) fn app(self) -> Router {
        Router::new().route("/whip/{stream}", post(publish)).with_state(self)
    }

    /// The route of the count, without any layer around it.
    pub(crate) fn counter(self) -> Router {
        let calls = |State(endpoint): State<Self>| async move { endpoint.calls().to_string() };
        Router::new().route("/calls", get(calls)).with_state(self)
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let location = format!("/whip/session/{}", self.session);
        let fields = [
            (header::LOCATION, location.as_str()),
            (header::CONTENT_TYPE, "application/sdp"),
        ];
        (StatusCode::CREATED, fields, ANSWER).into_response()
    }
}

async fn publish(State(endpoint): State<Endpoint>, offer: Bytes) -> Answer {
    endpoint.publish(offer).await
}
