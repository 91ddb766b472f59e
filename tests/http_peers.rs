//! The default peer of HTTP requests: target URI and credentials.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use http::{Request, Response, Version, request::Parts};
use http_body_util::{Empty, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tower::ServiceExt;
use tower_offer_dedup::{
    JsonOffers, OfferDedupLayer, PeerKey,
    extract::{ExtractOffer, Found},
    http::{HttpOffers, PeerFrom},
};

/// The head of a `POST`, from its target and fields.
type Head = (&'static str, &'static [(&'static str, &'static str)]);

fn head((uri, fields): Head) -> Parts {
    let mut request = Request::post(uri);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn peer(head: &Parts) -> PeerKey {
    HttpOffers::new()
        .peer_of(head)
        .expect("every request has a default peer")
}

struct Case {
    name: &'static str,
    one: Head,
    other: Head,
    is_same: bool,
}

const HOST: (&str, &str) = ("host", "example.com");

const CASES: &[Case] = &[
    Case {
        name: "the same request",
        one: (
            "/whip/a?x=1",
            &[HOST, ("authorization", "Bearer t"), ("cookie", "sid=1")],
        ),
        other: (
            "/whip/a?x=1",
            &[HOST, ("authorization", "Bearer t"), ("cookie", "sid=1")],
        ),
        is_same: true,
    },
    Case {
        name: "other fields",
        one: ("/whip/a", &[HOST, ("user-agent", "OBS")]),
        other: (
            "/whip/a",
            &[HOST, ("user-agent", "FFmpeg"), ("origin", "https://example.com")],
        ),
        is_same: true,
    },
    Case {
        name: "path",
        one: ("/whip/a", &[HOST]),
        other: ("/whip/b", &[HOST]),
        is_same: false,
    },
    Case {
        name: "case of the path",
        one: ("/whip/a", &[HOST]),
        other: ("/whip/A", &[HOST]),
        is_same: false,
    },
    Case {
        name: "query",
        one: ("/rtc/v1/whip/?app=live&stream=a", &[HOST]),
        other: ("/rtc/v1/whip/?app=live&stream=b", &[HOST]),
        is_same: false,
    },
    Case {
        name: "order of the query",
        one: ("/whip?a=1&b=2", &[HOST]),
        other: ("/whip?b=2&a=1", &[HOST]),
        is_same: false,
    },
    Case {
        name: "empty query against none",
        one: ("/whip?", &[HOST]),
        other: ("/whip", &[HOST]),
        is_same: false,
    },
    Case {
        name: "trailing slash",
        one: ("/whip/", &[HOST]),
        other: ("/whip", &[HOST]),
        is_same: false,
    },
    Case {
        name: "escape of an unreserved character",
        one: ("/whip/st%61ge?k=%7E", &[HOST]),
        other: ("/whip/stage?k=~", &[HOST]),
        is_same: true,
    },
    Case {
        name: "case of hex digits",
        one: ("/whip/a%2fb?k=%c3%a9", &[HOST]),
        other: ("/whip/a%2Fb?k=%C3%A9", &[HOST]),
        is_same: true,
    },
    Case {
        name: "escaped slash",
        one: ("/whip/a%2Fb", &[HOST]),
        other: ("/whip/a/b", &[HOST]),
        is_same: false,
    },
    Case {
        name: "escape of an escape",
        one: ("/whip/%2561", &[HOST]),
        other: ("/whip/%61", &[HOST]),
        is_same: false,
    },
    Case {
        name: "dot segments",
        one: ("/whip/x/../a", &[HOST]),
        other: ("/whip/a", &[HOST]),
        is_same: false,
    },
    Case {
        name: "host",
        one: ("/whip/a", &[HOST]),
        other: ("/whip/a", &[("host", "example.org")]),
        is_same: false,
    },
    Case {
        name: "no host",
        one: ("/whip/a", &[HOST]),
        other: ("/whip/a", &[]),
        is_same: false,
    },
    Case {
        name: "upper-case host",
        one: ("/whip/a", &[HOST]),
        other: ("/whip/a", &[("host", "EXAMPLE.com")]),
        is_same: true,
    },
    Case {
        name: "second host",
        one: ("/whip/a", &[HOST]),
        other: ("/whip/a", &[HOST, ("host", "example.org")]),
        is_same: false,
    },
    Case {
        name: "port",
        one: ("/whip/a", &[HOST]),
        other: ("/whip/a", &[("host", "example.com:8080")]),
        is_same: false,
    },
    Case {
        name: "default port without a scheme",
        one: ("/whip/a", &[HOST]),
        other: ("/whip/a", &[("host", "example.com:443")]),
        is_same: false,
    },
    Case {
        name: "default port with a scheme",
        one: ("https://example.com:443/whip/a", &[]),
        other: ("https://example.com/whip/a", &[]),
        is_same: true,
    },
    Case {
        name: "default port of another scheme",
        one: ("https://example.com:80/whip/a", &[]),
        other: ("https://example.com/whip/a", &[]),
        is_same: false,
    },
    Case {
        name: "IPv6 in upper case",
        one: ("/whip/a", &[("host", "[2001:DB8::1]")]),
        other: ("/whip/a", &[("host", "[2001:db8::1]")]),
        is_same: true,
    },
    Case {
        name: "IPv6 with the default port",
        one: ("http://[2001:db8::1]:80/whip/a", &[]),
        other: ("/whip/a", &[("host", "[2001:db8::1]")]),
        is_same: true,
    },
    Case {
        name: "IPv6 that ends like a port",
        one: ("http://[2001:db8::80]/whip/a", &[]),
        other: ("http://[2001:db8::]/whip/a", &[]),
        is_same: false,
    },
    Case {
        name: "absolute form",
        one: ("http://example.com/whip/a?x=1", &[("host", "example.com")]),
        other: ("/whip/a?x=1", &[HOST]),
        is_same: true,
    },
    Case {
        name: "absolute form against another host",
        one: ("http://example.com/whip/a", &[("host", "example.org")]),
        other: ("/whip/a", &[HOST]),
        is_same: true,
    },
    Case {
        name: "absolute form without a path",
        one: ("http://example.com", &[]),
        other: ("/", &[HOST]),
        is_same: true,
    },
    Case {
        name: "user information",
        one: ("http://user:secret@example.com/whip/a", &[]),
        other: ("/whip/a", &[HOST]),
        is_same: true,
    },
    Case {
        name: "scheme",
        one: ("http://example.com/whip/a", &[]),
        other: ("https://example.com/whip/a", &[]),
        is_same: true,
    },
    Case {
        name: "bearer token",
        one: ("/whip/a", &[HOST, ("authorization", "Bearer t")]),
        other: ("/whip/a", &[HOST, ("authorization", "Bearer u")]),
        is_same: false,
    },
    Case {
        name: "user of Basic",
        one: ("/whip/a", &[HOST, ("authorization", "Basic YWxpY2U6MQ==")]),
        other: ("/whip/a", &[HOST, ("authorization", "Basic Ym9iOjE=")]),
        is_same: false,
    },
    Case {
        name: "no credentials",
        one: ("/whip/a", &[HOST, ("authorization", "Bearer t")]),
        other: ("/whip/a", &[HOST]),
        is_same: false,
    },
    Case {
        name: "second authorization",
        one: ("/whip/a", &[HOST, ("authorization", "a"), ("authorization", "b")]),
        other: ("/whip/a", &[HOST, ("authorization", "a")]),
        is_same: false,
    },
    Case {
        name: "order of authorizations",
        one: ("/whip/a", &[HOST, ("authorization", "a"), ("authorization", "b")]),
        other: ("/whip/a", &[HOST, ("authorization", "b"), ("authorization", "a")]),
        is_same: false,
    },
    Case {
        name: "border between authorizations",
        one: ("/whip/a", &[HOST, ("authorization", "a"), ("authorization", "bc")]),
        other: ("/whip/a", &[HOST, ("authorization", "ab"), ("authorization", "c")]),
        is_same: false,
    },
    Case {
        name: "cookie",
        one: ("/whip/a", &[HOST, ("cookie", "sid=1")]),
        other: ("/whip/a", &[HOST, ("cookie", "sid=2")]),
        is_same: false,
    },
    Case {
        name: "two cookies of one name",
        one: ("/whip/a", &[HOST, ("cookie", "sid=1; sid=2")]),
        other: ("/whip/a", &[HOST, ("cookie", "sid=2; sid=1")]),
        is_same: false,
    },
    Case {
        name: "second cookie of the same name",
        one: ("/whip/a", &[HOST, ("cookie", "sid=1"), ("cookie", "sid=2")]),
        other: ("/whip/a", &[HOST, ("cookie", "sid=1")]),
        is_same: false,
    },
    Case {
        // RFC 9113 §8.2.3 lets HTTP/2 split the field.
        name: "cookies in two fields",
        one: ("/whip/a", &[HOST, ("cookie", "sid=1"), ("cookie", "theme=dark")]),
        other: ("/whip/a", &[HOST, ("cookie", "sid=1; theme=dark")]),
        is_same: true,
    },
    Case {
        name: "cookie for authorization",
        one: ("/whip/a", &[HOST, ("cookie", "t")]),
        other: ("/whip/a", &[HOST, ("authorization", "t")]),
        is_same: false,
    },
];

#[test]
fn default_key_follows_the_rfcs() {
    for case in CASES {
        let is_same = peer(&head(case.one)) == peer(&head(case.other));
        assert_eq!(is_same, case.is_same, "{}", case.name);
    }
}

#[test]
fn default_key_has_named_parts() {
    let spelled_out = HttpOffers::new()
        .peer(PeerFrom::target_uri())
        .peer(PeerFrom::credentials().optional());
    for case in CASES {
        for request in [case.one, case.other] {
            let head = head(request);
            assert_eq!(spelled_out.peer_of(&head), Some(peer(&head)), "{}", case.name);
        }
    }
}

#[test]
fn each_part_counts_alone() {
    type Part = fn() -> PeerFrom;
    // The part, and whether it differs by host, path, query and credentials.
    let cases: [(Part, [bool; 4]); 7] = [
        (PeerFrom::target_uri, [true, true, true, false]),
        (PeerFrom::authority, [true, false, false, false]),
        (PeerFrom::path, [false, true, false, false]),
        (PeerFrom::query, [false, false, true, false]),
        (PeerFrom::credentials, [false, false, false, true]),
        (|| PeerFrom::path_segment(1), [false, true, false, false]),
        (|| PeerFrom::query_param("stream"), [false, false, true, false]),
    ];
    let base = head(("/whip/st%61ge?stream=%61", &[("host", "Example.com")]));
    let others: [Head; 4] = [
        ("/whip/stage?stream=a", &[("host", "example.org")]),
        ("/whip/other?stream=a", &[HOST]),
        ("/whip/stage?stream=b", &[HOST]),
        ("/whip/stage?stream=a", &[HOST, ("cookie", "sid=1")]),
    ];
    for (n, (part, differs)) in cases.into_iter().enumerate() {
        let offers = HttpOffers::new().peer(part());
        let found = others.map(|other| offers.peer_of(&head(other)) != offers.peer_of(&base));
        assert_eq!(found, differs, "case {n}");
    }
    let by_query = HttpOffers::new().peer(PeerFrom::query());
    assert!(by_query.peer_of(&head(("/a?", &[]))).is_some());
    assert!(by_query.peer_of(&head(("/a", &[]))).is_none());
}

/// Reads JSON offers and returns their peer.
async fn json_peer(offers: HttpOffers, uri: &str, body: &'static str) -> Option<PeerKey> {
    let request = Request::post(uri)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from_static(body.as_bytes())))
        .unwrap();
    let Found::Read(read) = offers.extract(request) else {
        panic!("JSON is read");
    };
    match read.await {
        Found::Offer(_, offer) => Some(offer.peer()),
        _ => None,
    }
}

#[tokio::test]
async fn json_peer_replaces_the_default() {
    let json = || JsonOffers::new().sdp("/sdp");
    let body = r#"{"sdp":"v=0","from":"alice"}"#;
    let by_body = || HttpOffers::new().json(json().peer("/from"));
    for uri in ["/offer?stream=a", "/offer?stream=b"] {
        assert_eq!(json_peer(by_body(), uri, body).await, Some(PeerKey::from("alice")));
        let by_default = json_peer(HttpOffers::new().json(json()), uri, body).await;
        assert_eq!(by_default, Some(peer(&head((uri, &[])))));
    }
}

/// Serves `POST`s over one connection and returns their peers.
async fn peer_over(version: Version, uri: &'static str) -> PeerKey {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let peers = Arc::new(Mutex::new(Vec::new()));
    let service = {
        let peers = Arc::clone(&peers);
        service_fn(move |request: Request<Incoming>| {
            peers.lock().unwrap().push(peer(&request.into_parts().0));
            async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) }
        })
    };
    let request = |uri: &str| Request::post(uri).body(Empty::<Bytes>::new()).unwrap();
    let (client, server) = (TokioIo::new(client), TokioIo::new(server));
    if version == Version::HTTP_2 {
        let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(server, service);
        tokio::spawn(serving);
        let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), client)
            .await
            .unwrap();
        tokio::spawn(connection);
        sender.send_request(request(uri)).await.unwrap();
    } else {
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(server, service));
        let (mut sender, connection) = hyper::client::conn::http1::handshake(client).await.unwrap();
        tokio::spawn(connection);
        let uri: http::Uri = uri.parse().unwrap();
        let mut request = request(uri.path_and_query().unwrap().as_str());
        let host = uri.authority().unwrap().as_str().parse().unwrap();
        request.headers_mut().insert("host", host);
        sender.send_request(request).await.unwrap();
    }
    let peers = peers.lock().unwrap();
    peers[0]
}

#[tokio::test]
async fn http_1_and_http_2_agree() {
    for (uri, is_same) in [
        ("https://example.com/whip/a?x=1", true),
        ("https://example.com:8443/whip/a", true),
        ("https://[::1]/whip/a", true),
        // HTTP/1 has no scheme, so its port stays.
        ("https://example.com:443/whip/a", false),
    ] {
        let (one, two) = (
            peer_over(Version::HTTP_11, uri).await,
            peer_over(Version::HTTP_2, uri).await,
        );
        assert_eq!(one == two, is_same, "{uri}");
    }
}

#[tokio::test]
async fn nests_are_distinct_with_feature_axum() {
    use axum::{Router, routing::post};

    let calls = Arc::new(AtomicUsize::new(0));
    let layer = OfferDedupLayer::whip().build();
    let nested = || {
        let calls = Arc::clone(&calls);
        let publish = move |_: String| async move { calls.fetch_add(1, Relaxed).to_string() };
        Router::new().route("/whip", post(publish)).layer(layer.clone())
    };
    let app: Router = Router::new().nest("/a", nested()).nest("/b", nested());
    let mut answers = Vec::new();
    for uri in ["/a/whip", "/b/whip", "/a/whip"] {
        let request = Request::post(uri)
            .header("content-type", "application/sdp")
            .body(axum::body::Body::from("v=0\r\n"))
            .unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
        answers.push(String::from_utf8(body.to_vec()).unwrap());
    }
    // Without the feature, the layer sees `/whip` in both nests.
    let expected = if cfg!(feature = "axum") {
        ["0", "1", "0"]
    } else {
        ["0", "0", "0"]
    };
    assert_eq!(answers, expected);
}
