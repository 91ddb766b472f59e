use std::{
    convert::Infallible,
    future::Ready,
    task::{Context, Poll},
};

use tower::{Layer, Service};
use tower_offer_dedup::{Fingerprint, Offer, OfferDedupLayer, Refusal, Refuse};

struct NotClone;

impl Service<String> for NotClone {
    type Response = String;
    type Error = Infallible;
    type Future = Ready<Result<String, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, sdp: String) -> Self::Future {
        std::future::ready(Ok(sdp))
    }
}

fn main() {
    let layer = OfferDedupLayer::builder()
        .offers(|sdp: &String| Some(Offer::new("alice", Fingerprint::sdp(sdp))))
        .answer(Refuse::with(Refusal::to_string))
        .build();
    let _ = layer.layer(NotClone).oneshot(String::new());
}
