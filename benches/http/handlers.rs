//! Handlers of an offer: no work, a recorded answer, or a real peer connection. Also the floor of all such layers.

use std::time::Instant;

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderName, StatusCode, header},
    middleware::Next,
    response::Response,
};
use moka::sync::Cache;
use str0m::{Candidate, Rtc, change::SdpOffer};
use tower_offer_dedup::{Fingerprint, PeerKey};

const ANSWER: &str = include_str!("../../tests/data/corpus/offers/aiortc-dc-first.sdp");

/// The floor's memory of offers.
pub(crate) type Remembered = Cache<PeerKey, Fingerprint>;

type Answered<T> = (StatusCode, [(HeaderName, &'static str); 3], T);

pub(crate) async fn accept(offer: String) -> StatusCode {
    assert!(offer.starts_with("v=0"));
    StatusCode::CREATED
}

pub(crate) async fn publish(offer: String) -> Answered<&'static str> {
    assert!(offer.starts_with("v=0"));
    created(ANSWER)
}

/// Makes a peer connection, as the WHIP example does, and drops it.
pub(crate) async fn negotiate(offer: String) -> Answered<String> {
    let offer = SdpOffer::from_sdp_string(&offer).expect("the offer should be SDP");
    let mut rtc = Rtc::builder().set_ice_lite(true).build(Instant::now());
    let address = ([127, 0, 0, 1], 40_000).into();
    rtc.add_local_candidate(Candidate::host(address, "udp").expect("the candidate should be valid"));
    let answer = rtc.sdp_api().accept_offer(offer).expect("the offer should be accepted");
    created(answer.to_sdp_string())
}

fn created<T>(answer: T) -> Answered<T> {
    let fields = [
        (header::LOCATION, "/sessions/4e3f2c8a"),
        (header::ETAG, "\"4e3f2c8a\""),
        (header::CONTENT_TYPE, "application/sdp"),
    ];
    (StatusCode::CREATED, fields, answer)
}

/// The least work of any layer that recognises a repeated offer.
pub(crate) async fn floor(State(remembered): State<Remembered>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let offer = to_bytes(body, 64 * 1024).await.expect("the body should be readable");
    let peer = PeerKey::from(head.uri.path());
    let fingerprint = Fingerprint::sdp(std::str::from_utf8(&offer).expect("the offer should be SDP"));
    assert_ne!(remembered.get(&peer), Some(fingerprint), "an offer was repeated");
    let answer = next.run(Request::from_parts(head, Body::from(offer))).await;
    remembered.insert(peer, fingerprint);
    answer
}
