//! An offer's way through the layer, in steps that need no runtime. For miri, which cannot run the crate's own tests in
//! reasonable time.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tower_layer::Layer;
use tower_offer_dedup::{Fingerprint, Offer, OfferDedupLayer, Reason, Refuse};
use tower_service::Service;

/// A peer, an offer, and whether it is processed at once.
type Message = (&'static str, &'static str, bool);

/// Answers at once, or never.
#[derive(Clone)]
struct Inner;

impl Service<Message> for Inner {
    type Response = Reason;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Reason, Infallible>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (_, _, is_quick): Message) -> Self::Future {
        if is_quick {
            let answer: Ready<_> = ready(Ok(ANSWERED));
            Box::pin(answer)
        } else {
            Box::pin(std::future::pending())
        }
    }
}

/// A reason that the layer never gives here.
const ANSWERED: Reason = Reason::StoreUnavailable;

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn offer_is_processed_once_then_released() {
    let layer = OfferDedupLayer::builder()
        .offers(|(peer, offer, _): &Message| Some(Offer::new(*peer, Fingerprint::sdp(offer))))
        .answer(Refuse::with(|refusal| refusal.reason()))
        // Longer than the test takes, also under miri.
        .window(Duration::from_secs(3600))
        .cooldown(Duration::from_secs(3600))
        .build();
    let handle = layer.handle();
    let mut service = layer.layer(Inner);
    let mut answer = |message| match poll(pin!(service.call(message))) {
        Poll::Ready(Ok(answer)) => Some(answer),
        Poll::Pending => None,
    };

    assert_eq!(answer(("alice", "1", true)), Some(ANSWERED));
    assert_eq!(answer(("alice", "1", true)), Some(Reason::Processed));
    assert_eq!(answer(("alice", "2", true)), Some(Reason::CoolingDown));
    assert!(handle.forget("alice"));
    assert_eq!(answer(("alice", "1", true)), Some(ANSWERED));

    // The request was dropped without an answer, so Bob may try again.
    assert_eq!(answer(("bob", "1", false)), None);
    assert_eq!(answer(("bob", "1", true)), Some(ANSWERED));

    let mut held = Box::pin(layer.layer(Inner).call(("carol", "1", false)));
    assert!(poll(held.as_mut()).is_pending());
    assert!(handle.is_processing("carol"));
    assert_eq!(answer(("carol", "1", true)), Some(Reason::InFlight));
    assert_eq!(answer(("carol", "2", true)), Some(Reason::Busy));
    drop(held);
    assert_eq!(answer(("carol", "2", true)), Some(ANSWERED));
    handle.clear();
    assert_eq!(answer(("carol", "2", true)), Some(ANSWERED));
    assert_eq!(handle.stats().claims, 0);
}
