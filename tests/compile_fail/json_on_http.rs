use std::convert::Infallible;

use tower::{Layer, service_fn};
use tower_offer_dedup::{JsonOffers, OfferDedupLayer, http::HttpAnswer};

fn main() {
    let layer = OfferDedupLayer::builder()
        .offers(JsonOffers::new().sdp("/sdp").peer("/from"))
        .answer(HttpAnswer::refusing())
        .build();
    let service = layer.layer(service_fn(|_: http::Request<String>| async {
        Ok::<_, Infallible>(http::Response::new(String::new()))
    }));
    let _ = service.oneshot(http::Request::new(String::new()));
}
