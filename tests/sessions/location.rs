//! A `DELETE` ends a session if it agrees with the `Location`.

use http::Method;

use crate::server::{ALICE, Client, Server, sdp};

#[tokio::test]
async fn locations_of_every_form_are_found() {
    // The target of the POST, the `Location`, the target of the DELETE, and whether it is the session.
    let cases = [
        ("/whip/stage", "/session/{n}", "/session/0", true),
        ("/whip/stage", "session/{n}", "/whip/session/0", true),
        ("/whip/stage", "stage/{n}", "/whip/stage/0", true),
        ("/whip/stage/", "{n}", "/whip/stage/0", true),
        ("/whip/stage", "../session/./{n}", "/session/0", true),
        ("/whip/stage", "http://example.com/session/{n}", "/session/0", true),
        ("/whip/stage", "https://cdn.example/session/{n}", "/session/0", true),
        ("/whip/stage", "//example.com/session/{n}", "/session/0", true),
        ("/whip?stream=a", "?session={n}", "/whip?session=0", true),
        ("/whip?stream=a", "?session={n}", "/whip?session=1", false),
        ("/whip?stream=a", "?session={n}", "/whip", false),
        (
            "/whip?stream=a",
            "/rtc/?action=delete&token={n}",
            "/rtc/?action=delete&token=0",
            true,
        ),
        ("/whip?stream=a", "/rtc/?action=delete&token={n}", "/rtc/", false),
        ("/whip?stream=a", "", "/whip?stream=a", true),
        ("/whip/stage", "/s%65ssion/{n}%2f", "/session/%30%2F", true),
        ("/whip/stage", "/session/{n}#fragment", "/session/0", true),
        ("http://example.com/whip/stage", "session/{n}", "/whip/session/0", true),
        ("/whip/stage", "session/{n}", "http://example.com/whip/session/0", true),
        ("/whip/stage", "urn:uuid:{n}", "/session/0", false),
    ];
    for (post, location, delete, ends) in cases {
        let server = Server::located(|n| location.replace("{n}", &n.to_string()));
        for _ in 0..2 {
            server.send(ALICE, Method::POST, post, sdp(1)).await;
        }
        assert_eq!(server.posts(), 1, "{post}");
        server.delete(ALICE, delete, 204).await;
        server.send(ALICE, Method::POST, post, sdp(1)).await;
        assert_eq!(server.posts(), if ends { 2 } else { 1 }, "{post} {location} {delete}");
    }
}

#[tokio::test]
async fn sessions_with_one_uri_are_told_apart() {
    const A: &str = "a.example";
    const B: &str = "b.example";
    let client = |host, token| Client { host, token };
    // The publishers of two sessions, who deletes with which answer, and which of the sessions end.
    let cases = [
        ([(A, "alice"), (A, "bob")], (A, "alice", 204), [true, false]),
        ([(A, "alice"), (A, "bob")], (A, "bob", 404), [false, true]),
        ([(A, "alice"), (A, "bob")], (A, "carol", 204), [false, false]),
        ([(A, "alice"), (B, "alice")], (A, "alice", 204), [true, false]),
        ([(A, "alice"), (B, "alice")], (B, "alice", 410), [false, true]),
        ([(A, "alice"), (B, "alice")], ("c.example", "alice", 204), [true, true]),
        ([(A, "alice"), (B, "bob")], (A, "carol", 204), [true, false]),
        ([(A, "alice"), (B, "bob")], (A, "carol", 404), [false, false]),
        ([(A, "alice"), (B, "bob")], ("c.example", "carol", 204), [false, false]),
        // The credentials come before the authority.
        ([(A, "alice"), (B, "bob")], (A, "bob", 204), [false, true]),
    ];
    for (publishers, (host, token, status), expected) in cases {
        let server = Server::located(|_| "/session".to_owned());
        for (host, token) in publishers {
            server.post(client(host, token), 1).await;
        }
        server.delete(client(host, token), "/session", status).await;
        let mut ended = Vec::new();
        for (host, token) in publishers {
            ended.push(!server.post(client(host, token), 1).await.is_replayed);
        }
        assert_eq!(ended, expected, "{publishers:?} {host} {token} {status}");
    }
}

/// A nested router strips its prefix from the path that layers inside it see, but not from the `Location`.
#[cfg(feature = "axum")]
#[tokio::test]
async fn nested_layer_sees_whole_paths() {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use axum::{Router, body::Body, routing};
    use http::{Request, StatusCode, header};
    use tower::ServiceExt;
    use tower_offer_dedup::OfferDedupLayer;

    for location in ["/api/session/0", "session/0"] {
        let posts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&posts);
        let publish = move || async move {
            counted.fetch_add(1, Relaxed);
            (StatusCode::CREATED, [(header::LOCATION, location)], "an answer")
        };
        let inner = Router::new()
            .route("/whip", routing::post(publish))
            .route("/session/{id}", routing::delete(StatusCode::NO_CONTENT))
            .layer(OfferDedupLayer::whip().build());
        let app = Router::new().nest("/api", inner);
        let send = async |method, uri| {
            let request = Request::builder()
                .method(method)
                .uri(uri)
                .header(header::CONTENT_TYPE, "application/sdp")
                .body(Body::from(sdp(1)))
                .unwrap();
            app.clone().oneshot(request).await.unwrap().status()
        };
        for expected in [1, 1] {
            assert_eq!(send(Method::POST, "/api/whip").await, StatusCode::CREATED);
            assert_eq!(posts.load(Relaxed), expected);
        }
        assert_eq!(send(Method::DELETE, "/api/session/0").await, StatusCode::NO_CONTENT);
        assert_eq!(send(Method::POST, "/api/whip").await, StatusCode::CREATED);
        assert_eq!(posts.load(Relaxed), 2, "{location}");
    }
}
