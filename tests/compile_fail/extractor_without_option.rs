use std::convert::Infallible;

use tower::{Layer, service_fn};
use tower_offer_dedup::{Fingerprint, Offer, OfferDedupLayer, Refuse};

fn main() {
    let layer = OfferDedupLayer::builder()
        .offers(|sdp: &String| Offer::new("alice", Fingerprint::sdp(sdp)))
        .answer(Refuse::with(|refusal| refusal.to_string()))
        .build();
    let service = layer.layer(service_fn(|sdp: String| async { Ok::<_, Infallible>(sdp) }));
    let _ = service.oneshot(String::new());
}
