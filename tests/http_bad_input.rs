//! Bad requests: each gets its answer and leaves nothing behind.

use std::{alloc::System, convert::Infallible, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::sync::Mutex;
use tower::{BoxError, Layer, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_offer_dedup::{
    JsonOffers, OfferDedupHandle, OfferDedupLayer,
    http::{BufferedBody, HttpOffers, PeerFrom},
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

type Body = UnsyncBoxBody<Bytes, BoxError>;
type Server = BoxCloneSyncService<Request<Body>, Response<BufferedBody<Full<Bytes>>>, BoxError>;

/// Takes SDP with a bearer token, and JSON. Answers 201 with the length of the body, or 422 if the body fails.
fn server() -> (Server, OfferDedupHandle) {
    let offers = HttpOffers::new()
        .peer(PeerFrom::path())
        .peer(PeerFrom::bearer().required())
        .json(JsonOffers::new().sdp("/sdp").peer("/from"));
    let layer = OfferDedupLayer::whip()
        .offers(offers)
        .window(Duration::from_millis(1))
        .build();
    let handle = layer.handle();
    let inner = service_fn(|request: Request<BufferedBody<Body>>| async move {
        let (status, answer) = match request.into_body().collect().await {
            Ok(body) => (StatusCode::CREATED, body.to_bytes().len().to_string()),
            Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
        };
        let mut response = Response::new(Full::new(Bytes::from(answer)));
        *response.status_mut() = status;
        Ok::<_, BoxError>(response)
    });
    (BoxCloneSyncService::new(layer.layer(inner)), handle)
}

struct Case {
    name: &'static str,
    media: &'static str,
    token: &'static [u8],
    body: fn() -> Body,
    /// The status, and the body length that the inner service received.
    expected: (u16, Option<usize>),
}

fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into())
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

/// An endless body of unknown length.
fn endless(piece: &'static str) -> Body {
    let frames = stream::repeat_with(move || Ok(Frame::data(Bytes::from_static(piece.as_bytes()))));
    StreamBody::new(frames).boxed_unsync()
}

fn cut(piece: &'static str) -> Body {
    let frames = [
        Ok(Frame::data(Bytes::from_static(piece.as_bytes()))),
        Err("connection reset".into()),
    ];
    StreamBody::new(stream::iter(frames)).boxed_unsync()
}

const SDP: &str = "application/sdp";
const JSON: &str = "application/json";
const TOKEN: &[u8] = b"Bearer t";

const CASES: &[Case] = &[
    Case {
        name: "empty body",
        media: SDP,
        token: TOKEN,
        body: || full(""),
        expected: (201, Some(0)),
    },
    Case {
        name: "10 MiB",
        media: SDP,
        token: TOKEN,
        body: || full(vec![b'a'; 10 << 20]),
        expected: (413, None),
    },
    Case {
        name: "endless",
        media: SDP,
        token: TOKEN,
        body: || endless("a=b\r\n"),
        expected: (413, None),
    },
    Case {
        name: "endless, one byte at a time",
        media: SDP,
        token: TOKEN,
        body: || endless("a"),
        expected: (413, None),
    },
    Case {
        name: "cut off",
        media: SDP,
        token: TOKEN,
        body: || cut("v=0\r\n"),
        expected: (422, None),
    },
    Case {
        name: "not UTF-8",
        media: SDP,
        token: TOKEN,
        body: || full(&b"v=0\r\n\xff\xfe"[..]),
        expected: (201, Some(7)),
    },
    Case {
        name: "not SDP",
        media: SDP,
        token: TOKEN,
        body: || full("hello"),
        expected: (201, Some(5)),
    },
    Case {
        name: "an answer",
        media: SDP,
        token: TOKEN,
        body: || full("v=0\r\na=setup:active\r\n"),
        expected: (201, Some(21)),
    },
    Case {
        name: "NULs",
        media: SDP,
        token: TOKEN,
        body: || full(vec![0; 1000]),
        expected: (201, Some(1000)),
    },
    Case {
        name: "no token",
        media: SDP,
        token: b"",
        body: || full("v=0\r\n"),
        expected: (400, None),
    },
    Case {
        name: "another scheme",
        media: SDP,
        token: b"Basic Zm9v",
        body: || full("v=0\r\n"),
        expected: (400, None),
    },
    Case {
        name: "odd bytes in the token",
        media: SDP,
        token: b"Bearer \xff\x80=;,",
        body: || full("v=0\r\n"),
        expected: (201, Some(5)),
    },
    Case {
        name: "empty JSON",
        media: JSON,
        token: TOKEN,
        body: || full(""),
        expected: (201, Some(0)),
    },
    Case {
        name: "half a JSON object",
        media: JSON,
        token: TOKEN,
        body: || full(r#"{"sdp":"v=0","from":"#),
        expected: (201, Some(20)),
    },
    Case {
        name: "JSON, not UTF-8",
        media: JSON,
        token: TOKEN,
        body: || full(&b"{\"sdp\":\"\xff\"}"[..]),
        expected: (201, Some(11)),
    },
    Case {
        name: "deep JSON",
        media: JSON,
        token: TOKEN,
        body: || full("[".repeat(60_000)),
        expected: (201, Some(60_000)),
    },
    Case {
        name: "deep objects",
        media: JSON,
        token: TOKEN,
        body: || full(r#"{"sdp":"#.repeat(9_000)),
        expected: (201, Some(63_000)),
    },
    Case {
        name: "long JSON",
        media: JSON,
        token: TOKEN,
        body: || full(format!(r#"{{"sdp":"{}"}}"#, "x".repeat(1 << 20))),
        expected: (201, Some((1 << 20) + 10)),
    },
    Case {
        name: "SDP is a number",
        media: JSON,
        token: TOKEN,
        body: || full(r#"{"sdp":1,"from":"a"}"#),
        expected: (201, Some(20)),
    },
    Case {
        name: "from is an object",
        media: JSON,
        token: TOKEN,
        body: || full(r#"{"sdp":"v=0","from":{}}"#),
        expected: (201, Some(23)),
    },
    Case {
        name: "JSON cut off",
        media: JSON,
        token: TOKEN,
        body: || cut(r#"{"sdp":"#),
        expected: (422, None),
    },
];

async fn send(server: &Server, case: &Case) -> (u16, Option<usize>) {
    let mut request = Request::post("/offer").header("content-type", case.media);
    if !case.token.is_empty() {
        request = request.header("authorization", HeaderValue::from_bytes(case.token).unwrap());
    }
    // Repeated fields and odd bytes must not matter.
    request = request
        .header("x-odd", HeaderValue::from_bytes(b"\xff").unwrap())
        .header("x-odd", "again");
    let response = server
        .clone()
        .oneshot(request.body((case.body)()).unwrap())
        .await
        .unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, std::str::from_utf8(&body).unwrap().parse().ok())
}

/// Runs one test at a time, so that neither counts the other's allocations.
static ALONE: Mutex<()> = Mutex::const_new(());

#[tokio::test]
async fn each_request_has_its_answer() {
    let _alone = ALONE.lock().await;
    for case in CASES {
        let (server, handle) = server();
        assert_eq!(send(&server, case).await, case.expected, "{}", case.name);
        let stats = handle.stats();
        assert_eq!((stats.claims, stats.waiters), (0, 0), "{}", case.name);
    }
}

#[tokio::test]
async fn memory_returns_to_its_level() {
    let _alone = ALONE.lock().await;
    let (server, handle) = server();
    let light: Vec<_> = CASES
        .iter()
        .filter(|case| !["10 MiB", "long JSON"].contains(&case.name))
        .collect();
    let mut levels = Vec::new();
    for _ in 0..2 {
        for round in 0..10_000 {
            send(&server, light[round % light.len()]).await;
        }
        while handle.stats().memories > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let stats = ALLOCATOR.stats();
        levels.push(stats.bytes_allocated - stats.bytes_deallocated);
    }
    let [first, second] = levels[..] else { unreachable!() };
    assert!(
        second <= first + 64 * 1024,
        "{first} bytes after 10,000 requests, {second} after 20,000"
    );
}
