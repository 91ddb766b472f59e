//! A stand-in for what a user would write: a middleware that keeps answers in a moka cache. It knows no sessions,
//! queues, limits on waiting, failures of a body, or clients that are gone.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use moka::future::Cache;
use tower_offer_dedup::{Fingerprint, http::HttpOffers};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

const MAX_BODY: usize = 64 * 1024;

/// The identity of an offer: its peer, and itself.
type Key = [u128; 2];

/// Returns the key of an offer by the head and the body of its request.
type KeyOf = dyn Fn(&Parts, &[u8]) -> Key + Send + Sync;

/// The state of the middleware.
#[derive(Clone)]
pub(crate) struct HandWritten {
    answers: Cache<Key, Kept>,
    key: Arc<KeyOf>,
}

#[derive(Clone)]
struct Kept {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl HandWritten {
    /// Takes the peers and fingerprints that the layer takes.
    pub(crate) fn new() -> Self {
        let offers = HttpOffers::new();
        Self::with(move |head, offer| {
            let peer = offers.peer_of(head).expect("every request has a target");
            let text = std::str::from_utf8(offer).expect("the offer should be SDP");
            [peer.to_bytes(), Fingerprint::sdp(text).to_bytes()].map(u128::from_ne_bytes)
        })
    }

    /// Hashes target, host, credentials and body as they are.
    pub(crate) fn of_bytes() -> Self {
        Self::with(|head, offer| {
            let mut peer = Xxh3::new();
            peer.update(head.uri.path().as_bytes());
            for name in [header::HOST, header::AUTHORIZATION] {
                peer.update(head.headers.get(name).map_or(b"", |value| value.as_bytes()));
            }
            [peer.digest128(), xxh3_128(offer)]
        })
    }

    fn with(key: impl Fn(&Parts, &[u8]) -> Key + Send + Sync + 'static) -> Self {
        let answers = Cache::builder()
            .max_capacity(1_000_000)
            .time_to_live(Duration::from_secs(30))
            .build();
        Self {
            answers,
            key: Arc::new(key),
        }
    }
}

pub(crate) async fn answer_once(State(state): State<HandWritten>, request: Request, next: Next) -> Response {
    let media = request.headers().get(header::CONTENT_TYPE);
    if request.method() != Method::POST || media.is_none_or(|media| media != "application/sdp") {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    let Ok(offer) = to_bytes(body, MAX_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let key = (state.key)(&head, &offer);
    let process = async {
        let answer = next.run(Request::from_parts(head, Body::from(offer))).await;
        Kept::read(answer).await
    };
    match state.answers.try_get_with(key, process).await {
        Ok(kept) => kept.into_response(),
        Err(failure) => Arc::unwrap_or_clone(failure).into_response(),
    }
}

impl Kept {
    /// Reads an answer. A failure is not to be kept.
    async fn read(answer: Response) -> Result<Self, Self> {
        let (head, body) = answer.into_parts();
        let kept = Self {
            status: head.status,
            headers: head.headers,
            body: to_bytes(body, MAX_BODY).await.expect("the answer should be readable"),
        };
        if kept.status.is_success() { Ok(kept) } else { Err(kept) }
    }
}

impl IntoResponse for Kept {
    fn into_response(self) -> Response {
        (self.status, self.headers, Body::from(self.body)).into_response()
    }
}
