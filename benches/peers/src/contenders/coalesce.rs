//! tower-resilience-coalesce: equal requests in flight share one run.
//!
//! It needs answers that are `Clone`, and a key that can be taken from a request without reading its body. axum's
//! requests and responses have neither, so the layer wraps a service of whole offers, inside a handler that has read
//! the body.

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
    lacks: "a memory: a later duplicate is processed again; a lock per peer",
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
    // All requests share one service, because each call of `layer` creates new state.
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
