//! `HttpOffers` on any request, whatever the frames of its body: finds what a simple model finds, passes every byte on,
//! and holds no more than the cap. `input.rs` describes the inputs.

mod body;
mod input;
mod model;

use std::{cell::Cell, pin::pin};

use http::{Request, request::Parts};
use tower_offer_dedup::{Offer, PeerKey, Reason, extract::{ExtractOffer, Found}};

use self::{
    body::{Event, Script, events, poll_to_end},
    input::Input,
    model::Expected,
};

/// `held` returns the number of allocated bytes.
pub fn check(bytes: &[u8], held: impl Fn() -> usize) {
    let Some(input) = Input::read(bytes) else { return };
    let most_held = Cell::new(0);
    let found = extract(&input, held, &most_held);

    // Leaves room for buffers that grow in steps.
    let allowed = 2 * (input.settings.cap.min(bytes.len()) + input.largest_frame()) + 4096;
    assert!(most_held.get() <= allowed, "{} bytes held", most_held.get());

    match (found, model::expected(&input)) {
        (Err(reason), Expected::Refused(expected)) => assert_eq!(reason, expected),
        (Ok(passed), Expected::Pass(events)) => {
            assert!(passed.offer.is_none(), "found an offer that the model does not find");
            assert_eq!(passed.head.extensions.get::<PeerKey>(), None);
            passed.assert_unchanged(&input, &events);
        }
        (Ok(passed), Expected::Offer(fingerprint, peer, events)) => {
            let offer = passed.offer.as_ref().expect("an offer should be found");
            assert_eq!(offer.fingerprint(), fingerprint);
            assert!(peer.is_none_or(|peer| peer == offer.peer()), "the peers differ");
            assert_eq!(passed.head.extensions.get(), Some(&offer.peer()));
            passed.assert_unchanged(&input, &events);
        }
        (Ok(_), Expected::Refused(reason)) => panic!("not refused, expected {reason:?}"),
        (Err(reason), _) => panic!("refused: {reason:?}"),
    }
}

/// The request that the inner service would get.
struct Passed {
    head: Parts,
    events: Vec<Event>,
    offer: Option<Offer>,
}

impl Passed {
    fn assert_unchanged(&self, input: &Input, events: &[Event]) {
        let (head, sent) = (&self.head, input.head());
        assert_eq!((&head.method, &head.uri), (&sent.method, &sent.uri));
        assert_eq!(head.headers, sent.headers);
        assert_eq!(self.events, events);
    }
}

fn extract(input: &Input, held: impl Fn() -> usize, most_held: &Cell<usize>) -> Result<Passed, Reason> {
    let offers = input.settings.offers();
    let head = input.head();
    let is_reading = &Cell::new(true);
    let before = held();
    let body = Script::new(input, || {
        if is_reading.get() {
            most_held.set(most_held.get().max(held().saturating_sub(before)));
        }
    });
    let found = match offers.extract(Request::from_parts(head, body)) {
        Found::Read(reading) => {
            let mut reading = pin!(reading);
            poll_to_end(|cx| reading.as_mut().poll(cx))
        }
        Found::Pass(request) => Found::Pass(request),
        Found::Refused(refusal) => Found::Refused(refusal),
        Found::Offer(..) => panic!("found an offer without reading the body"),
    };
    is_reading.set(false);
    let (request, offer) = match found {
        Found::Offer(request, offer) => (request, Some(offer)),
        Found::Pass(request) => (request, None),
        Found::Refused(refusal) => return Err(refusal.reason()),
        Found::Read(never) => match never {},
    };
    let (head, body) = request.into_parts();
    Ok(Passed {
        head,
        events: events(body),
        offer,
    })
}
