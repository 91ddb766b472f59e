//! A server that treats offers in a known way. Its answers hold nothing but ICE credentials.

use std::{
    collections::{HashMap, HashSet},
    future::pending,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{
        Path, State, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, delete, post},
};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use serde_json::{Value, json};
use tokio::net::TcpListener;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    /// A session for each request.
    Naive,
    /// One session for one offer of one user, and the same answer for its copies.
    Replaying,
    /// The same, for all users.
    MergingUsers,
    /// The same, also after the session has ended.
    ReplayingDead,
    /// One session for one offer. Copies are refused.
    Refusing,
    /// All offers get one answer.
    MergingOffers,
    /// A body that is no offer makes a session too.
    TakingAnything,
    /// Sessions cannot be ended.
    WithoutDelete,
    /// No response.
    Hanging,
    /// Only the first offer gets a response.
    HangingLater,
    /// Success without an answer.
    Garbage,
    /// An error of the server for every copy.
    Failing,
}

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: String,
    way: Way,
    book: Arc<Mutex<Book>>,
}

#[derive(Default)]
struct Book {
    made: usize,
    live: HashSet<usize>,
    known: HashMap<String, usize>,
}

impl Server {
    pub(crate) async fn start(way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port should be free");
        let server = Self {
            address: listener.local_addr().expect("it should be bound").to_string(),
            way,
            book: Arc::default(),
        };
        let router = Router::new()
            .route("/whip/{stream}", post(publish))
            .route("/sessions/{id}", delete(end))
            .route("/offer", post(json_offer))
            .route("/socket", any(upgrade))
            .with_state(server.clone());
        tokio::spawn(serve(listener, router));
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/whip/stage", self.address)
    }

    /// Numbers of sessions made, and of those that have not ended.
    pub(crate) fn sessions(&self) -> (usize, usize) {
        let book = self.lock();
        (book.made, book.live.len())
    }

    async fn accept(&self, offer: &str, user: &str) -> Result<usize, StatusCode> {
        if self.way == Way::Hanging || self.way == Way::HangingLater && self.sessions().0 > 0 {
            return pending().await;
        }
        let ufrag = offer.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:"));
        let ufrag = match (self.way, ufrag) {
            (Way::Garbage, _) => return Err(StatusCode::OK),
            (Way::TakingAnything, None) => "none",
            (_, None) => return Err(StatusCode::BAD_REQUEST),
            (_, Some(ufrag)) => ufrag,
        };
        let key = match self.way {
            Way::MergingUsers => ufrag.to_owned(),
            Way::MergingOffers => String::new(),
            _ => format!("{user} {ufrag}"),
        };
        // Real servers take some time.
        tokio::time::sleep(Duration::from_millis(10)).await;
        let mut book = self.lock();
        if let Some(id) = book.known.get(&key) {
            match self.way {
                Way::Naive => {}
                Way::Refusing => return Err(StatusCode::CONFLICT),
                Way::Failing => return Err(StatusCode::INTERNAL_SERVER_ERROR),
                _ => return Ok(*id),
            }
        }
        book.made += 1;
        let id = book.made;
        book.live.insert(id);
        book.known.insert(key, id);
        Ok(id)
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("no test panics with the lock")
    }
}

/// Goes on when a client has ended its side, as servers in Go, Node and Python do. `axum::serve` drops the handler.
async fn serve(listener: TcpListener, router: Router) {
    while let Ok((stream, _)) = listener.accept().await {
        let service = TowerToHyperService::new(router.clone());
        let connection = http1::Builder::new()
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection.with_upgrades());
    }
}

async fn publish(
    State(server): State<Server>,
    Path(stream): Path<String>,
    fields: HeaderMap,
    offer: String,
) -> Result<Response, StatusCode> {
    let user = fields.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let id = server
        .accept(&offer, &format!("{stream} {}", user.unwrap_or_default()))
        .await?;
    let fields = [
        (header::LOCATION, format!("/sessions/{id}")),
        (header::CONTENT_TYPE, "application/sdp".into()),
    ];
    Ok((StatusCode::CREATED, fields, answer(id)).into_response())
}

async fn end(State(server): State<Server>, Path(id): Path<usize>) -> StatusCode {
    if server.way == Way::WithoutDelete {
        return StatusCode::NOT_IMPLEMENTED;
    }
    let mut book = server.lock();
    if server.way != Way::ReplayingDead {
        book.known.retain(|_, known| *known != id);
    }
    if book.live.remove(&id) {
        StatusCode::OK
    } else {
        StatusCode::NOT_FOUND
    }
}

async fn json_offer(
    State(server): State<Server>,
    fields: HeaderMap,
    Json(offer): Json<Value>,
) -> Result<Json<Value>, StatusCode> {
    let user = fields.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let sdp = offer["jsep"]["sdp"].as_str().unwrap_or_default();
    let id = server.accept(sdp, user.unwrap_or_default()).await?;
    Ok(Json(json!({ "jsep": { "type": "answer", "sdp": answer(id) } })))
}

async fn upgrade(State(server): State<Server>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|socket| converse(server, socket))
}

/// Answers offers once the client has joined.
async fn converse(server: Server, mut socket: WebSocket) {
    static SOCKETS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let user = SOCKETS.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
    let mut has_joined = false;
    while let Some(Ok(Message::Text(text))) = socket.recv().await {
        let message: Value = serde_json::from_str(&text).unwrap_or_default();
        has_joined |= message["join"].is_string();
        let sdp = message["sdp"].as_str().unwrap_or_default();
        let Ok(id) = server.accept(sdp, &user).await else {
            continue;
        };
        let answer = json!({ "type": "answer", "sdp": answer(id) }).to_string();
        if has_joined && socket.send(answer.into()).await.is_err() {
            return;
        }
    }
}

fn answer(id: usize) -> String {
    format!("v=0\r\na=ice-ufrag:session-{id}\r\n")
}
