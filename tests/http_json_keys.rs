//! The parts of an HTTP request's head and those of its JSON body make one flat key.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower_offer_dedup::{
    JsonOffers, PeerKey,
    extract::{ExtractOffer, Found},
    http::{HttpOffers, PeerFrom},
};

const MESSAGE: &str = r#"{"sdp":"v=0","from":"alice","seat":-7,"data":"{\"to\":\"bob\"}"}"#;

/// The key of the offer in a `POST` of [`MESSAGE`].
fn key(offers: &HttpOffers) -> Option<PeerKey> {
    let request = Request::post("/rooms/lobby?user=carol")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(MESSAGE)))
        .expect("a request");
    let Found::Read(read) = offers.extract(request) else {
        panic!("a body is read first");
    };
    match pin!(read).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Found::Offer(_, offer)) => Some(offer.peer()),
        Poll::Ready(Found::Pass(_)) => None,
        _ => panic!("the whole body is there"),
    }
}

#[test]
fn head_and_body_make_one_key() {
    let json = JsonOffers::new().sdp("/sdp");
    let body = json.clone().peer("/from").peer("/seat").peer("/data/to");
    let head = || {
        HttpOffers::new()
            .peer(PeerFrom::path_segment(1))
            .peer(PeerFrom::query_param("user"))
    };
    for (offers, expected) in [
        (
            head().json(body.clone()),
            PeerKey::from(("lobby", "carol", "alice", -7, "bob")),
        ),
        (head().json(json.clone()), PeerKey::from(("lobby", "carol"))),
        (HttpOffers::new().json(body), PeerKey::from(("alice", -7, "bob"))),
        (
            HttpOffers::new().json(json.clone().for_peer(("tenant", 1)).peer("/from")),
            PeerKey::from(("tenant", 1, "alice")),
        ),
        (
            head().json(json.for_peer(("tenant", 1)).peer("/from")),
            PeerKey::from(("lobby", "carol", "alice")),
        ),
    ] {
        assert_eq!(key(&offers), Some(expected));
    }
}

#[test]
fn key_of_another_source_is_one_part() {
    let user = PeerKey::from(("tenant", "carol"));
    let offers = HttpOffers::new()
        .peer(PeerFrom::from_fn(move |_| Some(user)))
        .json(JsonOffers::new().sdp("/sdp").peer("/from"));
    assert_eq!(key(&offers), Some(PeerKey::from((user, "alice"))));
}

#[test]
fn missing_part_of_the_body_passes() {
    let json = JsonOffers::new().sdp("/sdp").peer("/missing");
    let offers = HttpOffers::new().peer(PeerFrom::path_segment(1)).json(json);
    assert_eq!(key(&offers), None);
}
