//! axum with the layer, without, and with what no such layer can do without, under WHIP `POST`s over loopback.

mod report;
mod traffic;

use std::{
    fs,
    net::SocketAddr,
    process::ExitCode,
    sync::{
        atomic::{AtomicU32, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderName, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::Response,
    routing::post,
};
use moka::sync::Cache;
use report::{Bar, Budget, Report};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};
use tower_offer_dedup::{Fingerprint, OfferDedupHandle, OfferDedupLayer, PeerKey};

/// What Chromium publishes by WHIP: audio and video, 5.4 KB.
const OFFER: &str = include_str!("../tests/data/corpus/offers/chromium-whip-first.sdp");
const ANSWER: &str = include_str!("../tests/data/corpus/offers/aiortc-dc-first.sdp");

const CONNECTIONS: usize = 16;
const BUDGET: f64 = 0.95;

/// The number of the next offer.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A server on a thread of its own.
struct Server {
    address: SocketAddr,
    thread: String,
}

/// What a server did for one turn of the load.
struct Turn {
    per_second: f64,
    /// Microseconds of its thread for a request.
    cpu: f64,
}

/// The three servers' turns, round by round.
#[derive(Default)]
struct Rounds {
    bare: Vec<Turn>,
    floor: Vec<Turn>,
    layered: Vec<Turn>,
}

/// What is remembered of offers where nothing else is done.
type Remembered = Cache<PeerKey, Fingerprint>;

fn main() -> ExitCode {
    let is_quick = report::is_set("quick");
    let (rounds, turn) = if is_quick { (6, 300) } else { (40, 500) };
    let mut report = Report::new(
        "axum over loopback",
        "cargo bench --bench http",
        &format!(
            "WHIP `POST`s of a Chromium offer, each with a path and an ICE ufrag of its own, over {CONNECTIONS} \
             keep-alive connections, to axum with `OfferDedupLayer::whip()`, without, and with the floor: an axum \
             middleware that reads the body, takes the peer's digest and the offer's fingerprint, and makes one moka `get` \
             and one `insert`. It neither locks, nor records an answer, nor outlives its client. Each server and the load \
             have a thread of their own. The servers take turns of {turn} ms in {rounds} rounds, in alternating order; the \
             ratios to the bare server are those of a round. CPU is the time of the server's thread, which other loads of \
             the machine disturb less.",
        ),
    );
    let load = Load::new();
    let mut rows = Vec::new();
    let mut bars = Vec::new();
    for (what, handler) in [
        (
            "201 without a body",
            Router::new().route("/whip/{stream}", post(accept)),
        ),
        (
            "201 with `Location` and an answer",
            Router::new().route("/whip/{stream}", post(publish)),
        ),
    ] {
        let measured = measure(&load, &handler, rounds, Duration::from_millis(turn));
        let median = |turns: &[Turn], figure: fn(&Turn) -> f64| quantile(turns.iter().map(figure).collect(), 0.5);
        for (server, turns, budget) in [
            ("bare", &measured.bare, None),
            ("floor", &measured.floor, None),
            ("layer", &measured.layered, Some(BUDGET)),
        ] {
            let rates = measured.ratios(turns, |turn| turn.per_second);
            let cpu = measured.ratios(turns, |turn| turn.cpu);
            rows.push([
                format!("{what}, {server}"),
                format!("{:.0}", median(turns, |turn| turn.per_second)),
                spread(&rates),
                budget.map_or("–".to_owned(), |budget| format!("at least {budget}")),
                format!("{:.2}", median(turns, |turn| turn.cpu)),
                spread(&cpu),
            ]);
            let (label, ratio) = (format!("{}, {server}", what.replace('`', "")), quantile(rates, 0.5));
            match budget {
                Some(budget) => {
                    bars.push(Bar::at_least(label, ratio, budget));
                    report.check(&format!("requests per second, {what}"), ratio, Budget::AtLeast(budget));
                }
                None => bars.push(Bar::new(label, ratio, None)),
            }
        }
    }
    report.table(
        "Requests per second and CPU",
        &[
            "handler, server",
            "requests/s",
            "to bare: median (quartiles)",
            "budget",
            "µs CPU a request",
            "to bare: median (quartiles)",
        ],
        rows,
    );
    report.plot(
        "http",
        "Requests per second, over those of axum without a layer",
        "× bare axum",
        "linear",
        bars,
    );
    report.write("http")
}

async fn accept(offer: String) -> StatusCode {
    assert!(offer.starts_with("v=0"));
    StatusCode::CREATED
}

async fn publish(offer: String) -> (StatusCode, [(HeaderName, &'static str); 3], &'static str) {
    assert!(offer.starts_with("v=0"));
    let fields = [
        (header::LOCATION, "/sessions/4e3f2c8a"),
        (header::ETAG, "\"4e3f2c8a\""),
        (header::CONTENT_TYPE, "application/sdp"),
    ];
    (StatusCode::CREATED, fields, ANSWER)
}

/// What any layer has to do that knows an offer again.
async fn floor(State(remembered): State<Remembered>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let offer = to_bytes(body, 64 * 1024).await.expect("a body");
    let peer = PeerKey::from(head.uri.path());
    let fingerprint = Fingerprint::sdp(std::str::from_utf8(&offer).expect("SDP"));
    assert_ne!(remembered.get(&peer), Some(fingerprint), "every offer is new");
    let answer = next.run(Request::from_parts(head, Body::from(offer))).await;
    remembered.insert(peer, fingerprint);
    answer
}

fn measure(load: &Load, handler: &Router, rounds: usize, turn: Duration) -> Rounds {
    let layer = OfferDedupLayer::whip().build();
    let remembered: Remembered = traffic::cache(64 << 20, Duration::from_secs(10));
    let servers = [
        Server::start("bare", handler.clone()),
        Server::start("floor", handler.clone().layer(from_fn_with_state(remembered, floor))),
        Server::start("layered", handler.clone().layer(layer.clone())),
    ];
    let (mut sent, mut measured) = (0, Rounds::default());
    // The first round warms up.
    for round in 0..=rounds {
        for place in 0..servers.len() {
            let which = (round + place) % servers.len();
            let (requests, result) = load.turn(&servers[which], turn);
            let turns = match which {
                0 => &mut measured.bare,
                1 => &mut measured.floor,
                _ => {
                    sent += requests;
                    &mut measured.layered
                }
            };
            if round > 0 {
                turns.push(result);
            }
        }
    }
    assert_all_admitted(&layer.handle(), sent);
    measured
}

fn assert_all_admitted(handle: &OfferDedupHandle, sent: u64) {
    let stats = handle.stats();
    assert_eq!(
        (stats.admitted, stats.completed),
        (sent, sent),
        "every offer is new: {stats:?}"
    );
}

impl Server {
    fn start(name: &str, app: Router) -> Self {
        let (tell, told) = mpsc::channel();
        let serve = move || {
            runtime().block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let thread = fs::read_link("/proc/thread-self").expect("Linux");
                let address = listener.local_addr().expect("an address");
                let thread = format!("/proc/{}/schedstat", thread.display());
                tell.send(Self { address, thread }).expect("it is awaited");
                axum::serve(listener, app)
                    .await
                    .expect("served for as long as the process runs");
            });
        };
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(serve)
            .expect("a thread");
        told.recv().expect("the server starts")
    }

    /// How long its thread has run.
    fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(&self.thread).expect("the thread's times");
        let nanos = stat
            .split_ascii_whitespace()
            .next()
            .and_then(|nanos| nanos.parse().ok());
        Duration::from_nanos(nanos.expect("nanoseconds first"))
    }
}

/// Sends offers and awaits their answers, on the thread that drives it.
struct Load {
    runtime: Runtime,
}

impl Load {
    fn new() -> Self {
        Self { runtime: runtime() }
    }

    /// How many requests the server answered, and how fast.
    fn turn(&self, server: &Server, time: Duration) -> (u64, Turn) {
        self.runtime.block_on(async {
            let mut clients = Vec::new();
            for _ in 0..CONNECTIONS {
                clients.push(Client::connect(server.address).await);
            }
            let (start, cpu) = (Instant::now(), server.cpu());
            let clients: Vec<_> = clients
                .into_iter()
                .map(|client| tokio::spawn(client.run(start + time)))
                .collect();
            let mut requests = 0;
            for client in clients {
                requests += client.await.expect("all are answered");
            }
            let turn = Turn {
                per_second: requests as f64 / start.elapsed().as_secs_f64(),
                cpu: (server.cpu() - cpu).as_secs_f64() * 1e6 / requests as f64,
            };
            (requests, turn)
        })
    }
}

/// A publisher that sends a new offer when the last was answered.
struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    /// Where the number goes that makes the path and the offer unique.
    unique: [usize; 2],
}

/// Stands where a number of the same length goes.
const BLANK: &str = "########";

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let (before, after) = OFFER.split_once("a=ice-ufrag:").expect("ICE");
        let offer = format!("{before}a=ice-ufrag:{BLANK}{after}");
        let request = format!(
            "POST /whip/{BLANK} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer s3cret\r\naccept: application/sdp\r\n\
             content-type: application/sdp\r\ncontent-length: {}\r\n\r\n{offer}",
            offer.len(),
        );
        let mut blanks = request.match_indices(BLANK).map(|(at, _)| at);
        Self {
            unique: [(); 2].map(|()| blanks.next().expect("two of them")),
            request: request.into_bytes(),
            stream,
        }
    }

    async fn run(mut self, until: Instant) -> u64 {
        let mut requests = 0;
        let mut answer = vec![0; 16 * 1024];
        while Instant::now() < until {
            let number = format!("{:08x}", NEXT.fetch_add(1, Relaxed));
            for at in self.unique {
                self.request[at..at + BLANK.len()].copy_from_slice(number.as_bytes());
            }
            self.stream.write_all(&self.request).await.expect("sent");
            let mut read = 0;
            while !is_whole(&answer[..read]) {
                match self.stream.read(&mut answer[read..]).await.expect("an answer") {
                    0 => panic!("the server hung up"),
                    more => read += more,
                }
            }
            assert!(
                answer.starts_with(b"HTTP/1.1 201"),
                "{}",
                String::from_utf8_lossy(&answer[..read])
            );
            requests += 1;
        }
        requests
    }
}

/// Whether the answer is there with all of its body.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return false;
    };
    let fields = std::str::from_utf8(&answer[..head]).expect("a head in ASCII");
    let length = fields.lines().find_map(|field| field.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
    answer.len() == head + 4 + length
}

impl Rounds {
    /// To the bare server.
    fn ratios(&self, turns: &[Turn], figure: fn(&Turn) -> f64) -> Vec<f64> {
        let pairs = turns.iter().zip(&self.bare);
        pairs.map(|(turn, bare)| figure(turn) / figure(bare)).collect()
    }
}

fn spread(ratios: &[f64]) -> String {
    let [low, median, high] = [0.25, 0.5, 0.75].map(|share| quantile(ratios.to_vec(), share));
    format!("{median:.3} ({low:.3} to {high:.3})")
}

fn quantile(mut figures: Vec<f64>, share: f64) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[((figures.len() - 1) as f64 * share).round() as usize]
}

/// One thread each: a server must not run on the load's.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}
