//! `OfferSession` as an extractor of axum.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Body, routing::post};
use http::{Request, StatusCode};
use tower::ServiceExt;
use tower_offer_dedup::{OfferDedupLayer, OfferSession, http::HttpOffers};

/// A router with one route that needs a session and one that takes it if it is there.
fn routes() -> (Router, Arc<Mutex<Vec<OfferSession>>>) {
    let sessions = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&sessions);
    let publish = move |session: OfferSession, _: String| async move {
        kept.lock().unwrap().push(session);
        StatusCode::CREATED
    };
    let optional = |session: Option<OfferSession>| async move { session.is_some().to_string() };
    let app = Router::new()
        .route("/whip", post(publish))
        .route("/optional", post(optional).get(optional));
    (app, sessions)
}

async fn send(app: &Router, uri: &str, media: &str, body: impl Into<Body>) -> (StatusCode, String) {
    let request = Request::post(uri)
        .header("content-type", media)
        .body(body.into())
        .unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let (status, body) = (response.status(), response.into_body());
    let body = axum::body::to_bytes(body, 1000).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn offer_has_a_session() {
    let (app, sessions) = routes();
    let app = app.layer(OfferDedupLayer::whip().build());
    for round in 1..=2 {
        for _ in 0..2 {
            assert_eq!(
                send(&app, "/whip", "application/sdp", "v=0\r\n").await.0,
                StatusCode::CREATED
            );
        }
        let sessions = sessions.lock().unwrap();
        assert_eq!(sessions.len(), round);
        assert!(sessions[round - 1].forget());
    }
}

#[tokio::test]
async fn unchecked_request_has_an_empty_session() {
    let (app, sessions) = routes();
    let cut = || Body::from_stream(futures_util::stream::iter([Ok("v=0"), Err("cut")]));
    // Without a reader of the body, its failure does not matter.
    let app = app.layer(
        OfferDedupLayer::whip()
            .offers(HttpOffers::new().filter(|_| false))
            .build(),
    );
    assert_eq!(
        send(&app, "/whip", "application/sdp", "v=0").await.0,
        StatusCode::CREATED
    );
    assert!(!sessions.lock().unwrap()[0].forget());
    assert_eq!(send(&app, "/optional", "application/sdp", cut()).await.1, "false");
}

#[tokio::test]
async fn other_requests_are_rejected() {
    let (app, sessions) = routes();
    let layered = app.clone().layer(OfferDedupLayer::whip().build());
    for (app, media, body, status, message) in [
        (&layered, "text/plain", "v=0", 415, "the request is not an offer"),
        (&layered, "application/sdp", "", 415, "the request is not an offer"),
        (
            &app,
            "application/sdp",
            "v=0",
            500,
            "OfferDedupLayer is not applied to this route",
        ),
    ] {
        let (got, text) = send(app, "/whip", media, body).await;
        assert_eq!((got.as_u16(), &*text), (status, message), "{media} {body:?}");
        assert_eq!(send(app, "/optional", media, body).await.1, "false");
    }
    assert_eq!(send(&layered, "/optional", "application/sdp", "v=0").await.1, "true");
    assert_eq!(sessions.lock().unwrap().len(), 0);
}
