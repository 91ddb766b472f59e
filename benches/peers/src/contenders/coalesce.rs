//! tower-resilience-coalesce: equal requests that are in flight together run once.
//!
//! It wants answers that can be cloned, and a key that can be had from a request without reading it. A response of axum's
//! is neither, so the layer goes around a service of whole offers, inside a handler that has read one.

use std::convert::Infallible;

use axum::{
    Router,
    body::Bytes,
    extract::{FromRequest, Request, rejection::BytesRejection},
    http::{HeaderValue, StatusCode, header::AUTHORIZATION},
    response::IntoResponse,
    routing::post,
};
use tower::{Layer, ServiceExt, service_fn};
use tower_resilience_coalesce::CoalesceLayer;

use super::{Contender, Kind, Settings};
use crate::endpoint::Endpoint;

pub(super) const CONTENDER: Contender = Contender {
    name: "coalesce",
    label: "tower-resilience-coalesce",
    package: Some("tower-resilience-coalesce"),
    set_up: "`CoalesceLayer::new` by path, bearer token and body, around a service of offers that have been read",
    lacks: "a memory: the same offer later is processed again; a lock for the peer",
    sessions: false,
    bounded: false,
    kind: Kind::App(app),
};

/// An offer that has been read, which is its own key.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Post {
    path: String,
    token: Option<HeaderValue>,
    body: Bytes,
}

fn app(endpoint: Endpoint, _: Settings) -> Router {
    let publish = service_fn(move |post: Post| {
        let endpoint = endpoint.clone();
        async move { Ok::<_, Infallible>(endpoint.publish(post.body).await) }
    });
    // One service for all: its state is made anew by each call of `layer`.
    let once = CoalesceLayer::new(Post::clone).layer(publish);
    let answer = move |offer: Post| async move {
        match once.oneshot(offer).await {
            Ok(answer) => answer.into_response(),
            Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
        }
    };
    Router::new().route("/whip/{stream}", post(answer))
}

impl<S: Send + Sync> FromRequest<S> for Post {
    type Rejection = BytesRejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let path = request.uri().path().to_owned();
        let token = request.headers().get(AUTHORIZATION).cloned();
        let body = Bytes::from_request(request, state).await?;
        Ok(Self { path, token, body })
    }
}
