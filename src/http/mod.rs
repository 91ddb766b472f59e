//! Offers in HTTP requests: WHIP, WHEP and JSON `POST`s, on axum, hyper, or any server of `http` types.
//!
//! # Examples
//!
//! A WHIP endpoint on axum. With one more line, publishers that repeat their `POST` get the answer of the first, and a
//! `DELETE` ends what the `POST` began.
//!
//! ```
//! use axum::{
//!     Router,
//!     body::Body,
//!     http::{Request, StatusCode, header::LOCATION},
//!     response::IntoResponse,
//!     routing::{delete, post},
//! };
//! use tower::ServiceExt;
//! use tower_offer_dedup::OfferDedupLayer;
//!
//! async fn publish(offer: String) -> impl IntoResponse {
//!     let answer = format!("an answer to {} bytes", offer.len());
//!     (StatusCode::CREATED, [(LOCATION, "/session/7")], answer)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let app: Router = Router::new()
//!     .route("/whip/{stream}", post(publish))
//!     .route("/session/{id}", delete(StatusCode::NO_CONTENT))
//!     .layer(OfferDedupLayer::whip().build());
//!
//! let offer = || {
//!     Request::post("/whip/stage")
//!         .header("content-type", "application/sdp")
//!         .body(Body::from("v=0"))
//!         .unwrap()
//! };
//! let first = app.clone().oneshot(offer()).await.unwrap();
//! let second = app.clone().oneshot(offer()).await.unwrap();
//! assert!(!first.headers().contains_key("offer-replayed"));
//! assert_eq!(second.headers()["offer-replayed"], "true");
//!
//! let end = Request::delete("/session/7").body(Body::empty()).unwrap();
//! assert_eq!(app.clone().oneshot(end).await.unwrap().status(), 204);
//! let third = app.oneshot(offer()).await.unwrap();
//! assert!(!third.headers().contains_key("offer-replayed"));
//! # }
//! ```

mod answer;
#[cfg(feature = "axum")]
mod axum;
mod body;
mod location;
mod offers;
mod origin;
mod peer;
mod read;
mod recorded;
mod rules;
mod settle;
mod slow;
mod target;

use std::time::Duration;

#[cfg(feature = "axum")]
pub use self::axum::OfferSessionRejection;
pub use self::{
    answer::{HttpAnswer, Refusing, Replaying},
    body::BufferedBody,
    offers::HttpOffers,
    peer::PeerFrom,
    read::ReadOffer,
    recorded::Recorded,
    settle::SettleAnswer,
};
use crate::{OfferDedupBuilder, OfferDedupLayer, WhenBusy, builder::Detached};

impl OfferDedupLayer<(), ()> {
    /// Starts from the settings that HTTP ingest (RFC 9725) needs.
    ///
    /// - The peer is the target URI and the credentials, see [`HttpOffers`](HttpOffers#the-peer).
    /// - Duplicates get the answer of the first offer, for 30 s. WHIP clients give up on 409 and 503 and ignore
    ///   `Retry-After`, so only the answer helps them.
    /// - Up to 8 other offers of the peer wait for their turn, at most 10 s, without a cooldown.
    /// - Processing goes on when the client is gone, so that its retry gets the answer.
    /// - A `DELETE` of the `Location` in an answer ends the session, so that the same offer makes a new one. See
    ///   [`OfferSession`](crate::OfferSession) for servers that end sessions themselves.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::{Router, http::StatusCode, routing::post};
    /// use tower_offer_dedup::OfferDedupLayer;
    ///
    /// async fn publish(offer: String) -> (StatusCode, String) {
    ///     (StatusCode::CREATED, format!("answer to {} bytes", offer.len()))
    /// }
    ///
    /// let app: Router = Router::new()
    ///     .route("/whip/{stream}", post(publish))
    ///     .layer(OfferDedupLayer::whip().build());
    /// # let _ = app;
    /// ```
    pub fn whip() -> OfferDedupBuilder<HttpOffers, HttpAnswer, Detached> {
        Self::builder()
            .offers(HttpOffers::new())
            .answer(HttpAnswer::replaying())
            .window(Duration::from_secs(30))
            .cooldown(Duration::ZERO)
            .when_busy(WhenBusy::Queue {
                depth: 8,
                timeout: Duration::from_secs(10),
            })
            .finish_abandoned()
    }

    /// Starts as [`whip`](Self::whip) does, with the offer itself in the peer: viewers without a token share a URI and
    /// must not wait for each other.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::{Router, http::StatusCode, routing::post};
    /// use tower_offer_dedup::OfferDedupLayer;
    ///
    /// async fn watch(offer: String) -> (StatusCode, String) {
    ///     (StatusCode::CREATED, format!("answer to {} bytes", offer.len()))
    /// }
    ///
    /// let app: Router = Router::new()
    ///     .route("/whep/{stream}", post(watch))
    ///     .layer(OfferDedupLayer::whep().build());
    /// # let _ = app;
    /// ```
    pub fn whep() -> OfferDedupBuilder<HttpOffers, HttpAnswer, Detached> {
        Self::whip().offers(HttpOffers::new().key_by_offer())
    }
}
