//! axum-idempotent: keeps the answer to a request in its client's session.
//!
//! WHIP clients send no `Idempotency-Key`, so the request is hashed: method, path and body without fields, which is the
//! least work that distinguishes offers. Each client gets its session in advance.

use std::sync::Arc;

use axum::{Router, http::StatusCode, routing::post};
use axum_idempotent::{IdempotentLayer, IdempotentOptions};
use ruts::{
    CookieOptions, Session, SessionLayer,
    store::{Ttl, moka::MokaStore},
};
use tower_cookies::CookieManagerLayer;

use super::{Contender, Kind, Settings};
use crate::endpoint::Endpoint;

pub(super) const CONTENDER: Contender = Contender {
    name: "idempotent",
    label: "axum-idempotent",
    package: Some("axum-idempotent"),
    set_up: "hashing mode without fields, 30 s, `MokaStore` with room for two million sessions; each client has a \
             session before it is measured",
    lacks: "a guard for concurrent requests: all that come before the first answer is stored are processed; a limit in \
            bytes (the store counts sessions); a lock per peer",
    sessions: true,
    bounded: false,
    kind: Kind::App(app),
};

/// Lifetime of a session in seconds. Longer than any run.
const SESSION: u32 = 3600;

fn app(endpoint: Endpoint, settings: Settings) -> Router {
    let store = Arc::new(MokaStore::builder().max_capacity(2_000_000).build());
    let cookie = CookieOptions::build().name("session").max_age(SESSION.into()).path("/");
    let window = i64::try_from(settings.window().as_secs()).expect("the window should fit");
    let options = IdempotentOptions::new(window).ignore_all_headers();
    endpoint
        .app()
        .layer(IdempotentLayer::<MokaStore>::new(options))
        .route("/session", post(log_in))
        .layer(SessionLayer::new(store).with_cookie_options(cookie))
        .layer(CookieManagerLayer::new())
}

/// A session exists only once it holds something.
async fn log_in(session: Session<MokaStore>) -> StatusCode {
    let hour = Ttl::new(SESSION.into()).expect("an hour should be in range");
    match session.set("client", &true, hour, None).await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
