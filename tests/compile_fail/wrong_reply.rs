use std::convert::Infallible;

use tower::{Layer, service_fn};
use tower_offer_dedup::{Fingerprint, Offer, OfferDedupLayer, Refusal, Refuse};

fn refuse(_: &Refusal) -> u16 {
    409
}

fn main() {
    let layer = OfferDedupLayer::builder()
        .offers(|sdp: &String| Some(Offer::new("alice", Fingerprint::sdp(sdp))))
        .answer(Refuse::with(refuse))
        .build();
    let service = layer.layer(service_fn(|sdp: String| async { Ok::<_, Infallible>(sdp) }));
    let _ = service.oneshot(String::new());
}
