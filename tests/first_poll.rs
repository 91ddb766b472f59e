//! `finish_abandoned` over HTTP: a handler that answers in its first poll needs no task, any other one gets a task.

mod support;

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use support::settle;
use tokio::{sync::Notify, task::yield_now};
use tokio_test::{assert_pending, task::spawn};
use tower::{Layer, Service, service_fn};
use tower_offer_dedup::{OfferDedupLayer, http::BufferedBody};
use tracing::{Instrument, Span, debug_span};

type Post = Request<BufferedBody<Full<Bytes>>>;

fn post() -> Request<Full<Bytes>> {
    let post = Request::post("/whip/stage").header(CONTENT_TYPE, "application/sdp");
    post.body(Full::from("v=0")).unwrap()
}

fn created() -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::from("answer"));
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

#[tokio::test]
async fn ready_handler_needs_no_task() {
    let tasks = Arc::new(Mutex::new(Vec::new()));
    let inner = {
        let tasks = Arc::clone(&tasks);
        service_fn(move |_: Post| {
            tasks.lock().unwrap().push(tokio::task::try_id());
            let tasks = Arc::clone(&tasks);
            async move {
                tasks.lock().unwrap().push(tokio::task::try_id());
                created()
            }
        })
    };
    let layer = OfferDedupLayer::whip().build();
    let response = layer.layer(inner).call(post()).await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    // The test itself is no task.
    assert_eq!(*tasks.lock().unwrap(), [None, None]);
    assert_eq!(layer.handle().stats().completed, 1);
}

#[tokio::test]
async fn abandoned_pending_handler_is_finished() {
    let (release, finished) = (Arc::new(Notify::new()), Arc::new(Mutex::new(None)));
    let inner = {
        let (release, finished) = (Arc::clone(&release), Arc::clone(&finished));
        service_fn(move |_: Post| {
            let (release, finished) = (Arc::clone(&release), Arc::clone(&finished));
            async move {
                release.notified().await;
                *finished.lock().unwrap() = tokio::task::try_id();
                created()
            }
        })
    };
    let layer = OfferDedupLayer::whip().build();
    let mut service = layer.layer(inner);
    let mut first = spawn(service.call(post()));
    assert_pending!(first.poll());
    drop(first);
    release.notify_one();
    settle().await;
    assert!(finished.lock().unwrap().is_some(), "it goes on in a task");
    let retry = service.call(post()).await.unwrap();
    assert_eq!(retry.headers()["offer-replayed"], "true");
    let stats = layer.handle().stats();
    assert_eq!((stats.admitted, stats.completed, stats.replayed), (1, 1, 1));
}

#[tokio::test]
async fn first_poll_and_task_share_a_span() {
    let spans = Arc::new(Mutex::new(Vec::new()));
    let inner = {
        let spans = Arc::clone(&spans);
        service_fn(move |_: Post| {
            let spans = Arc::clone(&spans);
            async move {
                spans.lock().unwrap().push(Span::current().id());
                yield_now().await;
                spans.lock().unwrap().push(Span::current().id());
                created()
            }
        })
    };
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry());
    let span = debug_span!("connection");
    let mut service = OfferDedupLayer::whip().build().layer(inner);
    let call = service.call(post()).instrument(span.clone());
    call.await.unwrap();
    assert!(span.id().is_some());
    assert_eq!(*spans.lock().unwrap(), [span.id(), span.id()]);
}

#[tokio::test]
async fn panic_in_first_poll_releases_peer() {
    let inner = service_fn(|post: Post| async move {
        if post.method() == "POST" {
            panic!("the first poll panics");
        }
        created()
    });
    let layer = OfferDedupLayer::whip().build();
    let mut service = layer.layer(inner);
    for abandoned in 1..=2 {
        let call = AssertUnwindSafe(service.call(post())).catch_unwind();
        let panic = call.await.unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"the first poll panics"));
        let stats = layer.handle().stats();
        assert_eq!((stats.abandoned, stats.claims), (abandoned, 0));
    }
}
