//! Counts the instructions of a WHIP `POST` through an axum router: bare, with the hand-written middlewares, and with
//! the layer. `run` next to this file subtracts the bare router and prints the ratios.

#![allow(missing_docs, clippy::exit, reason = "in what the macros of gungraun make")]

#[path = "../http/hand_written.rs"]
mod hand_written;

use std::mem;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderName, Request, StatusCode, header},
    middleware::from_fn_with_state,
    routing::post,
};
use gungraun::{library_benchmark, library_benchmark_group, main};
use hand_written::{HandWritten, answer_once};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;
use tower_offer_dedup::OfferDedupLayer;

const OFFER: &str = include_str!("../../tests/data/corpus/offers/chromium-whip-first.sdp");
const ANSWER: &str = include_str!("../../tests/data/corpus/offers/aiortc-dc-first.sdp");

/// Number of requests that are counted. As many have been answered before.
const REQUESTS: u32 = 512;

/// The layer around the handler.
#[derive(Clone, Copy)]
enum Around {
    Nothing,
    HandWritten,
    HandWrittenOfBytes,
    Whip,
}

struct Load {
    runtime: Runtime,
    app: Router,
    requests: Vec<Request<Body>>,
}

impl Load {
    fn new(around: Around, of: fn(u32) -> Request<Body>) -> Self {
        let handler = Router::new().route("/whip/{stream}", post(publish));
        let hand_written = |state| handler.clone().layer(from_fn_with_state(state, answer_once));
        let mut load = Self {
            app: match around {
                Around::Nothing => handler,
                Around::HandWritten => hand_written(HandWritten::new()),
                Around::HandWrittenOfBytes => hand_written(HandWritten::of_bytes()),
                Around::Whip => handler.layer(OfferDedupLayer::whip().build()),
            },
            runtime: Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("the runtime should start"),
            requests: (0..REQUESTS).map(request).collect(),
        };
        load.send_all();
        load.requests = (0..REQUESTS).map(of).collect();
        load
    }

    /// Sends the requests one after another from one task, as a connection of hyper does.
    fn send_all(&mut self) {
        let (app, requests) = (self.app.clone(), mem::take(&mut self.requests));
        let connection = async move {
            for request in requests {
                let answer = app.clone().oneshot(request).await.expect("a router does not fail");
                assert_eq!(answer.status(), StatusCode::CREATED);
                let body = to_bytes(answer.into_body(), usize::MAX).await;
                assert_eq!(body.expect("the body should be readable").len(), ANSWER.len());
            }
        };
        let sent = self.runtime.block_on(async { tokio::spawn(connection).await });
        sent.expect("every request should be answered");
    }
}

async fn publish(offer: String) -> (StatusCode, [(HeaderName, &'static str); 3], &'static str) {
    assert!(offer.starts_with("v=0"));
    let fields = [
        (header::LOCATION, "/sessions/4e3f2c8a"),
        (header::ETAG, "\"4e3f2c8a\""),
        (header::CONTENT_TYPE, "application/sdp"),
    ];
    (StatusCode::CREATED, fields, ANSWER)
}

fn request(number: u32) -> Request<Body> {
    let offer = OFFER.replace("a=ice-ufrag:", &format!("a=ice-ufrag:{number:08x}"));
    Request::post(format!("/whip/{number:08x}"))
        .header(header::HOST, "127.0.0.1:8080")
        .header(header::AUTHORIZATION, "Bearer s3cret")
        .header(header::ACCEPT, "application/sdp")
        .header(header::CONTENT_TYPE, "application/sdp")
        .header(header::CONTENT_LENGTH, offer.len())
        .body(Body::from(offer))
        .expect("the request should be valid")
}

fn new_offers(around: Around) -> Load {
    Load::new(around, |number| request(REQUESTS + number))
}

fn duplicates(around: Around) -> Load {
    Load::new(around, request)
}

#[library_benchmark]
#[bench::bare(args = [Around::Nothing], setup = new_offers)]
#[bench::hand_written(args = [Around::HandWritten], setup = new_offers)]
#[bench::hand_written_xxh3(args = [Around::HandWrittenOfBytes], setup = new_offers)]
#[bench::whip(args = [Around::Whip], setup = new_offers)]
fn new_offer(mut load: Load) -> Load {
    load.send_all();
    load
}

#[library_benchmark]
#[bench::bare(args = [Around::Nothing], setup = duplicates)]
#[bench::hand_written(args = [Around::HandWritten], setup = duplicates)]
#[bench::hand_written_xxh3(args = [Around::HandWrittenOfBytes], setup = duplicates)]
#[bench::whip(args = [Around::Whip], setup = duplicates)]
fn duplicate(mut load: Load) -> Load {
    load.send_all();
    load
}

library_benchmark_group!(name = posts, benchmarks = [new_offer, duplicate]);

main!(library_benchmark_groups = posts);
