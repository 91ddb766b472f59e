//! The latency that the store adds to `whip()` at a steady rate of new offers.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::{Instant, sleep_until};
use tower::{Layer, service_fn};
use tower_offer_dedup::{OfferDedupLayer, http::BufferedBody, store::OnStoreError};

use crate::{
    Size, node,
    report::Report,
    server::Server,
    times::{Figures, Times},
};

/// An aiortc offer of 3 KB: audio and video.
const OFFER: &str = include_str!("../../../tests/data/corpus/offers/aiortc-av-first.sdp");

const PER_SECOND: u32 = 1_000;

type Body = Full<Bytes>;

pub(crate) async fn measure(server: &Server, size: Size, report: &mut Report) {
    let mut times: [Vec<Times>; 2] = Default::default();
    for round in 0..=size.rounds.div_ceil(2) {
        server.flush();
        for turn in 0..2 {
            let has_store = (round + turn) % 2 == 1;
            let taken = steady(server, has_store, size.offers).await;
            // The first round warms up.
            if round > 0 {
                times[usize::from(has_store)].push(taken);
            }
        }
    }
    let figures = |which: usize, share: f64| Figures::new(times[which].iter().map(|times| times.at(share)));
    let added = |share: f64| {
        let pairs = times[0].iter().zip(&times[1]);
        Figures::new(pairs.map(|(without, with)| with.at(share) - without.at(share)))
    };
    let row = |name: &str, of: &dyn Fn(f64) -> Figures| vec![name.to_owned(), of(0.5).text(0), of(0.99).text(0)];
    let title = format!(
        "`whip()` at {PER_SECOND} new offers a second, {} in a round",
        size.offers
    );
    report.table(
        &title,
        &["from the call to the answer", "p50, µs", "p99, µs"],
        [
            row("without a store", &|share| figures(0, share)),
            row("with the store", &|share| figures(1, share)),
            row("added by the store", &added),
        ],
    );
}

/// Sends new offers on a schedule, however long earlier ones take.
async fn steady(server: &Server, has_store: bool, offers: u32) -> Times {
    let mut builder = OfferDedupLayer::whip();
    if has_store {
        builder = builder
            .store(node(server).await)
            .on_store_error(OnStoreError::FailClosed);
    }
    let layer = builder.build();
    let service = layer.layer(service_fn(publish));
    let start = Instant::now() + Duration::from_millis(100);
    let tasks: Vec<_> = (0..offers)
        .map(|offer| {
            let service = service.clone();
            let due = start + Duration::from_secs(1) * offer / PER_SECOND;
            tokio::spawn(async move {
                sleep_until(due).await;
                // The timer is a millisecond coarse, and would hide what is measured.
                let start = Instant::now();
                let request = Request::post(format!("http://example.com/whip/{offer}"))
                    .header("content-type", "application/sdp")
                    .body(Body::from(OFFER))
                    .expect("the request should be valid");
                let Ok(response) = service.oneshot(request).await;
                assert_eq!(response.status(), 201);
                start.elapsed()
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.push(task.await.expect("the call should not panic"));
    }
    Times::new(times)
}

async fn publish(_request: Request<BufferedBody<Body>>) -> Result<Response<Body>, Infallible> {
    let response = Response::builder()
        .status(201)
        .header("location", "/sessions/4e3f2c8a")
        .header("content-type", "application/sdp");
    Ok(response.body(Body::from(OFFER)).expect("the response should be valid"))
}
