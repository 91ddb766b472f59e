//! The layers of tower-http around the layer and inside it: each row of the table in `src/guide/placement.md`.
//!
//! `outside` means that the other layer sees the request first. With `Router::layer` it is then added last.

mod support;

use std::{
    io::{Read, Write},
    panic,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::DefaultBodyLimit, response::IntoResponse, routing::post};
use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use support::captured_events::CapturedEvents;
use tokio::{sync::Semaphore, task::JoinHandle};
use tower::{Layer, ServiceExt};
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::CompressionLayer,
    cors::{AllowOrigin, CorsLayer},
    decompression::{DecompressionLayer, RequestDecompressionLayer},
    limit::RequestBodyLimitLayer,
    normalize_path::NormalizePathLayer,
    request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer},
    sensitive_headers::{SetSensitiveHeadersLayer, SetSensitiveRequestHeadersLayer, SetSensitiveResponseHeadersLayer},
    timeout::{ResponseBodyTimeoutLayer, TimeoutLayer},
    trace::TraceLayer,
    validate_request::ValidateRequestHeaderLayer,
};
use tower_offer_dedup::{
    JsonOffers, OfferDedupLayer,
    builder::Detached,
    http::{HttpAnswer, HttpOffers},
};

type Dedup = OfferDedupLayer<HttpOffers, HttpAnswer, Detached>;
type Fields<'a> = &'a [(&'static str, &'a str)];

const SECOND: Duration = Duration::from_secs(1);

/// An SDP offer, different for each `id`.
fn sdp(id: u32) -> String {
    format!("v=0\r\no=- {id} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n")
}

/// A server that numbers its answers.
#[derive(Clone, Default)]
struct Server {
    calls: Arc<AtomicUsize>,
    /// Answers wait for a permit, unless this is `None`.
    permits: Option<Arc<Semaphore>>,
    panics: bool,
    sends_gzip: bool,
}

impl Server {
    fn routes(&self) -> Router {
        let server = self.clone();
        Router::new().route(
            "/whip/{stream}",
            post(move |_offer: Bytes| async move { server.answer().await }),
        )
    }

    async fn answer(self) -> Response<Body> {
        let n = self.calls.fetch_add(1, SeqCst);
        if let Some(permits) = &self.permits {
            permits.acquire().await.unwrap().forget();
        }
        assert!(!self.panics, "the handler fails");
        // Long enough to be compressed.
        let text = format!("answer {n} {}", "a=sendrecv ".repeat(20));
        let location = [(header::LOCATION, format!("/session/{n}"))];
        if self.sends_gzip {
            let gzip = [(header::CONTENT_ENCODING, "gzip")];
            return (StatusCode::CREATED, location, gzip, compressed(&text)).into_response();
        }
        (StatusCode::CREATED, location, text).into_response()
    }

    fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }

    /// Waits until that many offers have reached the handler.
    async fn called(&self, calls: usize) {
        while self.calls() < calls {
            tokio::task::yield_now().await;
        }
    }
}

fn dedup() -> Dedup {
    OfferDedupLayer::whip().build()
}

fn json_dedup() -> Dedup {
    let offers = HttpOffers::new().json(JsonOffers::new().sdp("/sdp"));
    OfferDedupLayer::whip().offers(offers).build()
}

fn request(uri: &str, fields: Fields<'_>, body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::post(uri).header(header::CONTENT_TYPE, "application/sdp");
    for (name, value) in fields {
        request.headers_mut().unwrap().insert(*name, value.parse().unwrap());
    }
    request.body(body.into()).unwrap()
}

#[derive(Debug, PartialEq)]
struct Answer {
    status: StatusCode,
    fields: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.get_all(name).iter();
        let value = values.next()?;
        assert_eq!(values.next(), None, "two fields {name}");
        value.to_str().ok()
    }

    fn is_replayed(&self) -> bool {
        self.field("offer-replayed") == Some("true")
    }

    /// The number of the answer.
    fn number(&self) -> &str {
        let text = std::str::from_utf8(&self.body).expect("the answer should be plain");
        text.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {text:?}"))
    }
}

async fn send<B>(app: impl tower::Service<Request<Body>, Response = Response<B>>, request: Request<Body>) -> Answer
where
    B: http_body::Body<Data = Bytes>,
{
    let Ok(response) = app.oneshot(request).await else {
        panic!("the app should not fail")
    };
    let (head, body) = response.into_parts();
    let Ok(body) = body.collect().await else {
        panic!("the body should be whole")
    };
    Answer {
        status: head.status,
        fields: head.headers,
        body: body.to_bytes(),
    }
}

async fn offer(app: &Router, fields: Fields<'_>, id: u32) -> Answer {
    send(app.clone(), request("/whip/stage", fields, sdp(id))).await
}

fn spawn_offer(app: &Router, id: u32) -> JoinHandle<Answer> {
    let app = app.clone();
    tokio::spawn(async move { offer(&app, &[], id).await })
}

fn compressed(text: impl AsRef<[u8]>) -> Bytes {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(text.as_ref()).unwrap();
    gzip.finish().unwrap().into()
}

fn decompressed(bytes: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(bytes)
        .read_to_string(&mut text)
        .expect("the answer should be gzip");
    text
}

#[tokio::test]
async fn trace_outside_covers_duplicates() {
    let (events, _guard) = CapturedEvents::capture();
    for (outside, lines, spans) in [(true, 2, vec!["request"]), (false, 1, vec![])] {
        let (server, logged) = (Server::default(), Arc::new(AtomicUsize::new(0)));
        let trace = {
            let logged = Arc::clone(&logged);
            TraceLayer::new_for_http().on_response(move |_: &Response<_>, _: Duration, _: &tracing::Span| {
                logged.fetch_add(1, SeqCst);
            })
        };
        let app = if outside {
            server.routes().layer(dedup()).layer(trace)
        } else {
            server.routes().layer(trace).layer(dedup())
        };
        offer(&app, &[], 1).await;
        events.take();
        assert!(offer(&app, &[], 1).await.is_replayed());
        assert_eq!(logged.load(SeqCst), lines, "outside: {outside}");
        let duplicate = &events.take()[0];
        assert_eq!(duplicate.spans, spans, "{duplicate:?}");
    }
}

#[tokio::test]
async fn trace_outside_covers_abandoned_work() {
    let (events, _guard) = CapturedEvents::capture();
    for (outside, spans) in [(true, vec!["request"]), (false, vec![])] {
        let permits = Arc::new(Semaphore::new(0));
        let server = Server {
            permits: Some(Arc::clone(&permits)),
            ..Server::default()
        };
        let layer = dedup();
        let handle = layer.handle();
        let app = if outside {
            server.routes().layer(layer).layer(TraceLayer::new_for_http())
        } else {
            server.routes().layer(TraceLayer::new_for_http()).layer(layer)
        };
        let client = spawn_offer(&app, 1);
        server.called(1).await;
        client.abort();
        assert!(client.await.unwrap_err().is_cancelled());
        permits.add_permits(1);
        handle.drain().await;
        let events = events.take();
        assert!(!events.is_empty());
        for event in events {
            assert_eq!(event.spans, spans, "outside: {outside}: {event:?}");
        }
    }
}

#[tokio::test]
async fn cors_outside_answers_each_origin() {
    let cors = || CorsLayer::new().allow_origin(AllowOrigin::mirror_request());
    let allowed = "access-control-allow-origin";
    let [first, second] = [[("origin", "https://a.example")], [("origin", "https://b.example")]];

    let layer = dedup();
    let app = Server::default().routes().layer(layer.clone()).layer(cors());
    assert_eq!(offer(&app, &first, 1).await.field(allowed), Some("https://a.example"));
    let replay = offer(&app, &second, 1).await;
    assert!(replay.is_replayed());
    assert_eq!(replay.field(allowed), Some("https://b.example"));
    let refusal = send(app, request("/whip/stage", &second, "v=".repeat(40_000))).await;
    assert_eq!(
        (refusal.status, refusal.field(allowed)),
        (StatusCode::PAYLOAD_TOO_LARGE, Some("https://b.example"))
    );

    let app = Server::default().routes().layer(cors()).layer(dedup());
    offer(&app, &first, 1).await;
    let replay = offer(&app, &second, 1).await;
    assert!(replay.is_replayed());
    assert_eq!(replay.field(allowed), Some("https://a.example"));
    let refusal = send(app, request("/whip/stage", &second, "v=".repeat(40_000))).await;
    assert_eq!(
        (refusal.status, refusal.field(allowed)),
        (StatusCode::PAYLOAD_TOO_LARGE, None)
    );
}

#[tokio::test]
async fn compression_outside_suits_each_request() {
    let server = Server::default();
    let app = server.routes().layer(dedup()).layer(CompressionLayer::new());
    let gzip = offer(&app, &[("accept-encoding", "gzip")], 1).await;
    assert_eq!(gzip.field("content-encoding"), Some("gzip"));
    let plain = offer(&app, &[], 1).await;
    assert_eq!(plain.field("content-encoding"), None);
    assert_eq!(plain.field("content-length"), Some(&*plain.body.len().to_string()));
    let again = offer(&app, &[("accept-encoding", "gzip")], 1).await;
    assert_eq!(again.field("content-encoding"), Some("gzip"));
    assert_eq!(decompressed(&again.body).as_bytes(), plain.body);
    assert!(plain.is_replayed() && again.is_replayed());
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn compression_inside_records_one_encoding() {
    let server = Server::default();
    let app = server.routes().layer(CompressionLayer::new()).layer(dedup());
    let first = offer(&app, &[("accept-encoding", "gzip")], 1).await;
    assert_eq!(first.field("content-encoding"), Some("gzip"));
    // The compressed body had no known length, and was recorded all the same.
    let replay = offer(&app, &[], 1).await;
    assert!(replay.is_replayed());
    assert_eq!(replay.field("content-encoding"), Some("gzip"));
    assert_eq!(replay.body, first.body);
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn request_decompression_outside_finds_the_offer() {
    let layer = json_dedup();
    let server = Server::default();
    let app = server
        .routes()
        .layer(layer.clone())
        .layer(RequestDecompressionLayer::new());
    let gzip = [("content-encoding", "gzip")];
    offer(&app, &[], 1).await;
    let encoded = send(app.clone(), request("/whip/stage", &gzip, compressed(sdp(1)))).await;
    assert!(encoded.is_replayed());
    let json = serde_json::json!({ "type": "offer", "sdp": sdp(2) }).to_string();
    let fields = [("content-encoding", "gzip"), ("content-type", "application/json")];
    for _ in 0..2 {
        send(app.clone(), request("/whip/json", &fields, compressed(&json))).await;
    }
    assert_eq!(server.calls(), 2);
    let large = compressed("v=".repeat(40_000));
    assert!(large.len() < 1000);
    let refused = send(app, request("/whip/stage", &gzip, large)).await;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(layer.handle().stats().passed, 0);
}

#[tokio::test]
async fn request_decompression_inside_misses_duplicates() {
    let layer = json_dedup();
    let server = Server::default();
    let app = server
        .routes()
        .layer(RequestDecompressionLayer::new())
        .layer(layer.clone());
    let gzip = [("content-encoding", "gzip")];
    offer(&app, &[], 1).await;
    let encoded = send(app.clone(), request("/whip/stage", &gzip, compressed(sdp(1)))).await;
    assert_eq!((encoded.is_replayed(), server.calls()), (false, 2));
    let json = serde_json::json!({ "type": "offer", "sdp": sdp(2) }).to_string();
    let fields = [("content-encoding", "gzip"), ("content-type", "application/json")];
    for _ in 0..2 {
        send(app.clone(), request("/whip/json", &fields, compressed(&json))).await;
    }
    assert_eq!((server.calls(), layer.handle().stats().passed), (4, 2));
}

#[tokio::test]
async fn decompression_on_either_side_gives_plain_answers() {
    for (inside, recorded_encoding) in [(true, None), (false, Some("gzip"))] {
        let server = Server {
            sends_gzip: true,
            ..Server::default()
        };
        // Sees what the layer answers, before a layer outside changes it.
        let seen = Arc::new(Mutex::new(Vec::new()));
        let probe = {
            let seen = Arc::clone(&seen);
            tower::util::MapResponseLayer::new(move |response: Response<Body>| {
                let encoding = response.headers().get(header::CONTENT_ENCODING).cloned();
                seen.lock().unwrap().push(encoding);
                response
            })
        };
        let app = if inside {
            let inner = server.routes().layer(DecompressionLayer::new()).layer(dedup());
            inner.layer(probe)
        } else {
            let inner = server.routes().layer(dedup()).layer(probe);
            inner.layer(DecompressionLayer::new())
        };
        let first = offer(&app, &[], 1).await;
        let replay = offer(&app, &[], 1).await;
        assert!(replay.is_replayed() && replay.number() == "0" && first.number() == "0");
        assert_eq!(replay.field("content-encoding"), None);
        assert_eq!((replay.body, server.calls()), (first.body, 1));
        for encoding in seen.lock().unwrap().iter() {
            let encoding = encoding.as_ref().map(|value| value.to_str().unwrap());
            assert_eq!(encoding, recorded_encoding, "inside: {inside}");
        }
    }
}

fn time_out() -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, SECOND)
}

#[tokio::test(start_paused = true)]
async fn timeout_inside_frees_the_peer() {
    let permits = Arc::new(Semaphore::new(0));
    let server = Server {
        permits: Some(Arc::clone(&permits)),
        ..Server::default()
    };
    let app = server.routes().layer(time_out()).layer(dedup());
    let first = spawn_offer(&app, 1);
    server.called(1).await;
    let duplicate = offer(&app, &[], 1).await;
    assert_eq!(duplicate.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(first.await.unwrap().status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(server.calls(), 1, "waiting duplicates get that failure");

    permits.add_permits(1);
    assert_eq!(offer(&app, &[], 1).await.number(), "1", "the peer is free");
    assert!(offer(&app, &[], 1).await.is_replayed());
}

#[tokio::test(start_paused = true)]
async fn timeout_outside_cuts_waiting_offers_off() {
    let permits = Arc::new(Semaphore::new(0));
    let server = Server {
        permits: Some(Arc::clone(&permits)),
        ..Server::default()
    };
    let layer = dedup();
    let app = server.routes().layer(layer.clone()).layer(time_out());
    let start = tokio::time::Instant::now();
    let first = spawn_offer(&app, 1);
    server.called(1).await;
    tokio::time::advance(SECOND / 2).await;
    // It waits for its turn until the first one times out, and then has half a second left.
    let second = spawn_offer(&app, 2);
    assert_eq!(first.await.unwrap().status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(second.await.unwrap().status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!((server.calls(), start.elapsed()), (2, 3 * SECOND / 2));

    // The handler goes on unattended, and the retry gets its answer.
    permits.add_permits(1);
    layer.handle().drain().await;
    let retry = offer(&app, &[], 2).await;
    assert!(retry.is_replayed());
    assert_eq!((retry.number(), server.calls()), ("1", 2));
}

#[tokio::test]
async fn body_timeout_inside_keeps_answers_recorded() {
    let server = Server::default();
    let app = server
        .routes()
        .layer(ResponseBodyTimeoutLayer::new(SECOND))
        .layer(time_out())
        .layer(dedup());
    let first = offer(&app, &[], 1).await;
    let replay = offer(&app, &[], 1).await;
    assert!(replay.is_replayed());
    assert_eq!(replay.field("content-length"), Some(&*replay.body.len().to_string()));
    assert_eq!((replay.body, server.calls()), (first.body, 1));
}

/// Numbers the requests.
#[derive(Clone, Default)]
struct Numbered(Arc<AtomicUsize>);

impl MakeRequestId for Numbered {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<RequestId> {
        let n = self.0.fetch_add(1, SeqCst);
        Some(RequestId::new(n.to_string().parse().unwrap()))
    }
}

#[tokio::test]
async fn request_ids_outside_are_each_responses_own() {
    let name = HeaderName::from_static("x-request-id");
    let app = Server::default()
        .routes()
        .layer(dedup())
        .layer(PropagateRequestIdLayer::new(name.clone()))
        .layer(SetRequestIdLayer::new(name.clone(), Numbered::default()));
    assert_eq!(offer(&app, &[], 1).await.field("x-request-id"), Some("0"));
    let replay = offer(&app, &[], 1).await;
    assert!(replay.is_replayed());
    assert_eq!(replay.field("x-request-id"), Some("1"));

    let app = Server::default()
        .routes()
        .layer(PropagateRequestIdLayer::new(name.clone()))
        .layer(SetRequestIdLayer::new(name, Numbered::default()))
        .layer(dedup());
    assert_eq!(offer(&app, &[], 1).await.field("x-request-id"), Some("0"));
    let replay = offer(&app, &[], 1).await;
    assert!(replay.is_replayed());
    assert_eq!(replay.field("x-request-id"), None);
}

/// A body without a length that counts the bytes taken from it, 1 KiB at a time.
fn counted(chunks: usize) -> (Body, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    let frames = stream::iter(0..chunks).map(move |_| {
        counter.fetch_add(1024, SeqCst);
        Ok::<_, std::io::Error>(Bytes::from(vec![b'a'; 1024]))
    });
    (Body::from_stream(frames), taken)
}

#[tokio::test]
async fn body_limit_outside_stops_early() {
    let limit = RequestBodyLimitLayer::new(4096);
    let (layer, server) = (dedup(), Server::default());
    let outside = server.routes().layer(layer.clone()).layer(limit);
    let refused = send(
        outside.clone(),
        request("/whip/stage", &[("content-length", "8192")], "v="),
    )
    .await;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    let stats = layer.handle().stats();
    assert_eq!((stats.admitted, stats.passed, stats.unchecked), (0, 0, 0));
    // axum's extractors recognise the broken body if they do not limit it themselves.
    let own_limits = [
        (outside.clone(), StatusCode::BAD_REQUEST),
        (
            outside.layer(DefaultBodyLimit::disable()),
            StatusCode::PAYLOAD_TOO_LARGE,
        ),
    ];
    for (app, status) in own_limits {
        let (body, taken) = counted(60);
        assert_eq!(send(app, request("/whip/stage", &[], body)).await.status, status);
        assert!(taken.load(SeqCst) <= 6 * 1024, "{taken:?}");
    }

    let inside = server.routes().layer(limit).layer(dedup());
    let (body, taken) = counted(60);
    let refused = send(inside, request("/whip/stage", &[], body)).await;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(taken.load(SeqCst), 60 * 1024);
    assert_eq!(server.calls(), 0);
}

/// Keeps the panics of the handler out of the test's output.
fn silence_handler_panics() {
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref() != Some(&"the handler fails") {
            default(info);
        }
    }));
}

#[tokio::test]
async fn caught_panic_inside_is_one_failure() {
    silence_handler_panics();
    for (inside, calls) in [(true, 1), (false, 2)] {
        let permits = Arc::new(Semaphore::new(0));
        let server = Server {
            permits: Some(Arc::clone(&permits)),
            panics: true,
            ..Server::default()
        };
        let layer = dedup();
        let app = if inside {
            server.routes().layer(CatchPanicLayer::new()).layer(layer.clone())
        } else {
            server.routes().layer(layer.clone()).layer(CatchPanicLayer::new())
        };
        let first = spawn_offer(&app, 1);
        server.called(1).await;
        let duplicate = spawn_offer(&app, 1);
        while layer.handle().stats().waiters == 0 {
            tokio::task::yield_now().await;
        }
        permits.add_permits(3);
        for answer in [first, duplicate] {
            assert_eq!(answer.await.unwrap().status, StatusCode::INTERNAL_SERVER_ERROR);
        }
        assert_eq!(server.calls(), calls, "inside: {inside}");
        // Nothing is remembered on either side.
        offer(&app, &[], 1).await;
        assert_eq!(server.calls(), calls + 1, "inside: {inside}");
        assert_eq!(layer.handle().stats().claims, 0);
    }
}

#[tokio::test]
async fn sensitive_fields_are_marked_before_the_log() {
    let both = || SetSensitiveHeadersLayer::new([header::AUTHORIZATION, header::LOCATION]);
    let arrangements = [
        ("split around the log", vec![true, true, true, true]),
        // The log sees each response before it is marked.
        ("outside", vec![true, false, true, false]),
        // The log sees each request before it is marked. The recorded answer keeps its mark.
        ("inside", vec![false, true, false, true]),
    ];
    for (arrangement, marked) in arrangements {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = {
            let (requests, responses) = (Arc::clone(&seen), Arc::clone(&seen));
            TraceLayer::new_for_http()
                .on_request(move |request: &Request<_>, _: &tracing::Span| {
                    let is_marked = request.headers()[header::AUTHORIZATION].is_sensitive();
                    requests.lock().unwrap().push(is_marked);
                })
                .on_response(move |response: &Response<_>, _: Duration, _: &tracing::Span| {
                    let is_marked = response.headers()[header::LOCATION].is_sensitive();
                    responses.lock().unwrap().push(is_marked);
                })
        };
        let routes = Server::default().routes();
        let app = match arrangement {
            "outside" => routes.layer(dedup()).layer(log).layer(both()),
            "inside" => routes.layer(both()).layer(dedup()).layer(log),
            _ => routes
                .layer(dedup())
                .layer(SetSensitiveResponseHeadersLayer::new([header::LOCATION]))
                .layer(log)
                .layer(SetSensitiveRequestHeadersLayer::new([header::AUTHORIZATION])),
        };
        let token = [("authorization", "Bearer a")];
        offer(&app, &token, 1).await;
        assert!(offer(&app, &token, 1).await.is_replayed());
        assert_eq!(*seen.lock().unwrap(), marked, "{arrangement}");
    }
}

#[expect(clippy::result_large_err, reason = "the bound of `ValidateRequestHeaderLayer`")]
#[tokio::test]
async fn validation_outside_stops_revoked_tokens() {
    let is_revoked = Arc::new(AtomicBool::new(false));
    let validate = || {
        let is_revoked = Arc::clone(&is_revoked);
        ValidateRequestHeaderLayer::custom(move |_: &mut Request<_>| {
            if is_revoked.load(SeqCst) {
                return Err(StatusCode::UNAUTHORIZED.into_response());
            }
            Ok(())
        })
    };
    let token = [("authorization", "Bearer a")];

    let layer = dedup();
    let app = Server::default().routes().layer(layer.clone()).layer(validate());
    offer(&app, &token, 1).await;
    is_revoked.store(true, SeqCst);
    for id in [1, 2] {
        assert_eq!(offer(&app, &token, id).await.status, StatusCode::UNAUTHORIZED);
    }
    let stats = layer.handle().stats();
    assert_eq!((stats.admitted, stats.replayed), (1, 0));

    is_revoked.store(false, SeqCst);
    let layer = dedup();
    let app = Server::default().routes().layer(validate()).layer(layer.clone());
    offer(&app, &token, 1).await;
    is_revoked.store(true, SeqCst);
    assert!(offer(&app, &token, 1).await.is_replayed());
    assert_eq!(offer(&app, &token, 2).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(layer.handle().stats().admitted, 2);
}

#[tokio::test]
async fn normalized_paths_outside_are_one_peer() {
    let trim = NormalizePathLayer::trim_trailing_slash;
    let spellings = ["/whip/stage", "/whip/stage/"];

    let server = Server::default();
    let app = trim().layer(server.routes().layer(dedup()));
    for spelling in spellings {
        assert_eq!(
            send(app.clone(), request(spelling, &[], sdp(1))).await.status,
            StatusCode::CREATED
        );
    }
    assert_eq!(server.calls(), 1);

    let server = Server::default();
    let app = dedup().layer(trim().layer(server.routes()));
    for spelling in spellings {
        assert_eq!(
            send(app.clone(), request(spelling, &[], sdp(1))).await.status,
            StatusCode::CREATED
        );
    }
    assert_eq!(server.calls(), 2);

    let app = server.routes().layer(trim()).layer(dedup());
    let statuses = [StatusCode::CREATED, StatusCode::NOT_FOUND];
    for (spelling, status) in spellings.into_iter().zip(statuses) {
        assert_eq!(
            send(app.clone(), request(spelling, &[], sdp(3))).await.status,
            status,
            "inside a router"
        );
    }
}
