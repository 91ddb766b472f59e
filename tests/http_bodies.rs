//! Bodies of HTTP requests: caps, time limits, failures and other encodings.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::join_all, stream};
use http::{Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Channel, Full, StreamBody, combinators::UnsyncBoxBody};
use tokio::time::{Instant, sleep};
use tokio_test::{assert_pending, task::spawn};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_offer_dedup::{
    JsonOffers, OfferDedupHandle, OfferDedupLayer,
    http::{BufferedBody, HttpOffers},
};

type RequestBody = UnsyncBoxBody<Bytes, BoxError>;
type Server = BoxCloneSyncService<Request<RequestBody>, Response<BufferedBody<Full<Bytes>>>, BoxError>;

/// Each body that the handler got, or its error.
type Seen = Arc<Mutex<Vec<Result<Bytes, String>>>>;

const SDP: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
const SECOND: Duration = Duration::from_secs(1);

/// The layer around a handler that reads the body and answers 201.
fn server(offers: HttpOffers) -> (Server, Seen, OfferDedupHandle) {
    let layer = OfferDedupLayer::whip().offers(offers).build();
    let (handle, seen) = (layer.handle(), Seen::default());
    let inner = {
        let seen = Arc::clone(&seen);
        service_fn(move |request: Request<BufferedBody<RequestBody>>| {
            let seen = Arc::clone(&seen);
            async move {
                let body = request.into_body().collect().await;
                let body = body.map(|body| body.to_bytes()).map_err(|error| error.to_string());
                seen.lock().unwrap().push(body);
                let mut response = Response::new(Full::new(Bytes::from("an answer")));
                *response.status_mut() = StatusCode::CREATED;
                Ok::<_, BoxError>(response)
            }
        })
    };
    (BoxCloneSyncService::new(layer.layer(inner)), seen, handle)
}

fn json_server(offers: HttpOffers) -> (Server, Seen, OfferDedupHandle) {
    server(offers.json(JsonOffers::new().sdp("/sdp")))
}

fn post(media: Option<&str>, body: RequestBody) -> Request<RequestBody> {
    let mut request = Request::post("/whip/stage");
    if let Some(media) = media {
        request = request.header(header::CONTENT_TYPE, media);
    }
    request.body(body).unwrap()
}

fn full(body: impl Into<Bytes>) -> RequestBody {
    Full::new(body.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body without a known length, in frames of the given size.
fn streamed(body: impl Into<Vec<u8>>, size: usize) -> RequestBody {
    let body = body.into();
    let frames: Vec<_> = body.chunks(size).map(Bytes::copy_from_slice).collect();
    let frames = frames.into_iter().map(|frame| Ok(Frame::data(frame)));
    StreamBody::new(stream::iter(frames)).boxed_unsync()
}

/// A body that sends one byte a second, without end.
fn trickling(byte: &'static [u8]) -> RequestBody {
    let frames = stream::repeat(byte).then(|byte| async move {
        sleep(SECOND).await;
        Ok(Frame::data(Bytes::from_static(byte)))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// A body that must not be read.
struct Unreadable;

impl Body for Unreadable {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        panic!("the body was read")
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(10 * 1024 * 1024)
    }
}

#[tokio::test]
async fn cap_depends_on_the_media_type() {
    const SDP_CAP: usize = 64 * 1024;
    const JSON_CAP: usize = 256 * 1024;
    let cases = [
        ("application/sdp", SDP_CAP, 201, true),
        ("application/sdp", SDP_CAP + 1, 413, false),
        ("application/json", JSON_CAP, 201, true),
        ("application/json", JSON_CAP + 1, 201, false),
        ("text/plain", SDP_CAP, 201, true),
        ("text/plain", SDP_CAP + 1, 201, false),
    ];
    for (media, size, status, is_checked) in cases {
        let body = match media {
            "application/json" => format!(r#"{{"sdp":"v={}"}}"#, "0".repeat(size - 12)),
            _ => format!("v={}", "0".repeat(size - 2)),
        };
        assert_eq!(body.len(), size);
        for request in [|body: String| full(body), |body: String| streamed(body, 1000)] {
            let (service, seen, handle) = json_server(HttpOffers::new().decode(|_, body| Some(body.to_vec())));
            let response = service.oneshot(post(Some(media), request(body.clone()))).await.unwrap();
            let name = format!("{size} bytes of {media}");
            assert_eq!(response.status(), status, "{name}");
            let stats = handle.stats();
            assert_eq!(stats.admitted, u64::from(is_checked), "{name}");
            assert_eq!(stats.unchecked, u64::from(status == 201 && !is_checked), "{name}");
            let expected = (status == 201).then(|| Ok(Bytes::from(body.clone())));
            assert_eq!(*seen.lock().unwrap(), Vec::from_iter(expected), "{name}");
        }
    }
}

#[tokio::test]
async fn declared_size_over_cap_is_not_read() {
    let (service, seen, _) = server(HttpOffers::new());
    let sent = service.oneshot(post(Some("application/sdp"), Unreadable.boxed_unsync()));
    assert_eq!(sent.await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(seen.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn broken_body_reaches_the_handler() {
    for media in ["application/sdp", "application/json", "text/plain"] {
        let (service, seen, handle) = json_server(HttpOffers::new().decode(|_, _| None));
        let (mut sender, body) = Channel::<Bytes, BoxError>::new(8);
        sender.send_data(Bytes::from_static(b"v=0\r\n")).await.unwrap();
        sender.abort("cut".into());
        let sent = service.oneshot(post(Some(media), body.boxed_unsync()));
        assert_eq!(sent.await.unwrap().status(), StatusCode::CREATED, "{media}");
        assert_eq!(*seen.lock().unwrap(), [Err("cut".to_owned())], "{media}");
        let stats = handle.stats();
        assert_eq!((stats.unchecked, stats.admitted), (1, 0), "{media}");
    }
}

#[tokio::test(start_paused = true)]
async fn slow_body_is_refused_or_passes() {
    let cases = [
        (Some("application/sdp"), 408),
        (Some("application/json"), 201),
        (Some("text/plain"), 201),
        (None, 201),
    ];
    for (media, status) in cases {
        let (service, seen, handle) = json_server(HttpOffers::new().decode(|_, body| Some(body.to_vec())));
        let (mut sender, body) = Channel::<Bytes, BoxError>::new(8);
        let sending = async move {
            sender.send_data(Bytes::from_static(b"v=0")).await.unwrap();
            sleep(10 * SECOND).await;
            // Nobody takes it any more if the request was refused.
            _ = sender.send_data(Bytes::from_static(b"\r\n")).await;
        };
        let start = Instant::now();
        let sent = service.oneshot(post(media, body.boxed_unsync()));
        let (response, ()) = tokio::join!(sent, sending);
        assert_eq!(response.unwrap().status(), status, "{media:?}");
        assert_eq!(start.elapsed().as_secs(), 10, "{media:?}");
        let expected = (status == 201).then(|| Ok(Bytes::from_static(b"v=0\r\n")));
        assert_eq!(*seen.lock().unwrap(), Vec::from_iter(expected), "{media:?}");
        let stats = handle.stats();
        let counted = (stats.refused_body_timed_out, stats.unchecked, stats.admitted);
        assert_eq!(counted, if status == 408 { (1, 0, 0) } else { (0, 1, 0) }, "{media:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn body_timeout_is_a_setting() {
    for seconds in [0, 3, 60] {
        let (service, _, _) = server(HttpOffers::new().body_timeout(seconds * SECOND));
        let start = Instant::now();
        let sent = service.oneshot(post(Some("application/sdp"), trickling(b"a")));
        assert_eq!(sent.await.unwrap().status(), StatusCode::REQUEST_TIMEOUT);
        let elapsed = start.elapsed();
        let late = elapsed - seconds * SECOND;
        assert!(late < Duration::from_millis(10), "{seconds} s took {elapsed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_hundred_trickling_bodies_end() {
    let (service, _, handle) = json_server(HttpOffers::new().decode(|_, _| None));
    let media = [
        Some("application/sdp"),
        Some("application/json"),
        Some("text/plain"),
        None,
    ];
    let start = Instant::now();
    let sent = (0..200).map(|n| {
        let service = service.clone();
        async move {
            let sent = service.oneshot(post(media[n % media.len()], trickling(b"a")));
            // A body that passes keeps its pace: the handler waits for an end that never comes.
            tokio::time::timeout(20 * SECOND, sent)
                .await
                .map(|response| response.unwrap().status())
        }
    });
    let statuses = join_all(sent).await;
    let refused = statuses
        .iter()
        .filter(|status| matches!(status, Ok(StatusCode::REQUEST_TIMEOUT)));
    let passed = statuses.iter().filter(|status| status.is_err());
    assert_eq!((refused.count(), passed.count()), (50, 150));
    assert_eq!(start.elapsed().as_secs(), 20);
    let stats = handle.stats();
    assert_eq!((stats.refused_body_timed_out, stats.unchecked), (50, 150));
    assert_eq!((stats.claims, stats.waiters), (0, 0));
}

/// A body that is always ready with another empty frame.
#[tokio::test]
async fn empty_frames_cannot_hold_a_thread() {
    let frames = stream::repeat_with(|| Ok(Frame::data(Bytes::new())));
    let (service, _, _) = server(HttpOffers::new().body_timeout(Duration::from_millis(50)));
    let sent = service.oneshot(post(Some("application/sdp"), StreamBody::new(frames).boxed_unsync()));
    assert_eq!(sent.await.unwrap().status(), StatusCode::REQUEST_TIMEOUT);
}

#[test]
fn complete_body_needs_no_runtime() {
    for body in [full(SDP), streamed(SDP, 1)] {
        let layer = OfferDedupLayer::builder()
            .offers(HttpOffers::new())
            .answer(tower_offer_dedup::http::HttpAnswer::refusing())
            .build();
        let mut service = layer.layer(service_fn(|_: Request<BufferedBody<RequestBody>>| async {
            Ok::<_, BoxError>(Response::new(String::new()))
        }));
        let response = service.call(post(Some("application/sdp"), body)).now_or_never();
        assert_eq!(
            response.expect("it is decided at once").unwrap().status(),
            StatusCode::OK
        );
        assert_eq!(layer.handle().stats().admitted, 1);
    }
}

#[tokio::test]
async fn decoded_offers_are_offers() {
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let decode = |head: &http::request::Parts, body: &[u8]| {
        head.headers.get("x-encoding").filter(|encoding| *encoding == "hex")?;
        let digits: Vec<u32> = body.iter().map_while(|digit| char::from(*digit).to_digit(16)).collect();
        Some(digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect())
    };
    let encoded = hex(SDP);
    // Content type, encoding, body, and whether it is an offer.
    let cases = [
        (None, "hex", &*encoded, true),
        (Some("text/plain"), "hex", &*encoded, true),
        (Some("application/json"), "hex", &*encoded, true),
        (Some("text/plain"), "none", &*encoded, false),
        (Some("text/plain"), "hex", "", false),
    ];
    for (media, encoding, body, is_offer) in cases {
        let (service, seen, handle) = server(HttpOffers::new().decode(decode));
        let mut sdp = post(Some("application/sdp"), full(SDP));
        let mut encoded = post(media, full(body.to_owned()));
        for request in [&mut sdp, &mut encoded] {
            request.headers_mut().insert("x-encoding", encoding.parse().unwrap());
        }
        service.clone().oneshot(sdp).await.unwrap();
        service.oneshot(encoded).await.unwrap();
        let stats = handle.stats();
        let counted = (stats.replayed, stats.passed, stats.unchecked);
        assert_eq!(
            counted,
            (u64::from(is_offer), u64::from(!is_offer), 0),
            "{media:?} {encoding} {body}"
        );
        assert_eq!(seen.lock().unwrap().len(), 2 - usize::from(is_offer));
    }
}

#[tokio::test]
async fn other_media_types_count_as_unchecked_after_an_offer() {
    let (service, _, handle) = server(HttpOffers::new());
    let counted = || (handle.stats().passed, handle.stats().unchecked);
    let send = |media| service.clone().oneshot(post(media, full(SDP)));
    send(Some("text/plain")).await.unwrap();
    assert_eq!(counted(), (1, 0));
    send(Some("application/sdp")).await.unwrap();
    for media in [Some("text/plain"), Some("application/json"), None] {
        send(media).await.unwrap();
    }
    assert_eq!(counted(), (1, 3));
}

#[tokio::test]
async fn stats_show_bodies_being_read() {
    let (mut service, _, handle) = server(HttpOffers::new());
    let reads = || handle.stats().body_reads;
    let mut slow = || spawn(service.call(post(Some("application/sdp"), trickling(b"a"))));
    let (mut one, other) = (slow(), slow());
    assert_pending!(one.poll());
    assert_pending!(one.poll());
    assert_eq!(reads(), 2);
    drop(one);
    assert_eq!(reads(), 1);
    drop(other);
    assert_eq!(reads(), 0);

    let answered = service.call(post(Some("application/sdp"), full(SDP))).await;
    assert_eq!((answered.unwrap().status(), reads()), (StatusCode::CREATED, 0));
}
