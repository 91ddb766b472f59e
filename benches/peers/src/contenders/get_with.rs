//! A hand-written layer over `moka::future::Cache::try_get_with`, as one would write in an afternoon.

use std::{
    convert::Infallible,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::Request,
    http::{HeaderMap, StatusCode, header::AUTHORIZATION, request::Parts},
    response::{IntoResponse, Response},
};
use moka::future::Cache;
use tower::{Layer, Service};
use xxhash_rust::xxh3::xxh3_128;

use super::{Contender, Kind, Settings};
use crate::endpoint::Endpoint;

pub(super) const CONTENDER: Contender = Contender {
    name: "get-with",
    label: "moka `try_get_with`, by hand",
    package: Some("moka"),
    set_up: "a layer that reads the body, keys by path, bearer token and xxh3-128 of the body, and caches 2xx answers; \
             30 s, weighed to 64 MiB",
    lacks: "a lock per peer: its other offers run in parallel; a way to forget it; an offer read back after gathering \
            counts as another",
    sessions: false,
    bounded: true,
    kind: Kind::App(app),
};

const MAX_BODY: usize = 64 * 1024;

/// Path and token, and the digest of the body.
type Key = (String, u128);

#[derive(Clone)]
struct GetWithLayer(Cache<Key, Recorded>);

#[derive(Clone)]
struct GetWith<S> {
    inner: S,
    answers: Cache<Key, Recorded>,
}

#[derive(Clone)]
struct Recorded {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

fn app(endpoint: Endpoint, settings: Settings) -> Router {
    let answers = Cache::builder()
        .max_capacity(settings.max_memory())
        .weigher(weight)
        .time_to_live(settings.window())
        .build();
    endpoint.app().layer(GetWithLayer(answers))
}

/// Estimated size of an entry: its texts, 64 bytes per field, and 256 bytes for the rest and the cache's overhead.
fn weight(key: &Key, answer: &Recorded) -> u32 {
    let bytes = key.0.len() + answer.body.len() + 64 * answer.headers.len() + 256;
    bytes.try_into().unwrap_or(u32::MAX)
}

impl<S> Layer<S> for GetWithLayer {
    type Service = GetWith<S>;

    fn layer(&self, inner: S) -> GetWith<S> {
        GetWith {
            inner,
            answers: self.0.clone(),
        }
    }
}

impl<S> Service<Request> for GetWith<S>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let answers = self.answers.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let Ok(body) = to_bytes(body, MAX_BODY).await else {
                return Ok(StatusCode::PAYLOAD_TOO_LARGE.into_response());
            };
            let key = key(&parts, &body);
            let process = async move {
                let Ok(response) = inner.call(Request::from_parts(parts, Body::from(body))).await;
                let answer = record(response).await;
                // A failure is not cached, so the next request is processed again.
                if answer.status.is_success() {
                    Ok(answer)
                } else {
                    Err(answer)
                }
            };
            let answer = answers.try_get_with(key, process).await;
            Ok(answer.unwrap_or_else(|failure| (*failure).clone()).into_response())
        })
    }
}

fn key(parts: &Parts, body: &[u8]) -> Key {
    let token = parts
        .headers
        .get(AUTHORIZATION)
        .map_or(&[][..], |token| token.as_bytes());
    let who = [parts.uri.path(), &String::from_utf8_lossy(token)].join("\n");
    (who, xxh3_128(body))
}

async fn record(response: Response) -> Recorded {
    let (parts, body) = response.into_parts();
    match to_bytes(body, MAX_BODY).await {
        Ok(body) => Recorded {
            status: parts.status,
            headers: parts.headers,
            body,
        },
        Err(_) => Recorded {
            status: StatusCode::BAD_GATEWAY,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        },
    }
}

impl IntoResponse for Recorded {
    fn into_response(self) -> Response {
        (self.status, self.headers, self.body).into_response()
    }
}
