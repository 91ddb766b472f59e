//! Each result of an extractor, and the layer's treatment of it.

mod support;

use std::{convert::Infallible, future::Ready};

use support::captured_events::CapturedEvents;
use tokio_test::{assert_ready_ok, task::spawn};
use tower::{Layer, Service};
use tower_offer_dedup::{
    Fingerprint, Offer, OfferDedupLayer, Refuse, Stats,
    answer::Answer,
    extract::{Admission, ExtractOffer, Found, SessionUri},
};

/// A request that carries its admission, and what an extractor is to find in it.
#[derive(Clone, Debug)]
struct Request {
    kind: Kind,
    admission: Option<Admission>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Offer,
    Unchecked,
    Other,
    Ending,
}

fn request(kind: Kind) -> Request {
    Request { kind, admission: None }
}

#[derive(Clone)]
struct ByKind;

impl ExtractOffer<Request> for ByKind {
    type Request = Request;
    type Read = Ready<Found<Request, Infallible>>;

    fn extract(&self, request: Request) -> Found<Request, Self::Read> {
        match request.kind {
            Kind::Offer => Found::Offer(request, Offer::new("p", Fingerprint::exact(b"f"))),
            Kind::Unchecked => Found::Unchecked(request),
            Kind::Other => Found::Other(request),
            Kind::Ending => Found::Ending(request, SessionUri::new(b"/session/7", b"host", b"token")),
        }
    }

    fn carried<'a>(&self, request: &'a Request) -> Option<&'a Admission> {
        request.admission.as_ref()
    }

    fn prepare(&self, request: &mut Request, admission: &Admission) {
        request.admission = Some(admission.clone());
    }
}

/// Answers with whether the request carried an admission.
#[derive(Clone)]
struct Carries;

impl Service<Request> for Carries {
    type Response = Option<bool>;
    type Error = Infallible;
    type Future = Ready<Result<Option<bool>, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        std::future::ready(Ok(Some(request.admission.is_some())))
    }
}

fn layer() -> OfferDedupLayer<ByKind, impl Answer<Option<bool>, Infallible, Response = Option<bool>> + Clone> {
    OfferDedupLayer::builder()
        .offers(ByKind)
        .answer(Refuse::with(|_| None))
        .build()
}

fn call<S>(service: &mut S, kind: Kind) -> Option<bool>
where
    S: Service<Request, Response = Option<bool>, Error = Infallible>,
{
    assert_ready_ok!(spawn(service.call(request(kind))).poll())
}

#[test]
fn unreadable_requests_count_as_unchecked() {
    let layer = layer();
    let (captured, _guard) = CapturedEvents::capture();
    assert_eq!(call(&mut layer.layer(Carries), Kind::Unchecked), Some(false));
    let Stats { passed, unchecked, .. } = layer.handle().stats();
    assert_eq!((passed, unchecked), (0, 1));
    assert!(captured.take()[0].message.contains("passed unchecked"));
}

#[test]
fn other_media_count_as_unchecked_after_an_offer() {
    let layer = layer();
    let (mut with_offers, mut without) = (layer.layer(Carries), layer.layer(Carries));
    let counts = || {
        let stats = layer.handle().stats();
        (stats.passed, stats.unchecked)
    };
    call(&mut with_offers, Kind::Other);
    assert_eq!(counts(), (1, 0));
    assert_eq!(call(&mut with_offers, Kind::Offer), Some(true));
    call(&mut with_offers.clone(), Kind::Other);
    assert_eq!(counts(), (1, 1));
    call(&mut without, Kind::Other);
    assert_eq!(counts(), (2, 1), "another service of the layer");
}

#[test]
fn ending_passes_through() {
    let layer = layer();
    assert_eq!(call(&mut layer.layer(Carries), Kind::Ending), Some(false));
    assert_eq!(layer.handle().stats().passed, 1);
}

#[test]
fn layer_around_its_own_clone_passes_offers_through() {
    let layer = OfferDedupLayer::builder()
        .offers(ByKind)
        .answer(Refuse::with(|_| None))
        .cooldown(std::time::Duration::ZERO)
        .build();
    let mut nested = layer.layer(layer.clone().layer(Carries));
    let (captured, _guard) = CapturedEvents::capture();
    assert_eq!(call(&mut nested, Kind::Offer), Some(true));
    assert_eq!(call(&mut nested, Kind::Offer), None, "a duplicate is refused");
    layer.handle().forget("p");
    assert_eq!(call(&mut nested, Kind::Offer), Some(true));
    let warnings = captured
        .take()
        .into_iter()
        .filter(|entry| entry.message.contains("wraps a clone of itself"));
    assert_eq!(warnings.count(), 1, "it warns once");
    let Stats { admitted, passed, .. } = layer.handle().stats();
    assert_eq!((admitted, passed), (2, 2));
}

#[test]
fn clones_know_each_other_through_other_layers() {
    let (outer, middle) = (layer(), layer());
    let mut nested = outer.layer(middle.layer(middle.layer(outer.layer(Carries))));
    assert_eq!(call(&mut nested, Kind::Offer), Some(true));
    for layer in [outer, middle] {
        let Stats { admitted, passed, .. } = layer.handle().stats();
        assert_eq!((admitted, passed), (1, 1));
    }
}

#[test]
fn layers_with_different_state_nest() {
    let (outer, inner) = (layer(), layer());
    let mut nested = outer.layer(inner.layer(Carries));
    assert_eq!(call(&mut nested, Kind::Offer), Some(true));
    for layer in [outer, inner] {
        assert_eq!(layer.handle().stats().admitted, 1);
    }
}
