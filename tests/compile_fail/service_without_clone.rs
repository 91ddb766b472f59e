use std::convert::Infallible;

use tower::{Layer, service_fn};
use tower_offer_dedup::{Fingerprint, Offer, OfferDedupLayer, Refuse};

fn main() {
    struct NotClone;
    let state = NotClone;

    let layer = OfferDedupLayer::builder()
        .offers(|sdp: &String| Some(Offer::new("alice", Fingerprint::sdp(sdp))))
        .answer(Refuse::with(|refusal| refusal.to_string()))
        .build();
    let service = layer.layer(service_fn(move |sdp: String| {
        let _ = &state;
        async { Ok::<_, Infallible>(sdp) }
    }));
    let _ = service.oneshot(String::new());
}
