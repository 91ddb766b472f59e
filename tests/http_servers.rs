//! The layer in real servers: axum's ways of adding a layer, and hyper's connections.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    error_handling::HandleErrorLayer,
    extract::{Extension, OriginalUri, State},
    routing::{get, post},
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_offer_dedup::{
    OfferDedupLayer, PeerKey,
    http::{BufferedBody, HttpOffers, PeerFrom},
};

const SDP: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";

/// Counts sessions. Each session waits for a permit before it opens.
#[derive(Clone)]
struct Sessions(Arc<(AtomicUsize, Semaphore)>);

impl Sessions {
    fn open(permits: usize) -> Self {
        Self(Arc::new((AtomicUsize::new(0), Semaphore::new(permits))))
    }

    fn made(&self) -> usize {
        self.0.0.load(SeqCst)
    }

    fn finish(&self, permits: usize) {
        self.0.1.add_permits(permits);
    }
}

async fn publish(State(sessions): State<Sessions>, Extension(_): Extension<PeerKey>, _: Bytes) -> (StatusCode, String) {
    let n = sessions.0.0.fetch_add(1, SeqCst);
    sessions.0.1.acquire().await.unwrap().forget();
    (StatusCode::CREATED, format!("answer {n}"))
}

fn offer(uri: &str) -> Request<Body> {
    Request::post(uri)
        .header("content-type", "application/sdp")
        .body(Body::from(SDP))
        .unwrap()
}

async fn text(response: Response<Body>) -> (StatusCode, String) {
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// Sends `count` equal offers at once, lets every handler finish, and returns the responses.
async fn storm(app: &Router, uri: &str, count: usize, sessions: &Sessions) -> Vec<(StatusCode, String)> {
    let calls: Vec<_> = (0..count)
        .map(|_| tokio::spawn(app.clone().oneshot(offer(uri))))
        .collect();
    while sessions.made() == 0 {
        tokio::task::yield_now().await;
    }
    sessions.finish(count);
    let mut answers = Vec::new();
    for call in calls {
        answers.push(text(call.await.unwrap().unwrap()).await);
    }
    answers
}

#[tokio::test]
async fn routes_share_one_layer() {
    let sessions = Sessions::open(10);
    let layer = OfferDedupLayer::whip()
        .offers(HttpOffers::new().peer(PeerFrom::path_segment(1)))
        .build();
    let app: Router = Router::new()
        .route("/whip/{stream}", post(publish))
        .route("/legacy/{stream}", post(publish))
        .route("/health", get(|| async { "fine" }))
        .layer(layer.clone())
        .with_state(sessions.clone());

    let first = text(app.clone().oneshot(offer("/whip/stage")).await.unwrap()).await;
    let second = text(app.clone().oneshot(offer("/legacy/stage")).await.unwrap()).await;
    assert_eq!(first, (StatusCode::CREATED, "answer 0".into()));
    assert_eq!(first, second);
    let health = app
        .oneshot(Request::get("/health").body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(text(health).await, (StatusCode::OK, "fine".into()));
    assert_eq!((sessions.made(), layer.handle().stats().passed), (1, 1));
}

#[tokio::test]
async fn layer_works_on_one_route() {
    let sessions = Sessions::open(10);
    let app: Router = Router::new()
        .route("/whip/{stream}", post(publish))
        .route_layer(OfferDedupLayer::whip().build())
        .with_state(sessions.clone());
    for _ in 0..2 {
        assert_eq!(
            text(app.clone().oneshot(offer("/whip/stage")).await.unwrap()).await.1,
            "answer 0"
        );
    }
    let missing = app.oneshot(offer("/elsewhere")).await.unwrap();
    assert_eq!((missing.status(), sessions.made()), (StatusCode::NOT_FOUND, 1));
}

#[tokio::test]
async fn nest_prefix_counts_with_feature_axum() {
    let nests = |layer: OfferDedupLayer<HttpOffers, _, _>| {
        let sessions = Sessions::open(10);
        let inner = Router::new().route("/whip/{stream}", post(publish)).layer(layer);
        let app: Router = Router::new()
            .nest("/a", inner.clone())
            .nest("/b", inner)
            .with_state(sessions.clone());
        (app, sessions)
    };
    let original = PeerFrom::extension(|uri: &OriginalUri| PeerKey::from(uri.path()));
    // Without the feature, the layer sees the same path in both nests.
    let by_path = if cfg!(feature = "axum") { 2 } else { 1 };
    for (part, made) in [
        (PeerFrom::path(), by_path),
        (PeerFrom::path_segment(1), 1),
        (original, 2),
    ] {
        let layer = OfferDedupLayer::whip().offers(HttpOffers::new().peer(part)).build();
        let (app, sessions) = nests(layer);
        for uri in ["/a/whip/stage", "/b/whip/stage"] {
            assert_eq!(
                app.clone().oneshot(offer(uri)).await.unwrap().status(),
                StatusCode::CREATED
            );
        }
        assert_eq!(sessions.made(), made);
    }
}

#[tokio::test(start_paused = true)]
async fn timeouts_work_inside_and_outside() {
    let time_out = || {
        ServiceBuilder::new()
            .layer(HandleErrorLayer::new(|_: BoxError| async {
                StatusCode::GATEWAY_TIMEOUT
            }))
            .timeout(Duration::from_secs(1))
    };
    let sessions = Sessions::open(0);
    let inside: Router = Router::new()
        .route("/whip/{stream}", post(publish))
        .layer(time_out())
        .layer(OfferDedupLayer::whip().build())
        .with_state(sessions.clone());
    assert_eq!(
        inside.clone().oneshot(offer("/whip/a")).await.unwrap().status(),
        StatusCode::GATEWAY_TIMEOUT
    );
    sessions.finish(1);
    assert_eq!(
        text(inside.oneshot(offer("/whip/a")).await.unwrap()).await.1,
        "answer 1"
    );

    let sessions = Sessions::open(0);
    let layer = OfferDedupLayer::whip().build();
    let outside: Router = Router::new()
        .route("/whip/{stream}", post(publish))
        .layer(layer.clone())
        .layer(time_out())
        .with_state(sessions.clone());
    assert_eq!(
        outside.clone().oneshot(offer("/whip/a")).await.unwrap().status(),
        StatusCode::GATEWAY_TIMEOUT
    );
    sessions.finish(1);
    layer.handle().drain().await;
    assert_eq!(
        text(outside.oneshot(offer("/whip/a")).await.unwrap()).await.1,
        "answer 0"
    );
}

#[tokio::test]
async fn inner_limit_counts_no_duplicates() {
    let shed = || {
        ServiceBuilder::new()
            .layer(HandleErrorLayer::new(|_: BoxError| async {
                StatusCode::SERVICE_UNAVAILABLE
            }))
            .load_shed()
            .concurrency_limit(1)
    };
    let sessions = Sessions::open(0);
    let inside: Router = Router::new()
        .route("/whip/{stream}", post(publish))
        .layer(shed())
        .layer(OfferDedupLayer::whip().build())
        .with_state(sessions.clone());
    let answers = storm(&inside, "/whip/a", 20, &sessions).await;
    assert!(
        answers
            .iter()
            .all(|answer| *answer == (StatusCode::CREATED, "answer 0".into())),
        "{answers:?}"
    );

    let sessions = Sessions::open(0);
    let outside: Router = Router::new()
        .route("/whip/{stream}", post(publish))
        .layer(OfferDedupLayer::whip().build())
        .layer(shed())
        .with_state(sessions.clone());
    let answers = storm(&outside, "/whip/a", 20, &sessions).await;
    let shed = answers
        .iter()
        .filter(|(status, _)| *status == StatusCode::SERVICE_UNAVAILABLE)
        .count();
    assert_eq!(shed, 19, "a limit outside counts duplicates: {answers:?}");
}

/// Starts a hyper server on its own port.
async fn hyper() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let made = Arc::new(AtomicUsize::new(0));
    let service = {
        let made = Arc::clone(&made);
        OfferDedupLayer::whip().build().layer(service_fn(
            move |request: Request<BufferedBody<hyper::body::Incoming>>| {
                let made = Arc::clone(&made);
                async move {
                    request.into_body().collect().await?;
                    let n = made.fetch_add(1, SeqCst);
                    Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from(format!("answer {n}")))))
                }
            },
        ))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let connection = auto::Builder::new(TokioExecutor::new());
                let _ = connection.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (address, made)
}

fn raw(extra: &str) -> String {
    let length = SDP.len();
    format!(
        "POST /whip/a HTTP/1.1\r\nhost: h\r\ncontent-type: application/sdp\r\ncontent-length: {length}\r\n{extra}\r\n{SDP}"
    )
}

async fn read_until(stream: &mut TcpStream, needle: &str, times: usize) -> String {
    let mut read = Vec::new();
    while String::from_utf8_lossy(&read).matches(needle).count() < times {
        assert_ne!(
            stream.read_buf(&mut read).await.unwrap(),
            0,
            "closed: {}",
            String::from_utf8_lossy(&read)
        );
    }
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn http1_pipelined_duplicates_are_replayed() {
    let (address, made) = hyper().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(raw("").as_bytes()).await.unwrap();
    read_until(&mut stream, "answer 0", 1).await;
    stream.write_all(raw("").repeat(3).as_bytes()).await.unwrap();
    let read = read_until(&mut stream, "answer 0", 3).await;
    assert_eq!(read.matches("offer-replayed: true").count(), 3);
    assert_eq!(
        (read.matches("content-length: 8").count(), read.contains("chunked")),
        (3, false)
    );
    assert_eq!(made.load(SeqCst), 1);
}

#[tokio::test]
async fn http1_expect_continue_works() {
    let (address, made) = hyper().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = raw("expect: 100-continue\r\n");
    let (head, body) = request.split_at(request.len() - SDP.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut stream, "100 Continue", 1).await;
    stream.write_all(body.as_bytes()).await.unwrap();
    read_until(&mut stream, "answer 0", 1).await;
    assert_eq!(made.load(SeqCst), 1);
}

#[tokio::test]
async fn retry_after_cut_connection_is_answered() {
    let (address, made) = hyper().await;
    let mut cut = TcpStream::connect(address).await.unwrap();
    let whole = raw("");
    cut.write_all(&whole.as_bytes()[..whole.len() - 10]).await.unwrap();
    drop(cut);
    let mut retry = TcpStream::connect(address).await.unwrap();
    retry.write_all(whole.as_bytes()).await.unwrap();
    read_until(&mut retry, "answer 0", 1).await;
    assert_eq!(made.load(SeqCst), 1);
}

#[tokio::test]
async fn http2_streams_share_one_answer() {
    let (address, made) = hyper().await;
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    let calls: Vec<_> = (0..16)
        .map(|_| {
            let request = Request::post(format!("http://{address}/whip/a"))
                .header("content-type", "application/sdp")
                .body(Full::new(Bytes::from(SDP)))
                .unwrap();
            let mut client = client.clone();
            tokio::spawn(async move { client.send_request(request).await })
        })
        .collect();
    for call in calls {
        let body = call
            .await
            .unwrap()
            .unwrap()
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes();
        assert_eq!(body, "answer 0");
    }
    assert_eq!(made.load(SeqCst), 1);
}

#[tokio::test]
async fn inner_errors_pass_through() {
    let service = OfferDedupLayer::whip()
        .build()
        .layer(service_fn(|_: Request<BufferedBody<Full<Bytes>>>| async {
            Err::<Response<Full<Bytes>>, _>(std::io::Error::other("down"))
        }));
    let request = Request::post("/whip/a")
        .header("content-type", "application/sdp")
        .body(Full::new(SDP.into()));
    let error = service.oneshot(request.unwrap()).await.unwrap_err();
    assert_eq!(error.to_string(), "down");
}
