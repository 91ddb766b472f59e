//! tower-offer-dedup, with the settings for WHIP and with the defaults of a room.

use std::time::Duration;

use axum::Router;
use tower_offer_dedup::{
    OfferDedupLayer,
    http::{HttpAnswer, HttpOffers, PeerFrom},
};

use super::{Contender, Kind, Settings};
use crate::endpoint::Endpoint;

pub(super) const WHIP: Contender = Contender {
    name: super::WHIP,
    label: "tower-offer-dedup, `whip()`",
    package: Some("tower-offer-dedup"),
    set_up: "`OfferDedupLayer::whip()`: duplicates get the answer of the first, 30 s, 64 MiB",
    lacks: "–",
    sessions: false,
    bounded: true,
    kind: Kind::App(whip),
};

pub(super) const REFUSING: Contender = Contender {
    name: super::REFUSING,
    label: "tower-offer-dedup, refusing",
    package: Some("tower-offer-dedup"),
    set_up: "the defaults: duplicates are refused with 409, 10 s, cooldown 2 s, 64 MiB",
    lacks: "an answer for the duplicate, by choice",
    sessions: false,
    bounded: true,
    kind: Kind::App(refusing),
};

fn whip(endpoint: Endpoint, settings: Settings) -> Router {
    let mut layer = OfferDedupLayer::whip();
    if let Some(window) = settings.window {
        layer = layer.window(window);
    }
    endpoint.app().layer(layer.max_memory(settings.max_memory()).build())
}

fn refusing(endpoint: Endpoint, settings: Settings) -> Router {
    let offers = HttpOffers::new()
        .peer(PeerFrom::path())
        .peer(PeerFrom::bearer().optional());
    let mut layer = OfferDedupLayer::builder().offers(offers).answer(HttpAnswer::refusing());
    if let Some(window) = settings.window {
        // Without this, a cooling peer would look like one whose offer is remembered.
        layer = layer.window(window).cooldown(Duration::ZERO);
    }
    endpoint.app().layer(layer.max_memory(settings.max_memory()).build())
}
