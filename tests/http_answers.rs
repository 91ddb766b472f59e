//! Answers over HTTP: refusals, and what is recorded and replayed.

mod support;

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Request, Response, StatusCode, header, response::Parts};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use support::captured_events::CapturedEvents;
use tokio::time::Instant;
use tower::{BoxError, Layer, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_offer_dedup::{
    OfferDedupHandle, OfferDedupLayer, Reason, Refusal,
    answer::Answer,
    builder::Inline,
    http::{BufferedBody, HttpAnswer, HttpOffers, PeerFrom, Refusing},
};
use tracing::Level;

/// As a server's: neither `Clone` nor `Sync`.
type Body = UnsyncBoxBody<Bytes, BoxError>;
type Client = BoxCloneSyncService<Request<Full<Bytes>>, Response<BufferedBody<Body>>, BoxError>;

const MILLI: Duration = Duration::from_millis(1);
const SDP: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";

fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into())
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

/// A body of unknown length.
fn streamed(frames: Vec<Result<&'static str, BoxError>>) -> Body {
    let frames = frames
        .into_iter()
        .map(|frame| frame.map(|data| Frame::data(Bytes::from(data))));
    StreamBody::new(stream::iter(frames)).boxed_unsync()
}

/// A server that numbers its answers: `answer(n)` is the n-th.
fn server(
    answer: impl Fn(usize) -> Response<Body> + Clone + Send + Sync + 'static,
) -> (Client, Arc<AtomicUsize>, OfferDedupHandle) {
    let layer = OfferDedupLayer::whip().build();
    let (handle, calls) = (layer.handle(), Arc::new(AtomicUsize::new(0)));
    let inner = {
        let calls = Arc::clone(&calls);
        service_fn(move |_: Request<BufferedBody<Full<Bytes>>>| {
            let response = answer(calls.fetch_add(1, SeqCst));
            async move { Ok::<_, BoxError>(response) }
        })
    };
    (BoxCloneSyncService::new(layer.layer(inner)), calls, handle)
}

fn offer(path: &str, token: &str, sdp: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(path)
        .header(header::CONTENT_TYPE, "application/sdp")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Full::new(sdp.into()))
        .unwrap()
}

async fn send(client: &Client, request: Request<Full<Bytes>>) -> (StatusCode, HeaderMap, Bytes) {
    let (head, body) = client.clone().oneshot(request).await.unwrap().into_parts();
    (head.status, head.headers, body.collect().await.unwrap().to_bytes())
}

fn created(n: usize, body: Body) -> Response<Body> {
    Response::builder()
        .status(StatusCode::CREATED)
        .header(header::LOCATION, format!("/session/{n}"))
        .body(body)
        .unwrap()
}

fn refused(answer: &HttpAnswer<Refusing>, refusal: &Refusal) -> Response<BufferedBody<Body>> {
    let Ok(refused) = Answer::<Response<Body>, Infallible>::refuse(answer, refusal);
    refused
}

#[test]
fn every_reason_has_a_problem_document() {
    let second = Some("1");
    let cases = [
        (Reason::InFlight, 409, second),
        (Reason::Busy, 409, second),
        (Reason::CoolingDown, 409, second),
        (Reason::Processed, 409, None),
        (Reason::NotRecorded, 409, None),
        (Reason::Superseded, 409, None),
        (Reason::QueueFull, 503, second),
        (Reason::TimedOut, 503, second),
        (Reason::Aborted, 503, second),
        (Reason::StoreUnavailable, 503, second),
        (Reason::BodyTooLarge, 413, None),
        (Reason::BodyTimedOut, 408, None),
        (Reason::PeerMissing, 400, None),
    ];
    for (reason, status, retry_after) in cases {
        let refused = refused(&HttpAnswer::refusing(), &Refusal::new(reason));
        let (head, body) = refused.into_parts();
        let body = futures_util::FutureExt::now_or_never(body.collect())
            .unwrap()
            .unwrap()
            .to_bytes();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();

        assert_eq!(head.status, status, "{reason}");
        assert_eq!(
            head.headers.get("retry-after").map(|value| value.to_str().unwrap()),
            retry_after,
            "{reason}"
        );
        assert_eq!(head.headers["content-type"], "application/problem+json");
        assert_eq!(head.headers["content-length"], body.len().to_string());
        assert_eq!(head.extensions.get::<Refusal>().unwrap().reason(), reason);
        assert_eq!(problem["status"], status, "{reason}");
        assert!(
            problem["type"].as_str().unwrap().ends_with(reason.as_str()),
            "{problem}"
        );
    }
}

#[test]
fn retry_after_is_rounded_up() {
    let refusal = Refusal::with_retry_after(Reason::CoolingDown, Duration::from_millis(1001));
    let refused = refused(&HttpAnswer::refusing(), &refusal);
    assert_eq!(refused.headers()["retry-after"], "2");
}

#[test]
fn endless_retry_after_is_a_number() {
    let refusal = Refusal::with_retry_after(Reason::CoolingDown, Duration::MAX);
    let refused = refused(&HttpAnswer::refusing(), &refusal);
    assert_eq!(refused.headers()["retry-after"], u64::MAX.to_string());
}

#[test]
fn refusals_are_replaceable() {
    let answer = HttpAnswer::refusing().refuse_with(|refusal| {
        let mut response = Response::new(Bytes::from(refusal.to_string()));
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        response
    });
    let refused = refused(&answer, &Refusal::new(Reason::Busy));
    assert_eq!(refused.status(), StatusCode::IM_A_TEAPOT);
    assert!(refused.extensions().get::<Refusal>().is_some());
}

#[tokio::test]
async fn replay_repeats_the_answer_and_is_marked() {
    let (client, calls, _) = server(|n| {
        let mut response = created(n, full("an answer"));
        for (name, value) in [
            ("etag", "\"x\""),
            ("link", "<stun:a>; rel=ice-server"),
            ("link", "<stun:b>; rel=ice-server"),
            ("content-type", "application/sdp"),
            ("date", "Sun, 22 Nov 2026 14:41:58 GMT"),
            ("connection", "keep-alive, X-Hop"),
            ("keep-alive", "timeout=5"),
            ("x-hop", "1"),
            ("proxy-connection", "keep-alive"),
            ("transfer-encoding", "chunked"),
        ] {
            response.headers_mut().append(name, value.parse().unwrap());
        }
        response
    });
    let (status, first, body) = send(&client, offer("/whip/a", "t", SDP)).await;
    assert_eq!(
        (status, &body[..], first.len()),
        (StatusCode::CREATED, b"an answer".as_slice(), 11)
    );

    let (status, second, body) = send(&client, offer("/whip/a", "t", SDP)).await;
    assert_eq!((status, &body[..]), (StatusCode::CREATED, b"an answer".as_slice()));
    let expected = [
        ("location", "/session/0"),
        ("etag", "\"x\""),
        ("link", "<stun:a>; rel=ice-server"),
        ("link", "<stun:b>; rel=ice-server"),
        ("content-type", "application/sdp"),
        ("content-length", "9"),
        ("offer-replayed", "true"),
    ];
    let got: Vec<_> = second
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    assert_eq!(got.len(), expected.len(), "{got:?}");
    assert!(expected.iter().all(|field| got.contains(field)), "{got:?}");
    assert_eq!(calls.load(SeqCst), 1);
}

#[tokio::test]
async fn answer_is_recorded_up_to_the_cap() {
    let bodies: [(fn() -> Body, bool); 5] = [
        (|| full("answer"), true),
        (|| streamed(vec![Ok("an "), Ok("answer")]), true),
        (|| full(vec![b'x'; 64 * 1024]), true),
        (|| full(vec![b'x'; 64 * 1024 + 1]), false),
        (|| Endless(65).boxed_unsync(), false),
    ];
    for (body, is_recorded) in bodies {
        let (client, calls, handle) = server(move |n| created(n, body()));
        let (status, _, first) = send(&client, offer("/whip/a", "t", SDP)).await;
        assert_eq!(status, StatusCode::CREATED);
        let (status, headers, second) = send(&client, offer("/whip/a", "t", SDP)).await;
        if is_recorded {
            assert_eq!((status, second.len()), (StatusCode::CREATED, first.len()));
            assert_eq!(headers["content-length"], first.len().to_string());
        } else {
            assert_eq!((status, headers.get("retry-after")), (StatusCode::CONFLICT, None));
            assert!(second.ends_with(b"\"status\":409}") && second.windows(12).any(|w| w == b"not_recorded"));
        }
        assert_eq!(calls.load(SeqCst), 1);
        assert_eq!(handle.stats().not_recorded, u64::from(!is_recorded));
    }
}

/// A body of some KiB, without a length.
struct Endless(usize);

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let left = self.0.checked_sub(1);
        self.0 = left.unwrap_or_default();
        std::task::Poll::Ready(left.map(|_| Ok(Frame::data(Bytes::from_static(&[b'x'; 1024])))))
    }
}

/// A body that says `an `, then `answer` after `pause`.
fn slow(pause: Duration) -> Body {
    let rest = stream::once(async move {
        tokio::time::sleep(pause).await;
        Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"answer")))
    });
    let first = stream::iter([Ok(Frame::data(Bytes::from_static(b"an ")))]);
    StreamBody::new(first.chain(rest)).boxed_unsync()
}

#[tokio::test(start_paused = true)]
async fn answer_is_read_for_one_second() {
    let second = Duration::from_secs(1);
    for (pause, is_recorded) in [(second - MILLI, true), (second + MILLI, false)] {
        let (client, calls, _) = server(move |n| created(n, slow(pause)));
        let start = Instant::now();
        let first = client.clone().oneshot(offer("/whip/a", "t", SDP)).await.unwrap();
        // The head goes out after a second at the latest, and the body as it comes.
        assert_eq!(start.elapsed(), pause.min(second));
        let body = first.into_body().collect().await.unwrap().to_bytes();
        assert_eq!((&body[..], start.elapsed()), (&b"an answer"[..], pause));

        let (status, _, second) = send(&client, offer("/whip/a", "t", SDP)).await;
        if is_recorded {
            assert_eq!((status, &second[..]), (StatusCode::CREATED, &b"an answer"[..]));
        } else {
            assert_eq!(status, StatusCode::CONFLICT);
        }
        assert_eq!(calls.load(SeqCst), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn only_first_unrecorded_answer_warns() {
    let (captured, _guard) = CapturedEvents::capture();
    let (client, ..) = server(|n| created(n, full(vec![b'x'; 64 * 1024 + 1])));
    for stream in ["/whip/a", "/whip/b", "/whip/c"] {
        send(&client, offer(stream, "t", SDP)).await;
    }
    let entries = captured.take();
    let levels: Vec<_> = entries
        .iter()
        .filter(|entry| entry.message.contains("answer not recorded"))
        .map(|entry| entry.level)
        .collect();
    assert_eq!(levels, [Level::WARN, Level::DEBUG, Level::DEBUG]);
}

#[tokio::test]
async fn success_if_reads_head_and_body() {
    let builder = || {
        OfferDedupLayer::builder()
            .offers(HttpOffers::new())
            .cooldown(Duration::ZERO)
    };
    let is_code_zero = |head: &Parts, body: Option<&[u8]>| {
        head.status.is_success() && body.is_none_or(|body| body.starts_with(br#"{"code":0}"#))
    };
    // The code of the n-th answer, and the calls for two equal offers.
    for (code, expected_calls) in [(0, 1), (5020, 2)] {
        let calls = Arc::new(AtomicUsize::new(0));
        let inner = {
            let calls = Arc::clone(&calls);
            service_fn(move |_: Request<BufferedBody<Full<Bytes>>>| {
                calls.fetch_add(1, SeqCst);
                let body = streamed(vec![
                    Ok("{"),
                    Ok("\"code\":"),
                    Ok(if code == 0 { "0}" } else { "5020}" }),
                ]);
                async move { Ok::<_, BoxError>(Response::new(body)) }
            })
        };
        let replaying = builder()
            .answer(HttpAnswer::replaying().success_if(is_code_zero))
            .build()
            .layer(inner.clone());
        let refusing = builder()
            .answer(HttpAnswer::refusing().success_if(is_code_zero))
            .build()
            .layer(inner);
        let clients = [
            (Client::new(replaying), StatusCode::OK),
            (
                Client::new(refusing),
                if code == 0 {
                    StatusCode::CONFLICT
                } else {
                    StatusCode::OK
                },
            ),
        ];
        for (client, second) in clients {
            calls.store(0, SeqCst);
            assert_eq!(send(&client, offer("/rtc", "t", SDP)).await.0, StatusCode::OK);
            assert_eq!(send(&client, offer("/rtc", "t", SDP)).await.0, second, "{code}");
            assert_eq!(calls.load(SeqCst), expected_calls, "{code}");
        }
    }
}

#[tokio::test]
async fn success_if_gets_no_oversized_body() {
    let (seen, layer) = {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sees = Arc::clone(&seen);
        let answer = HttpAnswer::refusing().success_if(move |_, body| {
            sees.lock().unwrap().push(body.map(<[u8]>::len));
            true
        });
        (
            seen,
            OfferDedupLayer::builder()
                .offers(HttpOffers::new())
                .answer(answer)
                .build(),
        )
    };
    for (path, length) in [("/a", 64 * 1024), ("/b", 64 * 1024 + 1)] {
        let service = layer.layer(service_fn(move |_: Request<BufferedBody<Full<Bytes>>>| async move {
            Ok::<_, BoxError>(created(0, full(vec![b'x'; length])))
        }));
        let (_, _, body) = send(&Client::new(service), offer(path, "t", SDP)).await;
        assert_eq!(body.len(), length);
    }
    assert_eq!(*seen.lock().unwrap(), [Some(64 * 1024), None]);
}

#[tokio::test]
async fn fields_of_one_response_are_not_repeated() {
    let once = [
        "set-cookie",
        "date",
        "age",
        "server-timing",
        "ratelimit",
        "ratelimit-policy",
        "ratelimit-remaining",
        "x-ratelimit-limit",
        "x-rate-limit-reset",
        "request-id",
        "x-request-id",
        "correlation-id",
        "x-correlation-id",
        "x-trace-id",
        "traceparent",
        "tracestate",
        "traceresponse",
    ];
    let hop_by_hop = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
        "x-hop",
    ];
    let repeated = [
        "location",
        "etag",
        "link",
        "content-type",
        "access-control-allow-origin",
        "retry-after",
        "x-custom",
    ];
    let answered = move |keep: Option<bool>| {
        let answer = match keep {
            Some(keep) => HttpAnswer::replaying().keep_field(move |_, _| keep),
            None => HttpAnswer::replaying(),
        };
        let layer = OfferDedupLayer::builder()
            .offers(HttpOffers::new())
            .answer(answer)
            .build();
        layer.layer(service_fn(move |_: Request<BufferedBody<Full<Bytes>>>| async move {
            let mut response = Response::new(full("an answer"));
            for name in once.into_iter().chain(hop_by_hop).chain(repeated) {
                response.headers_mut().insert(name, "x-hop".parse().unwrap());
            }
            Ok::<_, BoxError>(response)
        }))
    };
    let always = ["content-length", "offer-replayed"];
    for (keep, expected) in [
        (None, [&repeated[..], &always].concat()),
        (Some(true), [&repeated[..], &once, &always].concat()),
        (Some(false), always.to_vec()),
    ] {
        let client = Client::new(answered(keep));
        send(&client, offer("/whip", "t", SDP)).await;
        let (_, headers, _) = send(&client, offer("/whip", "t", SDP)).await;
        let got: BTreeSet<_> = headers.keys().map(|name| name.as_str()).collect();
        assert_eq!(got, BTreeSet::from_iter(expected), "{keep:?}");
    }
}

/// A body that is longer than it declares.
struct Liar(usize);

impl http_body::Body for Liar {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0 = match self.0.checked_sub(1) {
            Some(left) => left,
            None => return std::task::Poll::Ready(None),
        };
        std::task::Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 1024])))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(1)
    }
}

#[tokio::test]
async fn body_longer_than_declared_passes_whole() {
    let (client, ..) = server(|n| created(n, Liar(100).boxed_unsync()));
    let (_, _, first) = send(&client, offer("/whip/a", "t", SDP)).await;
    assert_eq!(first.len(), 100 * 1024);
    let (status, ..) = send(&client, offer("/whip/a", "t", SDP)).await;
    assert_eq!(status, StatusCode::CONFLICT);
}

/// Sends a part of what it declared, pauses, then fails.
struct Failing {
    sends: Option<Bytes>,
    pauses: usize,
}

impl Failing {
    fn body() -> Body {
        let sends = Some(Bytes::from_static(b"an"));
        Self { sends, pauses: 100 }.boxed_unsync()
    }
}

impl http_body::Body for Failing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(sent) = self.sends.take() {
            return std::task::Poll::Ready(Some(Ok(Frame::data(sent))));
        }
        self.pauses = match self.pauses.checked_sub(1) {
            Some(left) => left,
            None => return std::task::Poll::Ready(Some(Err("cut".into()))),
        };
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(100)
    }
}

#[tokio::test]
async fn broken_answer_passes_and_is_not_remembered() {
    let (client, calls, _) = server(|n| match n {
        0 => created(n, Failing::body()),
        _ => created(n, full("an answer")),
    });
    let mut body = client
        .clone()
        .oneshot(offer("/whip/a", "t", SDP))
        .await
        .unwrap()
        .into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "an");
    assert_eq!(body.frame().await.unwrap().unwrap_err().to_string(), "cut");

    let (status, _, retried) = send(&client, offer("/whip/a", "t", SDP)).await;
    assert_eq!(
        (status, &retried[..], calls.load(SeqCst)),
        (StatusCode::CREATED, b"an answer".as_slice(), 2)
    );
}

#[tokio::test]
async fn one_waiter_leads_after_broken_answer() {
    let (client, calls, handle) = server(|n| match n {
        0 => created(n, Failing::body()),
        _ => created(n, full("an answer")),
    });
    let sent = || send(&client, offer("/whip/a", "t", SDP));
    let (first, second, third) = tokio::join!(client.clone().oneshot(offer("/whip/a", "t", SDP)), sent(), sent());
    assert_eq!(first.unwrap().status(), StatusCode::CREATED);
    for (status, _, body) in [second, third] {
        assert_eq!((status, &body[..]), (StatusCode::CREATED, b"an answer".as_slice()));
    }
    let stats = handle.stats();
    assert_eq!(
        (calls.load(SeqCst), stats.failed, stats.replayed),
        (2, 1, 1),
        "{stats:?}"
    );
}

#[tokio::test]
async fn empty_answer_has_no_content_length() {
    let (client, ..) = server(|_| {
        let mut response = Response::new(full(""));
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    });
    send(&client, offer("/whip/a", "t", SDP)).await;
    let (status, headers, _) = send(&client, offer("/whip/a", "t", SDP)).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(headers["offer-replayed"], "true");
    assert!(!headers.contains_key("content-length"));
}

/// A piece of a large buffer, which it keeps alive.
struct Piece(Arc<[u8]>);

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.0[..9]
    }
}

#[tokio::test]
async fn record_keeps_no_larger_buffer_alive() {
    let buffer: Arc<[u8]> = vec![b'x'; 64 * 1024].into();
    let held = Arc::clone(&buffer);
    let (client, ..) = server(move |n| {
        let piece = || Bytes::from_owner(Piece(Arc::clone(&held)));
        let mut response = created(n, full(piece()));
        let value = header::HeaderValue::from_maybe_shared(piece()).unwrap();
        response.headers_mut().insert("etag", value);
        response
    });
    for _ in 0..2 {
        let (_, headers, body) = send(&client, offer("/whip/a", "t", SDP)).await;
        assert_eq!(headers["etag"], "xxxxxxxxx");
        assert_eq!(body, "xxxxxxxxx");
    }
    // Here, and in the server.
    assert_eq!(Arc::strong_count(&buffer), 2);
}

#[tokio::test]
async fn only_2xx_is_remembered() {
    for (status, is_remembered) in [
        (200, true),
        (201, true),
        (302, false),
        (404, false),
        (500, false),
        (503, false),
    ] {
        let (client, calls, _) = server(move |n| {
            let mut response = created(n, full("body"));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response
        });
        for _ in 0..2 {
            assert_eq!(send(&client, offer("/whip/a", "t", SDP)).await.0, status);
        }
        assert_eq!(calls.load(SeqCst), if is_remembered { 1 } else { 2 }, "{status}");
    }
}

#[tokio::test]
async fn answer_goes_to_its_principal_only() {
    let (client, calls, handle) = server(|n| created(n, full(format!("secret {n}"))));
    send(&client, offer("/whip/a", "victim", SDP)).await;
    for (path, token) in [
        ("/whip/a", "thief"),
        ("/whip/b", "victim"),
        ("/whip/a", "victim"),
        ("/whip/a", ""),
    ] {
        let (_, headers, body) = send(&client, offer(path, token, SDP)).await;
        let is_victim = token == "victim" && path == "/whip/a";
        assert_eq!(headers.contains_key("offer-replayed"), is_victim, "{path} {token:?}");
        assert_eq!(&body[..] == b"secret 0", is_victim, "{path} {token:?}");
    }
    assert_eq!(calls.load(SeqCst), 4);

    handle.clear();
    let (_, headers, _) = send(&client, offer("/whip/a", "victim", SDP)).await;
    assert!(!headers.contains_key("offer-replayed"));
}

#[tokio::test]
async fn different_offer_makes_a_new_session() {
    let (client, calls, _) = server(|n| created(n, full("an answer")));
    for sdp in [SDP.to_owned(), SDP.replace("1 2", "1 3"), SDP.replace("1 2", "7 2")] {
        let (_, headers, _) = send(&client, offer("/whip/a", "t", sdp)).await;
        assert!(!headers.contains_key("offer-replayed"));
    }
    assert_eq!(calls.load(SeqCst), 3);
}

#[tokio::test]
async fn refused_duplicate_gets_409() {
    let layer = OfferDedupLayer::builder()
        .offers(HttpOffers::new().peer(PeerFrom::path()))
        .answer(HttpAnswer::refusing())
        .build();
    let service: tower_offer_dedup::OfferDedup<_, _, _, Inline> =
        layer.layer(service_fn(|_: Request<BufferedBody<Full<Bytes>>>| async {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("an answer"))))
        }));
    let first = service.clone().oneshot(offer("/offer", "t", SDP)).await.unwrap();
    let second = service.oneshot(offer("/offer", "t", SDP)).await.unwrap();
    assert_eq!(
        (first.status(), second.status()),
        (StatusCode::OK, StatusCode::CONFLICT)
    );
}
