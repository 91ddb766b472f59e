//! Refusals as errors: a service in the shape of tonic's, whose refusals are its own `Status`.

use std::time::Duration;

use tower::{Layer, service_fn};
use tower_offer_dedup::{Fingerprint, Offer, OfferDedupLayer, Reason, Refusal, Refuse, Replay};

/// An answer to an offer.
#[derive(Clone, Debug, PartialEq)]
struct Answer(String);

/// The error of the service, as tonic's `Status`.
#[derive(Clone, Debug, PartialEq)]
struct Status {
    code: Code,
    message: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Code {
    AlreadyExists,
    Unavailable,
}

fn status(refusal: &Refusal) -> Status {
    Status {
        code: match refusal.reason() {
            Reason::Processed | Reason::NotRecorded | Reason::Superseded => Code::AlreadyExists,
            _ => Code::Unavailable,
        },
        message: refusal.to_string(),
    }
}

fn offers(sdp: &String) -> Option<Offer> {
    Some(Offer::new("alice", Fingerprint::sdp(sdp)))
}

async fn negotiate(sdp: String) -> Result<Answer, Status> {
    Ok(Answer(format!("an answer to {sdp}")))
}

#[tokio::test]
async fn duplicate_gets_the_error_of_the_service() {
    let service = OfferDedupLayer::builder()
        .offers(offers as fn(&String) -> _)
        .answer(Refuse::with_error(status))
        .build()
        .layer(service_fn(negotiate));
    let answer = service.clone().oneshot("f".to_owned()).await;
    assert_eq!(answer, Ok(Answer("an answer to f".to_owned())));
    let refused = service.clone().oneshot("f".to_owned()).await;
    assert_eq!(refused, Err(status(&Refusal::new(Reason::Processed))));
    let cooling = service.oneshot("g".to_owned()).await;
    assert_eq!(cooling.map_err(|status| status.code), Err(Code::Unavailable));
}

#[tokio::test]
async fn replay_refuses_with_the_error_too() {
    let service = OfferDedupLayer::builder()
        .offers(offers as fn(&String) -> _)
        .answer(Replay::with_error(status).weigher(|answer: &Answer| Some(answer.0.len())))
        .cooldown(Duration::from_secs(60))
        .build()
        .layer(service_fn(negotiate));
    for _ in 0..2 {
        let answer = service.clone().oneshot("f".to_owned()).await;
        assert_eq!(answer, Ok(Answer("an answer to f".to_owned())));
    }
    let cooling = service.oneshot("g".to_owned()).await;
    assert_eq!(cooling.map_err(|status| status.code), Err(Code::Unavailable));
}
