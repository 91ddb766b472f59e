use std::convert::Infallible;

use tower::{Layer, service_fn};
use tower_offer_dedup::{Fingerprint, Offer, OfferDedupLayer, Refuse};

fn main() {
    let layer = OfferDedupLayer::builder()
        .offers(|sdp: &String| Some(Offer::new("alice", Fingerprint::sdp(sdp))))
        .answer(Refuse::with(|refusal| refusal.to_string()))
        .finish_abandoned()
        .build();
    let service = layer.layer(service_fn(|sdp: String| async {
        let local = std::rc::Rc::new(sdp);
        std::future::ready(()).await;
        Ok::<_, Infallible>(local.to_string())
    }));
    let _ = service.oneshot(String::new());
}
