use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use tower::{Layer, Service};
use tower_offer_dedup::{Fingerprint, Offer, OfferDedupLayer, Refusal, Refuse};

#[derive(Clone)]
struct NotSend;

impl Service<String> for NotSend {
    type Response = String;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<String, Infallible>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, sdp: String) -> Self::Future {
        Box::pin(async { Ok(sdp) })
    }
}

fn main() {
    let layer = OfferDedupLayer::builder()
        .offers(|sdp: &String| Some(Offer::new("alice", Fingerprint::sdp(sdp))))
        .answer(Refuse::with(Refusal::to_string))
        .finish_abandoned()
        .build();
    let _ = layer.layer(NotSend).oneshot(String::new());
}
