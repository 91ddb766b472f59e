//! Checks `HttpOffers` on any request, whatever frames its body comes in. It finds what a simple model finds, passes
//! every byte on, and holds no more than the cap. `input.rs` has the format of an input.

mod body;
mod input;
mod model;

use std::{cell::Cell, pin::pin, sync::LazyLock};

use http::{Request, request::Parts};
use tokio::runtime::{Builder, Runtime};
use tower_offer_dedup::{
    Offer, PeerKey, Reason,
    extract::{ExtractOffer, Found},
};

use self::{
    body::{Event, Script, events, poll_to_end},
    input::Input,
    model::{Expected, Kind},
};

/// For the timer of a body that is waited for. Nothing drives it, so it never fires.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime"));

/// Panics on a finding. `held` returns how many bytes are allocated.
pub fn check(bytes: &[u8], held: impl Fn() -> usize) {
    let Some(input) = Input::read(bytes) else { return };
    let most_held = Cell::new(0);
    let found = extract(&input, held, &most_held);

    // A buffer that grows step by step has spare capacity.
    let allowed = 2 * (input.settings.cap.min(bytes.len()) + input.largest_frame()) + 4096;
    assert!(most_held.get() <= allowed, "{} bytes held", most_held.get());

    match (found, model::expected(&input)) {
        (Err(reason), Expected::Refused(expected)) => assert_eq!(reason, expected),
        (Ok(passed), Expected::Pass(kind, events)) => {
            assert!(passed.offer.is_none(), "an offer where there is none");
            assert_eq!(passed.kind, kind);
            assert_eq!(passed.head.extensions.get::<PeerKey>(), None);
            passed.is_what_came_in(&input, &events);
        }
        (Ok(passed), Expected::Offer(fingerprint, peer, events)) => {
            let offer = passed.offer.as_ref().expect("an offer");
            assert_eq!(offer.fingerprint(), fingerprint);
            assert!(peer.is_none_or(|peer| peer == offer.peer()), "another peer");
            assert_eq!(passed.head.extensions.get(), Some(&offer.peer()));
            passed.is_what_came_in(&input, &events);
        }
        (Ok(_), Expected::Refused(reason)) => panic!("not refused, though {reason:?}"),
        (Err(reason), _) => panic!("refused: {reason:?}"),
    }
}

/// The request as the inner service gets it.
struct Passed {
    head: Parts,
    events: Vec<Event>,
    kind: Kind,
    offer: Option<Offer>,
}

impl Passed {
    fn is_what_came_in(&self, input: &Input, events: &[Event]) {
        let (head, sent) = (&self.head, input.head());
        assert_eq!((&head.method, &head.uri), (&sent.method, &sent.uri));
        assert_eq!(head.headers, sent.headers);
        assert_eq!(self.events, events);
    }
}

fn extract(input: &Input, held: impl Fn() -> usize, most_held: &Cell<usize>) -> Result<Passed, Reason> {
    let _entered = RUNTIME.enter();
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
            taken(poll_to_end(|cx| reading.as_mut().poll(cx)))
        }
        Found::Offer(..) => panic!("an offer without a look at its body"),
        found => taken(found),
    };
    is_reading.set(false);
    let (request, kind, offer) = found?;
    let (head, body) = request.into_parts();
    Ok(Passed {
        head,
        events: events(body),
        kind,
        offer,
    })
}

/// Takes the request from what was found.
fn taken<R, F>(found: Found<R, F>) -> Result<(R, Kind, Option<Offer>), Reason> {
    Ok(match found {
        Found::Offer(request, offer) => (request, Kind::Offer, Some(offer)),
        Found::Pass(request) => (request, Kind::Pass, None),
        Found::Unchecked(request) => (request, Kind::Unchecked, None),
        Found::Other(request) => (request, Kind::Other, None),
        Found::Ending(request, _) => (request, Kind::Ending, None),
        Found::Refused(refusal) => return Err(refusal.reason()),
        _ => panic!("a request that is not read"),
    })
}
