use std::convert::Infallible;

use tower::{Layer, service_fn};
use tower_offer_dedup::{OfferDedupLayer, Refuse};

fn main() {
    let layer = OfferDedupLayer::builder()
        .answer(Refuse::with(|refusal| refusal.to_string()))
        .build();
    let service = layer.layer(service_fn(|sdp: String| async { Ok::<_, Infallible>(sdp) }));
    let _ = service.oneshot(String::new());
}
