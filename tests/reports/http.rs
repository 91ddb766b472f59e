//! Reports that concern HTTP requests and answers.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use ::http::{Request, StatusCode, request::Parts};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use tower::{BoxError, Layer, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_offer_dedup::{
    JsonOffers, OfferDedupHandle, OfferDedupLayer, OfferSession,
    http::{BufferedBody, HttpAnswer, HttpOffers},
};

const SDP: &str = "v=0\r\no=- 457690576698830901 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:xb8+\r\na=ice-pwd:AweaEh/ps0f0NqKFa7vb8pvE\r\n\
    a=setup:actpass\r\na=mid:0\r\n";

type RequestBody = Full<Bytes>;
type Response = ::http::Response<BufferedBody<Full<Bytes>>>;

/// A WHIP server behind the layer. Each call of the handler makes a session with a `Location` and a cookie of its own.
#[derive(Clone)]
struct Server {
    service: BoxCloneSyncService<Request<RequestBody>, Response, BoxError>,
    handle: OfferDedupHandle,
    sessions: Arc<AtomicUsize>,
}

impl Server {
    fn whip() -> Self {
        Self::new(HttpOffers::new())
    }

    fn new(offers: HttpOffers) -> Self {
        let layer = OfferDedupLayer::whip().offers(offers).build();
        let (handle, sessions) = (layer.handle(), Arc::new(AtomicUsize::new(0)));
        let made = Arc::clone(&sessions);
        let inner = service_fn(move |_: Request<BufferedBody<RequestBody>>| {
            let session = made.fetch_add(1, Relaxed);
            let response = ::http::Response::builder()
                .status(StatusCode::CREATED)
                .header("location", format!("/session/{session}"))
                .header("set-cookie", format!("session={session}"))
                .body(Full::new(Bytes::from(format!("answer {session}"))));
            async move { response.map_err(BoxError::from) }
        });
        Self {
            service: BoxCloneSyncService::new(layer.layer(inner)),
            handle,
            sessions,
        }
    }

    fn sessions(&self) -> usize {
        self.sessions.load(Relaxed)
    }

    /// Posts an offer and returns the `Location` of its session.
    async fn publish(&self, uri: &str, fields: &[(&str, &str)], body: impl Into<Bytes>) -> String {
        let mut request = Request::post(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let response = self.service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED, "{uri} {fields:?}");
        let location = response.headers()["location"].to_str().unwrap().to_owned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, location.replace("/session/", "answer "));
        location
    }
}

const SDP_TYPE: (&str, &str) = ("content-type", "application/sdp");
const JSON_TYPE: (&str, &str) = ("content-type", "application/json");

/// Publishes the same offer to each URI twice, and to all at once. Each URI gets a session of its own.
async fn each_uri_is_a_peer(uris: impl IntoIterator<Item = String>) {
    let server = Server::whip();
    let uris: Vec<_> = uris.into_iter().collect();
    let publish = |uri: String| {
        let server = server.clone();
        async move { server.publish(&uri, &[SDP_TYPE], SDP).await }
    };
    let locations = futures_util::future::join_all(uris.iter().cloned().map(publish)).await;
    assert_eq!(locations.iter().collect::<HashSet<_>>().len(), uris.len());
    for (uri, location) in uris.into_iter().zip(locations) {
        assert_eq!(publish(uri).await, location);
    }
    assert_eq!(server.sessions(), 12);
}

#[tokio::test]
async fn srs_4514_query_names_the_stream() {
    each_uri_is_a_peer((0..12).map(|n| format!("/rtc/v1/whip/?app=live&stream=livestream{n}"))).await;
}

#[tokio::test]
async fn srs_4562_query_names_the_app() {
    each_uri_is_a_peer((0..12).map(|n| format!("/rtc/v1/whip/?app=live{n}&stream=livestream"))).await;
}

#[tokio::test]
async fn mediamtx_3796_query_holds_the_token() {
    each_uri_is_a_peer((0..12).map(|n| format!("/stage/whip?jwt=eyJhbGciOiJIUzI1NiJ9.{n}.c2ln"))).await;
}

#[tokio::test]
async fn stream_py_218_query_holds_the_token() {
    each_uri_is_a_peer((0..12).map(|n| format!("/whip/default?token={n}"))).await;
}

#[tokio::test]
async fn virtual_hosts_are_two_peers() {
    let server = Server::whip();
    let publish = async |host| server.publish("/whip/stage", &[SDP_TYPE, ("host", host)], SDP).await;
    let (one, other) = (publish("a.example").await, publish("b.example").await);
    assert_ne!(one, other);
    assert_eq!((publish("A.example").await, publish("b.example").await), (one, other));
}

#[tokio::test]
async fn basic_auth_users_are_two_peers() {
    let server = Server::whip();
    let publish = async |user| {
        server
            .publish("/whip/stage", &[SDP_TYPE, ("authorization", user)], SDP)
            .await
    };
    let (alice, bob) = (publish("Basic YWxpY2U6MQ==").await, publish("Basic Ym9iOjE=").await);
    assert_ne!(alice, bob);
    assert_eq!(publish("Basic YWxpY2U6MQ==").await, alice);
}

/// Decodes base64 without padding checks.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text = text.trim_ascii_end();
    let digits = text.iter().take_while(|digit| **digit != b'=');
    let values = digits.map(|digit| DIGITS.iter().position(|known| known == digit));
    let values = values.collect::<Option<Vec<_>>>()?;
    let bytes = values.chunks(4).flat_map(|chunk| {
        let number = chunk.iter().fold(0, |number, value| number << 6 | value) << (6 * (4 - chunk.len()));
        (1..chunk.len()).map(move |n| (number >> (24 - 8 * n)) as u8)
    });
    Some(bytes.collect())
}

/// Encodes in the way of `base64`, with padding.
fn to_base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let encode = |chunk: &[u8]| {
        let number = (0..3).fold(0, |number, n| number << 8 | usize::from(*chunk.get(n).unwrap_or(&0)));
        let digit = move |n: usize| char::from(DIGITS[number >> (18 - 6 * n) & 63]);
        let length = chunk.len();
        (0..4)
            .map(move |n| if n <= length { digit(n) } else { '=' })
            .collect::<String>()
    };
    bytes.chunks(3).map(encode).collect()
}

#[tokio::test]
async fn rtsp_to_web_215_form_field_holds_base64() {
    const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
    // A field `data` with the offer in base64, of which a form escapes three characters.
    let decode = |_: &Parts, body: &[u8]| {
        let mut fields = body.split(|byte| *byte == b'&');
        let field = fields.find_map(|field| field.strip_prefix(b"data="))?;
        let text = std::str::from_utf8(field).ok()?;
        base64(
            text.replace("%2B", "+")
                .replace("%2F", "/")
                .replace("%3D", "=")
                .as_bytes(),
        )
    };
    let form = |sdp: &str| {
        let data = to_base64(sdp.as_bytes());
        let data = data.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        format!("suuid=demo&data={data}")
    };
    let server = Server::new(HttpOffers::new().decode(decode));
    let publish = |sdp: &str| server.publish("/stream/demo/channel/0/webrtc", &[FORM], form(sdp));
    let first = publish(SDP).await;
    assert_eq!(publish(SDP).await, first);
    // The same offer after gathering: a decoded offer is compared as SDP.
    assert_eq!(publish(&format!("{SDP}a=end-of-candidates\r\n")).await, first);
    assert_ne!(publish(&SDP.replace("xb8+", "new+")).await, first);
    assert_eq!((server.sessions(), server.handle.stats().passed), (2, 0));
}

#[tokio::test]
async fn obs_studio_11_offer_lacks_a_content_type() {
    let unseen = Server::whip();
    unseen.publish("/whip/stage", &[SDP_TYPE], SDP).await;
    unseen.publish("/whip/stage", &[], SDP).await;
    assert_eq!((unseen.sessions(), unseen.handle.stats().unchecked), (2, 1));

    // As it is, or in base64.
    let decode = |head: &Parts, body: &[u8]| {
        let is_plain = !head.headers.contains_key("content-type");
        let sdp = if body.starts_with(b"v=0") {
            body.to_vec()
        } else {
            base64(body)?
        };
        is_plain.then_some(sdp)
    };
    let server = Server::new(HttpOffers::new().decode(decode));
    let first = server.publish("/whip/stage", &[SDP_TYPE], SDP).await;
    for body in [SDP.to_owned(), to_base64(SDP.as_bytes())] {
        assert_eq!(server.publish("/whip/stage", &[], body).await, first);
    }
    assert_eq!((server.sessions(), server.handle.stats().unchecked), (1, 0));
}

/// An offer of 200 sections, about 78 KB.
fn large_sdp() -> String {
    let section = |n: usize| {
        format!(
            "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=mid:{n}\r\na=ice-ufrag:xb8+\r\n\
             a=ice-pwd:AweaEh/ps0f0NqKFa7vb8pvE\r\na=setup:actpass\r\na=rtcp-mux\r\na=rtcp-rsize\r\n\
             a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 goog-remb\r\na=rtcp-fb:96 transport-cc\r\na=rtcp-fb:96 nack pli\r\n\
             a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=ssrc:{n} cname:vM2B0zTcFyiNOmNw\r\na=sendrecv\r\n"
        )
    };
    let head = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
    head.to_owned() + &(0..200).map(section).collect::<String>()
}

/// Sends a large offer in JSON twice, with the members named, and then one that differs at its very end.
async fn large_json_offer_is_one_call(json: JsonOffers, message: impl Fn(&str) -> String) {
    let server = Server::new(HttpOffers::new().json(json));
    let sdp = large_sdp().replace("\r\n", "\\r\\n");
    assert!(
        (70_000..90_000).contains(&message(&sdp).len()),
        "{}",
        message(&sdp).len()
    );
    let publish = |sdp: &str| server.publish("/signal", &[JSON_TYPE], message(sdp));
    let first = publish(&sdp).await;
    assert_eq!(publish(&sdp).await, first);
    assert_ne!(publish(&sdp.replace("mid:199", "mid:200")).await, first);
    assert_eq!((server.sessions(), server.handle.stats().unchecked), (2, 0));
}

#[tokio::test]
async fn haven_5543_offer_has_200_sections() {
    let json = JsonOffers::new().sdp("/offer/sdp").peer("/from").peer("/to");
    large_json_offer_is_one_call(json, |sdp| {
        format!(r#"{{"from":"alice","to":"bob","offer":{{"type":"offer","sdp":"{sdp}"}}}}"#)
    })
    .await;
}

#[tokio::test]
async fn spreed_7367_offer_has_200_sections() {
    let json = JsonOffers::new()
        .sdp("/message/data/payload/sdp")
        .kind("/message/data/type", "offer")
        .peer("/message/recipient/sessionid");
    large_json_offer_is_one_call(json, |sdp| {
        format!(
            r#"{{"message":{{"recipient":{{"sessionid":"s"}},"data":{{"type":"offer","payload":{{"sdp":"{sdp}"}}}}}}}}"#
        )
    })
    .await;
}

#[tokio::test]
async fn janus_3282_offer_has_200_sections() {
    let json = JsonOffers::new()
        .sdp("/jsep/sdp")
        .peer("/session_id")
        .peer("/handle_id");
    large_json_offer_is_one_call(json, |sdp| {
        format!(r#"{{"janus":"message","session_id":1,"handle_id":2,"jsep":{{"type":"offer","sdp":"{sdp}"}}}}"#)
    })
    .await;
}

/// A server of the shape of live777: WHIP, WHEP and session routes apart, one publisher a stream, and the check of
/// `Authorization` outside the layer.
mod live777 {
    use std::{
        collections::HashMap,
        sync::{
            Mutex,
            atomic::{AtomicUsize, Ordering::Relaxed},
        },
        time::Duration,
    };

    use axum::{
        Router,
        extract::{Path, Request, State},
        http::{StatusCode, header},
        middleware::{Next, from_fn},
        response::{IntoResponse, Response},
        routing,
    };
    use tower_offer_dedup::OfferDedupLayer;

    pub(super) type Shared = std::sync::Arc<Streams>;

    #[derive(Default)]
    pub(super) struct Streams {
        publishers: Mutex<HashMap<String, usize>>,
        viewers: Mutex<HashMap<String, Vec<usize>>>,
        pub(super) made: AtomicUsize,
    }

    impl Streams {
        /// Creates a peer connection, which takes some time.
        async fn connect(&self) -> usize {
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.made.fetch_add(1, Relaxed)
        }
    }

    pub(super) fn router(streams: Shared) -> Router {
        let layer = OfferDedupLayer::whip().build();
        Router::new()
            .route("/whip/{stream}", routing::post(publish))
            .route("/whep/{stream}", routing::post(watch))
            .route("/session/{stream}/{session}", routing::delete(end))
            .with_state(streams)
            .layer(layer)
            .layer(from_fn(authorize))
    }

    async fn authorize(request: Request, next: Next) -> Response {
        match request.headers().get(header::AUTHORIZATION) {
            Some(field) if field == "Bearer live777" => next.run(request).await,
            _ => StatusCode::UNAUTHORIZED.into_response(),
        }
    }

    fn created(stream: &str, session: usize) -> Response {
        let location = format!("/session/{stream}/{session}");
        let fields = [
            (header::LOCATION, location),
            (header::CONTENT_TYPE, "application/sdp".to_owned()),
        ];
        (StatusCode::CREATED, fields, format!("answer {session}")).into_response()
    }

    async fn publish(State(streams): State<Shared>, Path(stream): Path<String>, _: String) -> Response {
        let session = streams.connect().await;
        let mut publishers = streams.publishers.lock().unwrap();
        if publishers.contains_key(&stream) {
            return StatusCode::CONFLICT.into_response();
        }
        publishers.insert(stream.clone(), session);
        created(&stream, session)
    }

    async fn watch(State(streams): State<Shared>, Path(stream): Path<String>, _: String) -> Response {
        let session = streams.connect().await;
        let mut viewers = streams.viewers.lock().unwrap();
        viewers.entry(stream.clone()).or_default().push(session);
        created(&stream, session)
    }

    async fn end(State(streams): State<Shared>, Path((stream, session)): Path<(String, usize)>) -> StatusCode {
        let mut publishers = streams.publishers.lock().unwrap();
        let mut viewers = streams.viewers.lock().unwrap();
        let viewers = viewers.entry(stream.clone()).or_default();
        if publishers.get(&stream) == Some(&session) {
            publishers.remove(&stream);
            StatusCode::NO_CONTENT
        } else if let Some(place) = viewers.iter().position(|viewer| *viewer == session) {
            viewers.remove(place);
            StatusCode::NO_CONTENT
        } else {
            StatusCode::NOT_FOUND
        }
    }
}

#[tokio::test]
async fn live777_delete_then_same_offer() {
    let streams = live777::Shared::default();
    let app = live777::router(Arc::clone(&streams));
    let send = async |method: &str, uri: &str, token: &str| {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("content-type", "application/sdp")
            .header("authorization", token)
            .body(axum::body::Body::from(SDP))
            .unwrap();
        let (head, body) = app.clone().oneshot(request).await.unwrap().into_parts();
        let location = head
            .headers
            .get("location")
            .map(|field| field.to_str().unwrap().to_owned());
        (head.status.as_u16(), location, body.collect().await.unwrap().to_bytes())
    };
    const TOKEN: &str = "Bearer live777";
    // Twice: publishers, whose stream takes one at a time, and viewers.
    for uri in ["/whip/stage", "/whep/stage"] {
        let before = streams.made.load(Relaxed);
        let answers = futures_util::future::join_all((0..8).map(|_| send("POST", uri, TOKEN))).await;
        let session = format!("/session/stage/{before}");
        let expected = (201, Some(session.clone()), Bytes::from(format!("answer {before}")));
        assert_eq!(answers, vec![expected.clone(); 8], "{uri}");
        assert_eq!(streams.made.load(Relaxed), before + 1, "{uri}");

        // An end that the server refuses is none.
        assert_eq!(send("DELETE", &session, "Bearer other").await.0, 401);
        assert_eq!(send("POST", uri, TOKEN).await, expected, "{uri}");

        assert_eq!(send("DELETE", &session, TOKEN).await.0, 204);
        let (status, location, _) = send("POST", uri, TOKEN).await;
        assert_eq!(
            (status, location),
            (201, Some(format!("/session/stage/{}", before + 1))),
            "{uri}"
        );
        assert_eq!(
            send("DELETE", &format!("/session/stage/{}", before + 1), TOKEN).await.0,
            204
        );
    }
}

#[tokio::test]
async fn srs_3180_error_in_ok_body() {
    let answer = HttpAnswer::replaying().success_if(|head, body| {
        let is_ok = |body: &[u8]| body.starts_with(br#"{"code":0,"#);
        head.status.is_success() && body.is_none_or(is_ok)
    });
    let layer = OfferDedupLayer::whip()
        .offers(HttpOffers::new().json(JsonOffers::new().sdp("/sdp").peer("/streamurl")))
        .answer(answer)
        .build();
    let calls = Arc::new(AtomicUsize::new(0));
    let service = layer.layer(service_fn(move |_: Request<BufferedBody<RequestBody>>| {
        // The stream is busy at first.
        let body = match calls.fetch_add(1, Relaxed) {
            0 => r#"{"code":5020,"server":"vid-1"}"#.to_owned(),
            n => format!(r#"{{"code":0,"sessionid":"{n}","sdp":"v=0"}}"#),
        };
        async move { Ok::<_, BoxError>(http::Response::new(Full::new(Bytes::from(body)))) }
    }));
    let publish = async || {
        let message = format!(
            r#"{{"streamurl":"webrtc://localhost/live/a","sdp":"{}"}}"#,
            SDP.replace("\r\n", "\\r\\n")
        );
        let request = Request::post("/rtc/v1/publish/")
            .header(JSON_TYPE.0, JSON_TYPE.1)
            .body(Full::new(Bytes::from(message)))
            .unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        response.into_body().collect().await.unwrap().to_bytes()
    };
    assert_eq!(publish().await, r#"{"code":5020,"server":"vid-1"}"#);
    for _ in 0..3 {
        assert_eq!(publish().await, r#"{"code":0,"sessionid":"1","sdp":"v=0"}"#);
    }
}

/// The end of an old session is noticed while the next one of the same peer is being set up.
#[tokio::test(start_paused = true)]
async fn foxglove_sdk_1194_late_end_of_old_session() {
    let layer = OfferDedupLayer::builder()
        .offers(HttpOffers::new())
        .answer(HttpAnswer::replaying())
        .cooldown(Duration::ZERO)
        .build();
    let handle = layer.handle();
    let (kept, calls) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    let (keeps, counted) = (Arc::clone(&kept), Arc::clone(&calls));
    let service = layer.layer(service_fn(move |request: Request<BufferedBody<RequestBody>>| {
        let session: OfferSession = request.extensions().get().cloned().expect("the offer is admitted");
        keeps.lock().unwrap().push(session.forget_on_drop());
        let call = counted.fetch_add(1, Relaxed);
        async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok::<_, BoxError>(http::Response::new(Full::new(Bytes::from(format!("answer {call}")))))
        }
    }));
    let send = |sdp: String| {
        let request = Request::post("/whip/stage")
            .header(SDP_TYPE.0, SDP_TYPE.1)
            .body(Full::new(Bytes::from(sdp)))
            .unwrap();
        let service = service.clone();
        tokio::spawn(async move {
            let response = service.oneshot(request).await.unwrap();
            response.into_body().collect().await.unwrap().to_bytes()
        })
    };
    let rejoin = SDP.replace("xb8+", "new+");
    assert_eq!(send(SDP.to_owned()).await.unwrap(), "answer 0");

    let first = send(rejoin.clone());
    tokio::time::sleep(Duration::from_millis(500)).await;
    // The old session ends.
    drop(kept.lock().unwrap().remove(0));
    let duplicate = send(rejoin.clone());
    tokio::time::sleep(Duration::from_millis(100)).await;
    let stats = handle.stats();
    assert_eq!((stats.claims, stats.waiters, stats.forgotten), (1, 1, 1), "{stats:?}");
    assert_eq!(first.await.unwrap(), "answer 1");
    assert_eq!(duplicate.await.unwrap(), "answer 1");
    assert_eq!(send(rejoin).await.unwrap(), "answer 1");
    assert_eq!(calls.load(Relaxed), 2);
    // The old offer may come again.
    assert_eq!(send(SDP.to_owned()).await.unwrap(), "answer 2");
}
