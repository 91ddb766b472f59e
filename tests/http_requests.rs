//! HTTP requests that are offers, and the requests that the handler gets.

mod support;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Channel, Full, combinators::BoxBody};
use support::captured_events::CapturedEvents;
use tokio_test::{assert_pending, task::spawn};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_offer_dedup::{
    JsonOffers, OfferDedupHandle, OfferDedupLayer, OfferSession, PeerKey, WhenBusy,
    extract::{ExtractOffer, Found, SessionUri},
    http::{BufferedBody, HttpAnswer, HttpOffers, PeerFrom},
};

type RequestBody = BoxBody<Bytes, BoxError>;
type Service_ = BoxCloneSyncService<Request<RequestBody>, Response<Bytes>, BoxError>;

const SDP: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";

/// A request at the inner service: the peer, the body and its trailers.
#[derive(Clone, Debug, Default)]
struct Seen(Arc<Mutex<Vec<Given>>>);

type Given = (Option<PeerKey>, Bytes, HeaderMap);

impl Seen {
    fn bodies(&self) -> Vec<Bytes> {
        self.0.lock().unwrap().iter().map(|(_, body, _)| body.clone()).collect()
    }
}

/// The layer around a service that reads the body and answers 201.
fn server(offers: HttpOffers) -> (Service_, Seen, OfferDedupHandle) {
    let layer = OfferDedupLayer::whip().offers(offers).build();
    let (handle, seen) = (layer.handle(), Seen::default());
    let inner = {
        let seen = seen.clone();
        service_fn(move |request: Request<BufferedBody<RequestBody>>| {
            let seen = seen.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await?;
                let trailers = body.trailers().cloned().unwrap_or_default();
                seen.0
                    .lock()
                    .unwrap()
                    .push((head.extensions.get().copied(), body.to_bytes(), trailers));
                let answer = Full::new(Bytes::from("an answer")).map_err(|never: Infallible| match never {});
                let mut response = Response::new(answer.boxed());
                *response.status_mut() = StatusCode::CREATED;
                Ok::<Response<RequestBody>, BoxError>(response)
            }
        })
    };
    let service = layer
        .layer(inner)
        .and_then(|response: Response<BufferedBody<RequestBody>>| async move {
            let (head, body) = response.into_parts();
            Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
        });
    (BoxCloneSyncService::new(service), seen, handle)
}

fn full(body: impl Into<Bytes>) -> RequestBody {
    Full::new(body.into()).map_err(|never| match never {}).boxed()
}

fn post(uri: &str, media: &str, body: RequestBody) -> Request<RequestBody> {
    Request::post(uri)
        .header(header::CONTENT_TYPE, media)
        .body(body)
        .unwrap()
}

fn is_replayed(response: &Response<Bytes>) -> bool {
    response.headers().contains_key("offer-replayed")
}

/// Returns whether a second, equal request gets a replayed answer.
async fn is_offer(offers: HttpOffers, request: impl Fn() -> Request<RequestBody>) -> bool {
    let (service, seen, _) = server(offers);
    let first = service.clone().oneshot(request()).await.unwrap();
    assert!(!is_replayed(&first));
    let second = service.oneshot(request()).await.unwrap();
    assert_eq!(is_replayed(&second), seen.bodies().len() == 1);
    is_replayed(&second)
}

#[tokio::test]
async fn method_and_media_type_decide() {
    let cases = [
        (Method::POST, Some("application/sdp"), SDP, true),
        (Method::POST, Some("Application/SDP ; charset=utf-8"), SDP, true),
        (Method::POST, Some("application/sdp"), "not SDP at all", true),
        (Method::POST, Some("application/sdp"), "", false),
        (Method::POST, Some("application/sdp"), "\r\n", false),
        (Method::POST, Some("application/sdpx"), SDP, false),
        (Method::POST, Some("text/plain"), SDP, false),
        (Method::POST, None, SDP, false),
        (Method::GET, Some("application/sdp"), SDP, false),
        (Method::PUT, Some("application/sdp"), SDP, false),
        (Method::PATCH, Some("application/trickle-ice-sdpfrag"), SDP, false),
        (Method::DELETE, None, "", false),
        (
            Method::POST,
            Some("application/json"),
            r#"{"type":"offer","sdp":"v=0"}"#,
            false,
        ),
    ];
    for (method, media, body, expected) in cases {
        let request = || {
            let mut request = Request::builder().method(&method).uri("/whip/stage");
            if let Some(media) = media {
                request = request.header(header::CONTENT_TYPE, media);
            }
            request.body(full(body)).unwrap()
        };
        assert_eq!(
            is_offer(HttpOffers::new(), request).await,
            expected,
            "{method} {media:?} {body:?}"
        );
    }
}

#[tokio::test]
async fn json_members_decide() {
    let offers = || HttpOffers::new().json(JsonOffers::new().sdp("/sdp").peer("/from"));
    let cases = [
        (r#"{"type":"offer","sdp":"v=0","from":"alice"}"#, true),
        (r#"{"type":"answer","sdp":"v=0","from":"alice"}"#, false),
        (r#"{"type":"offer","sdp":"v=0"}"#, false),
        (r#"{"type":"offer","#, false),
        ("", false),
    ];
    for (body, expected) in cases {
        let request = || post("/offer", "application/json; charset=utf-8", full(body));
        assert_eq!(is_offer(offers(), request).await, expected, "{body}");
    }
}

#[tokio::test]
async fn filter_opts_out() {
    let offers = HttpOffers::new().filter(|head| head.uri.path() != "/echo");
    assert!(is_offer(offers.clone(), || post("/whip", "application/sdp", full(SDP))).await);
    assert!(!is_offer(offers, || post("/echo", "application/sdp", full(SDP))).await);
}

#[tokio::test]
async fn handler_gets_body_trailers_and_peer() {
    let (service, seen, handle) = server(HttpOffers::new());
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "7".parse().unwrap());
    let (mut sender, body) = Channel::<Bytes, BoxError>::new(8);
    for piece in SDP.as_bytes().chunks(20) {
        sender.send_data(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    sender.send_trailers(trailers.clone()).await.unwrap();
    drop(sender);
    service
        .oneshot(post("/whip", "application/sdp", body.boxed()))
        .await
        .unwrap();

    let (peer, body, got) = seen.0.lock().unwrap()[0].clone();
    assert_eq!((&body[..], got), (SDP.as_bytes(), trailers));
    assert!(handle.forget(peer.unwrap()));
}

#[tokio::test]
async fn slow_body_holds_no_lock() {
    let (mut service, seen, handle) = server(HttpOffers::new());
    let (mut sender, body) = Channel::<Bytes, BoxError>::new(8);
    let mut slow = spawn(service.call(post("/whip", "application/sdp", body.boxed())));
    assert_pending!(slow.poll());
    sender.send_data(Bytes::from_static(b"v=0\r\n")).await.unwrap();
    assert_pending!(slow.poll());

    let response = service
        .clone()
        .oneshot(post("/whip", "application/sdp", full(SDP)))
        .await
        .unwrap();
    assert_eq!((response.status(), seen.bodies().len()), (StatusCode::CREATED, 1));
    drop(slow);
    assert_eq!(handle.stats().claims, 0);
}

#[tokio::test]
async fn missing_peer_part_follows_its_setting() {
    let request = |token: Option<&str>| {
        let mut request = post("/whip", "application/sdp", full(SDP));
        if let Some(token) = token {
            request
                .headers_mut()
                .insert(header::AUTHORIZATION, format!("bearer {token}").parse().unwrap());
        }
        request
    };
    let lax = || HttpOffers::new().peer(PeerFrom::bearer());
    assert!(is_offer(lax(), || request(Some("t"))).await);
    assert!(!is_offer(lax(), || request(None)).await);

    let optional = || HttpOffers::new().peer(PeerFrom::bearer().optional());
    assert!(is_offer(optional(), || request(None)).await);

    let required = HttpOffers::new()
        .peer(PeerFrom::bearer().required())
        .json(JsonOffers::new().sdp("/sdp"));
    let (service, seen, _) = server(required);
    let response = service.clone().oneshot(request(None)).await.unwrap();
    assert_eq!((response.status(), seen.bodies().len()), (StatusCode::BAD_REQUEST, 0));
    // Only the body of JSON shows whether it is an offer at all.
    for (body, status) in [
        (r#"{"sdp":"v=0"}"#, StatusCode::BAD_REQUEST),
        (r#"{"vote":7}"#, StatusCode::CREATED),
    ] {
        let response = service
            .clone()
            .oneshot(post("/", "application/json", full(body)))
            .await
            .unwrap();
        assert_eq!(response.status(), status, "{body}");
    }
}

#[test]
fn each_part_distinguishes_peers() {
    let part = |name: &str| match name {
        "header" => PeerFrom::header("x-room".parse().unwrap()),
        "cookie" => PeerFrom::cookie("sid"),
        "bearer" => PeerFrom::bearer(),
        "path" => PeerFrom::path(),
        "segment" => PeerFrom::path_segment(1),
        "query" => PeerFrom::query_param("user"),
        "client" => PeerFrom::client_address(),
        "extension" => PeerFrom::extension(|user: &u64| PeerKey::from(*user)),
        other => panic!("{other}"),
    };
    type Edit = fn(&mut http::request::Parts);
    let cases: &[(&str, Edit, Edit)] = &[
        (
            "header",
            |h| drop(h.headers.insert("x-room", "7".parse().unwrap())),
            |h| {
                drop(h.headers.insert("x-room", "8".parse().unwrap()));
            },
        ),
        (
            "header",
            |h| _ = h.headers.append("x-room", "7".parse().unwrap()),
            |h| {
                h.headers.append("x-room", "7".parse().unwrap());
                h.headers.append("x-room", "7".parse().unwrap());
            },
        ),
        (
            "cookie",
            |h| drop(h.headers.insert("cookie", "a=1; sid=x".parse().unwrap())),
            |h| {
                drop(h.headers.insert("cookie", "sid=y; xsid=x".parse().unwrap()));
            },
        ),
        (
            "bearer",
            |h| drop(h.headers.insert("authorization", "Bearer x".parse().unwrap())),
            |h| {
                drop(h.headers.insert("authorization", "bearer X".parse().unwrap()));
            },
        ),
        (
            "path",
            |h| h.uri = "/whip/a".parse().unwrap(),
            |h| h.uri = "/whip/b".parse().unwrap(),
        ),
        (
            "segment",
            |h| h.uri = "/whip/a/1".parse().unwrap(),
            |h| h.uri = "/whip/b/1".parse().unwrap(),
        ),
        (
            "query",
            |h| h.uri = "/?x=1&user=a".parse().unwrap(),
            |h| h.uri = "/?user=b&user=a".parse().unwrap(),
        ),
        (
            "client",
            |h| _ = h.extensions.insert(std::net::SocketAddr::from(([127, 0, 0, 1], 1))),
            |h| _ = h.extensions.insert(std::net::SocketAddr::from(([127, 0, 0, 2], 1))),
        ),
        (
            "extension",
            |h| _ = h.extensions.insert(1_u64),
            |h| _ = h.extensions.insert(2_u64),
        ),
    ];
    for (name, one, other) in cases {
        let offers = HttpOffers::new().peer(part(name));
        let peer = |edit: Option<&Edit>| {
            let (mut head, ()) = Request::post("/").body(()).unwrap().into_parts();
            edit.into_iter().for_each(|edit| edit(&mut head));
            offers.peer_of(&head)
        };
        assert_eq!(
            peer(None).is_some(),
            *name == "path",
            "{name}: found in a request without it"
        );
        assert!(peer(Some(one)).is_some(), "{name}");
        assert_eq!(peer(Some(one)), peer(Some(one)), "{name}");
        assert_ne!(peer(Some(one)), peer(Some(other)), "{name}");
    }
}

#[test]
fn header_values_stay_in_their_part() {
    let offers = HttpOffers::new()
        .peer(PeerFrom::header("a".parse().unwrap()))
        .peer(PeerFrom::header("b".parse().unwrap()));
    let peer = |fields: &[(&'static str, &str)]| {
        let mut request = Request::post("/");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        offers.peer_of(&request.body(()).unwrap().into_parts().0).unwrap()
    };
    assert_ne!(
        peer(&[("a", "1"), ("a", "2"), ("b", "3")]),
        peer(&[("a", "1"), ("b", "2"), ("b", "3")])
    );
}

#[test]
fn odd_values_never_panic() {
    let cases: &[(&str, &[u8], bool)] = &[
        ("authorization", b"Bearer", false),
        ("authorization", b"Bearer ", false),
        ("authorization", b"Bearerx", false),
        ("authorization", b"Basic Zm9v", false),
        ("authorization", b"\xff\xfe\xfd\xfc\xfb\xfa\xf9", false),
        ("authorization", b"Bearer \xff\xfe", true),
        ("cookie", b"sid", false),
        ("cookie", b"=;;;sid=\xff;", true),
    ];
    for (header, value, expected) in cases {
        let part = if *header == "cookie" {
            PeerFrom::cookie("sid")
        } else {
            PeerFrom::bearer()
        };
        let (mut head, ()) = Request::post("/").body(()).unwrap().into_parts();
        head.headers
            .insert(*header, http::HeaderValue::from_bytes(value).unwrap());
        let found = HttpOffers::new().peer(part).peer_of(&head);
        assert_eq!(
            found.is_some(),
            *expected,
            "{header}: {:?}",
            String::from_utf8_lossy(value)
        );
    }
}

#[test]
fn debug_shows_no_token() {
    let offers = HttpOffers::new().peer(PeerFrom::bearer());
    let (mut head, ()) = Request::post("/").body(()).unwrap().into_parts();
    head.headers
        .insert("authorization", "Bearer verysecret".parse().unwrap());
    let shown = format!("{offers:?} {:?} {:?}", offers.peer_of(&head), HttpAnswer::replaying());
    assert!(!shown.contains("verysecret"), "{shown}");
}

#[tokio::test]
async fn whep_viewers_never_wait_for_each_other() {
    let layer = OfferDedupLayer::whep().build();
    let mut service = layer.layer(service_fn(|_: Request<BufferedBody<RequestBody>>| async {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
    }));
    let viewers = [
        "v=0\r\no=- 1 1 IN IP4 1\r\n",
        "v=0\r\no=- 2 1 IN IP4 1\r\n",
        "v=0\r\no=- 1 1 IN IP4 1\r\n",
    ];
    let mut calls = viewers.map(|sdp| spawn(service.call(post("/whep/stage", "application/sdp", full(sdp)))));
    for call in &mut calls {
        assert_pending!(call.poll());
    }
    let stats = layer.handle().stats();
    assert_eq!((stats.claims, stats.waiters), (2, 1));
}

#[test]
fn log_shows_path_only_as_label() {
    for (offers, expected) in [
        (HttpOffers::new(), None),
        (
            HttpOffers::new().label(|head| head.uri.path().to_owned()),
            Some("/whip/SECRETKEY"),
        ),
    ] {
        let (captured, _guard) = CapturedEvents::capture();
        let layer = OfferDedupLayer::builder()
            .offers(offers)
            .answer(HttpAnswer::refusing())
            .build();
        let inner =
            service_fn(|_: Request<BufferedBody<String>>| async { Ok::<_, Infallible>(Response::new(String::new())) });
        let service = layer.layer(inner);
        for _ in 0..2 {
            let post = Request::post("/whip/SECRETKEY").header("content-type", "application/sdp");
            let sent = service.clone().oneshot(post.body("v=0".to_owned()).unwrap());
            sent.now_or_never().unwrap().unwrap();
        }
        let entries = captured.take();
        let peer = entries[0].field("peer").unwrap();
        assert_eq!(peer.contains("SECRET").then_some(peer), expected, "{entries:?}");
    }
}

#[test]
fn delete_may_end_a_session() {
    let uri = |path: &str, authority: &str, credentials: [u8; 16]| {
        SessionUri::new(path.as_bytes(), authority.as_bytes(), &credentials)
    };
    let ending = |request: http::request::Builder| match HttpOffers::new()
        .filter(|_| false)
        .extract(request.method("DELETE").body(full("")).unwrap())
    {
        Found::Ending(_, uri) => uri,
        other => panic!("{other:?}"),
    };
    let over_http_1 = Request::builder().uri("/session/%37?a=1").header("host", "Example.com");
    let over_http_2 = Request::builder().uri("https://example.com:443/session/7?a=1");
    assert_eq!(ending(over_http_1), uri("/session/7?a=1", "example.com", [0; 16]));
    assert_eq!(ending(over_http_2), uri("/session/7?a=1", "example.com", [0; 16]));

    let with_token = Request::builder()
        .uri("/session/7?a=1")
        .header("authorization", "Bearer t");
    assert_ne!(ending(with_token), uri("/session/7?a=1", "", [0; 16]));
    assert_eq!(
        ending(Request::builder().uri("/session/7?a=1")),
        uri("/session/7?a=1", "", [0; 16])
    );
}

#[tokio::test]
async fn handler_gets_the_session() {
    let layer = OfferDedupLayer::whip().build();
    let sessions = Arc::new(Mutex::new(Vec::<OfferSession>::new()));
    let service = {
        let sessions = Arc::clone(&sessions);
        layer.layer(service_fn(move |request: Request<BufferedBody<RequestBody>>| {
            let session = request.extensions().get().cloned();
            sessions.lock().unwrap().extend(session);
            async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::new()))) }
        }))
    };
    let send = || service.clone().oneshot(post("/whip", "application/sdp", full(SDP)));
    for round in 1..=2 {
        send().await.unwrap();
        send().await.unwrap();
        let sessions = sessions.lock().unwrap();
        assert_eq!(sessions.len(), round);
        assert!(sessions[round - 1].forget());
    }
}

#[tokio::test(start_paused = true)]
async fn layer_around_its_own_clone_passes() {
    let (captured, _guard) = CapturedEvents::capture();
    let layer = OfferDedupLayer::whip().when_busy(WhenBusy::Refuse).build();
    let inner = service_fn(|request: Request<BufferedBody<BufferedBody<RequestBody>>>| async {
        let body = request.into_body().collect().await?.to_bytes();
        Ok::<_, BoxError>(Response::new(Full::new(body)))
    });
    let service = layer.layer(layer.clone().layer(inner));
    let start = tokio::time::Instant::now();
    for path in ["/whip/a", "/whip/b", "/whip/a"] {
        let sent = service.clone().oneshot(post(path, "application/sdp", full(SDP)));
        let response = sent.await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, SDP);
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    let stats = layer.handle().stats();
    assert_eq!((stats.admitted, stats.replayed, stats.passed), (2, 1, 2));
    let entries = captured.take();
    let warnings = entries.iter().filter(|entry| entry.level == tracing::Level::WARN);
    assert_eq!(warnings.count(), 1, "{entries:?}");
}
