//! Servers, and the load that they are under.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs,
    net::SocketAddr,
    sync::{
        atomic::{AtomicU32, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use axum::Router;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    sync::oneshot,
};

/// What Chromium publishes by WHIP: audio and video, 5.4 KB.
const OFFER: &str = include_str!("../../tests/data/corpus/offers/chromium-whip-first.sdp");

pub(crate) const CONNECTIONS: usize = 16;

/// The number of the next offer.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A server on a thread of its own, for as long as this is kept.
pub(crate) struct Server {
    address: SocketAddr,
    /// Its own thread, and those that work for it.
    threads: &'static [&'static str],
    _running: oneshot::Sender<()>,
}

/// What a server did for one turn of the load.
pub(crate) struct Turn {
    pub(crate) per_second: f64,
    /// Microseconds of its threads for a request.
    pub(crate) cpu: f64,
}

impl Server {
    /// Its own thread is named by the first of `threads`.
    pub(crate) fn start(threads: &'static [&'static str], app: Router) -> Self {
        let (tell, told) = mpsc::channel();
        let serve = move || {
            runtime().block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let (running, ended) = oneshot::channel();
                let server = Self {
                    address: listener.local_addr().expect("an address"),
                    threads,
                    _running: running,
                };
                tell.send(server).expect("it is awaited");
                let ended = async { drop(ended.await) };
                axum::serve(listener, app)
                    .with_graceful_shutdown(ended)
                    .await
                    .expect("served to the end");
            });
        };
        thread::Builder::new()
            .name(threads[0].to_owned())
            .spawn(serve)
            .expect("a thread");
        told.recv().expect("the server starts")
    }

    /// How long each of its threads has run, in nanoseconds.
    fn cpu(&self) -> HashMap<OsString, u64> {
        let all = fs::read_dir("/proc/self/task").expect("Linux").flatten();
        let times = all.filter_map(|thread| {
            // A thread may be gone meanwhile.
            let name = fs::read_to_string(thread.path().join("comm")).ok()?;
            let times = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            let nanos = times.split_ascii_whitespace().next()?.parse().ok()?;
            let is_ours = self.threads.contains(&name.trim_end());
            is_ours.then(|| (thread.file_name(), nanos))
        });
        times.collect()
    }

    /// Nanoseconds that its threads have run since then.
    fn cpu_since(&self, before: &HashMap<OsString, u64>) -> u64 {
        let now = self.cpu();
        now.iter()
            .map(|(thread, nanos)| nanos - before.get(thread).unwrap_or(&0))
            .sum()
    }
}

/// Sends offers and awaits their answers, on the thread that drives it.
pub(crate) struct Load {
    runtime: Runtime,
}

impl Load {
    pub(crate) fn new() -> Self {
        Self { runtime: runtime() }
    }

    /// How many requests the server answered, and how fast.
    pub(crate) fn turn(&self, server: &Server, time: Duration) -> (u64, Turn) {
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
                cpu: server.cpu_since(&cpu) as f64 / 1e3 / requests as f64,
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

/// One thread each: a server must not run on the load's.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}
