//! Offers in HTTP requests: WHIP, WHEP and JSON `POST`s, on axum, hyper, or any server of `http` types.
//!
//! # Examples
//!
//! A WHIP endpoint on axum. With one more line, publishers that repeat their `POST` get the answer of the first.
//!
//! ```
//! use axum::{Router, http::StatusCode, routing::post};
//! use tower_offer_dedup::OfferDedupLayer;
//!
//! async fn publish(offer: String) -> (StatusCode, String) {
//!     (StatusCode::CREATED, format!("an answer to {} bytes", offer.len()))
//! }
//!
//! let app: Router = Router::new()
//!     .route("/whip/{stream}", post(publish))
//!     .layer(OfferDedupLayer::whip().build());
//! # let _ = app;
//! ```

mod answer;
#[cfg(feature = "axum")]
mod axum;
mod body;
mod offers;
mod peer;
mod read;
mod rules;
mod slow;
mod target;

use std::time::Duration;

#[cfg(feature = "axum")]
pub use self::axum::OfferSessionRejection;
pub use self::{
    answer::{HttpAnswer, Recorded, SettleAnswer},
    body::BufferedBody,
    offers::HttpOffers,
    peer::PeerFrom,
    read::ReadOffer,
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
