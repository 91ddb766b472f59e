//! Offers in HTTP requests: WHIP, WHEP and JSON `POST`s, on axum, hyper, or any server of `http` types.
//!
//! # Examples
//!
//! A WHIP endpoint on axum: one more line, and publishers that repeat their `POST` get the very answer of the first.
//!
//! ```
//! use axum::{Router, http::StatusCode, routing::post};
//! use tower_offer_dedup::OfferDedupLayer;
//!
//! async fn publish(offer: String) -> (StatusCode, String) {
//!     (StatusCode::CREATED, format!("an answer to {} bytes", offer.len()))
//! }
//!
//! let app: Router = Router::new().route("/whip/{stream}", post(publish)).layer(OfferDedupLayer::whip().build());
//! # let _ = app;
//! ```

mod answer;
mod body;
mod offers;
mod peer;
#[allow(dead_code, reason = "the offers use it in the next step")]
mod target;

use std::time::Duration;

pub use self::{
    answer::{HttpAnswer, Recorded, SettleAnswer},
    body::BufferedBody,
    offers::{HttpOffers, ReadOffer},
    peer::PeerFrom,
};
use crate::{OfferDedupBuilder, OfferDedupLayer, WhenBusy, builder::Detached};

impl OfferDedupLayer<(), ()> {
    /// Starts from what HTTP ingest (RFC 9725) needs: path and bearer token are the peer; duplicates get the answer of the
    /// first, for 30 s; up to 8 other offers of the peer wait for their turn, 10 s at most, without a cooldown; and what
    /// its client abandons is finished, so that its retry gets the answer.
    ///
    /// Forget a session's peer when it ends, or its offer gets the old answer for as long as it is remembered: its
    /// [`PeerKey`](crate::PeerKey) is in the extensions of the `POST`.
    ///
    /// WHIP's clients give up on 409 and 503 and ignore `Retry-After`: only the answer gets them through.
    pub fn whip() -> OfferDedupBuilder<HttpOffers, HttpAnswer, Detached> {
        let offers = HttpOffers::new()
            .peer(PeerFrom::path())
            .peer(PeerFrom::bearer().optional());
        Self::builder()
            .offers(offers)
            .answer(HttpAnswer::replaying())
            .window(Duration::from_secs(30))
            .cooldown(Duration::ZERO)
            .when_busy(WhenBusy::Queue {
                depth: 8,
                timeout: Duration::from_secs(10),
            })
            .finish_abandoned()
    }

    /// Starts as [`whip`](Self::whip) does, with the offer itself as part of the peer: viewers without a token share a path,
    /// and must not wait for each other.
    pub fn whep() -> OfferDedupBuilder<HttpOffers, HttpAnswer, Detached> {
        let offers = HttpOffers::new()
            .peer(PeerFrom::path())
            .peer(PeerFrom::bearer().optional());
        Self::whip().offers(offers.offer_in_peer())
    }
}
