use std::convert::Infallible;

use tower::{Layer, service_fn};
use tower_offer_dedup::{Fingerprint, Offer, OfferDedupLayer, Refusal, Replay};

struct Answer(String);

fn refuse(refusal: &Refusal) -> Answer {
    Answer(refusal.to_string())
}

fn main() {
    let layer = OfferDedupLayer::builder()
        .offers(|sdp: &String| Some(Offer::new("alice", Fingerprint::sdp(sdp))))
        .answer(Replay::with(refuse))
        .build();
    let service = layer.layer(service_fn(|sdp: String| async { Ok::<_, Infallible>(Answer(sdp)) }));
    let _ = service.oneshot(String::new());
}
