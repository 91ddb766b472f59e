//! Requests that pass and duplicates that are refused allocate nothing.

use std::{
    alloc::System,
    convert::Infallible,
    future::{Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Method, Request, Response, header::CONTENT_TYPE};
use http_body_util::{Empty, Full};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Layer, Service, service_fn};
use tower_offer_dedup::{
    Fingerprint, Offer, OfferDedupLayer, Reason, Refuse,
    http::{BufferedBody, HttpOffers, PeerFrom},
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Polls a new future once. Returns the number of allocations, including those that made the future.
fn allocations<F: Future>(make: impl FnOnce() -> F) -> (usize, Poll<F::Output>) {
    let region = Region::new(ALLOCATOR);
    let answer = {
        let mut future = pin!(make());
        future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    };
    (region.change().allocations, answer)
}

/// Repeats a call and returns the smallest count. The allocator counts all threads, and the collector's works now and
/// then.
fn fewest<F: Future>(mut make: impl FnMut() -> F) -> (usize, Poll<F::Output>) {
    let calls = std::iter::repeat_with(|| allocations(&mut make)).take(10);
    calls.min_by_key(|(allocations, _)| *allocations).expect("ten calls")
}

/// Must stay the only test of this file, because the allocator counts all threads.
#[test]
fn passed_and_refused_requests_allocate_nothing() {
    let answer = |_: Request<BufferedBody<Empty<Bytes>>>| -> Ready<Result<_, Infallible>> {
        ready(Ok(Response::new(Full::new(Bytes::new()))))
    };
    let offers = HttpOffers::new().peer(PeerFrom::path()).peer(PeerFrom::bearer());
    let mut server = OfferDedupLayer::whip().offers(offers).build().layer(service_fn(answer));
    let passing = [
        (Method::GET, ""),
        (Method::DELETE, ""),
        (Method::PATCH, "application/trickle-ice-sdpfrag"),
        (Method::POST, "text/plain"),
        // Has no token, so it has no peer and passes.
        (Method::POST, "application/sdp"),
    ];
    for (method, media) in passing {
        let request = Request::builder()
            .method(&method)
            .uri("/whip/stage")
            .header(CONTENT_TYPE, media);
        let request = request.body(Empty::new()).unwrap();
        let (allocations, answer) = allocations(|| server.call(request));
        assert!(answer.is_ready());
        // With feature axum, a `POST` that passes is marked in its extensions: map, table and mark.
        let is_marked = cfg!(feature = "axum") && method == Method::POST;
        assert_eq!(allocations, if is_marked { 3 } else { 0 }, "{method} {media}");
    }

    let (release, released) = tokio::sync::watch::channel(false);
    let mut relay = OfferDedupLayer::builder()
        .offers(|text: &&'static str| {
            Some(Offer::new(
                ("lobby", "alice", "bob"),
                Fingerprint::exact(text.as_bytes()),
            ))
        })
        .answer(Refuse::with(|refusal| Some(refusal.reason())))
        .build()
        .layer(service_fn(move |_: &'static str| {
            let mut released = released.clone();
            async move { Ok::<_, Infallible>(released.wait_for(|released| *released).await.map(|_| None).unwrap()) }
        }));
    let mut leader = pin!(relay.call("an offer"));
    let mut context = Context::from_waker(Waker::noop());
    assert!(leader.as_mut().poll(&mut context).is_pending());
    for (text, reason) in [("an offer", Reason::InFlight), ("another", Reason::Busy)] {
        assert_eq!(fewest(|| relay.call(text)), (0, Poll::Ready(Ok(Some(reason)))));
    }
    release.send(true).unwrap();
    assert!(leader.as_mut().poll(&mut context).is_ready());
    for (text, reason) in [("an offer", Reason::Processed), ("another", Reason::CoolingDown)] {
        assert_eq!(fewest(|| relay.call(text)), (0, Poll::Ready(Ok(Some(reason)))));
    }
}
