//! axum-idempotent: the answer to a request is kept in the session of its client.
//!
//! WHIP's clients send no `Idempotency-Key`, so the request is hashed: method, path and body, no fields, which is the least
//! work that tells offers apart. Each client has a session, which it got before.

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
    lacks: "a guard for requests at once: all that come before the first answer is stored are processed; a bound in \
            bytes (the store counts sessions); a lock for the peer",
    sessions: true,
    bounded: false,
    kind: Kind::App(app),
};

/// How long a session lives, in seconds: longer than any run.
const SESSION: u32 = 3600;

fn app(endpoint: Endpoint, settings: Settings) -> Router {
    let store = Arc::new(MokaStore::builder().max_capacity(2_000_000).build());
    let cookie = CookieOptions::build().name("session").max_age(SESSION.into()).path("/");
    let window = i64::try_from(settings.window().as_secs()).expect("a window of less than an age");
    let options = IdempotentOptions::new(window).ignore_all_headers();
    endpoint
        .app()
        .layer(IdempotentLayer::<MokaStore>::new(options))
        .route("/session", post(log_in))
        .layer(SessionLayer::new(store).with_cookie_options(cookie))
        .layer(CookieManagerLayer::new())
}

/// A session exists once something is in it.
async fn log_in(session: Session<MokaStore>) -> StatusCode {
    let hour = Ttl::new(SESSION.into()).expect("an hour is in range");
    match session.set("client", &true, hour, None).await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
