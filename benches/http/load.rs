//! The servers, and the load on them.

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

/// An offer that Chromium publishes by WHIP: audio and video, 5.4 KB.
const OFFER: &str = include_str!("../../tests/data/corpus/offers/chromium-whip-first.sdp");

pub(crate) const CONNECTIONS: usize = 16;

/// The number of the next offer.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A server on its own thread. Stopped on drop.
pub(crate) struct Server {
    address: SocketAddr,
    /// Names of its own thread and of the threads that work for it.
    threads: &'static [&'static str],
    _running: oneshot::Sender<()>,
}

/// A server's work in one turn of the load.
pub(crate) struct Turn {
    pub(crate) per_second: f64,
    /// CPU time of its threads per request, in microseconds.
    pub(crate) cpu: f64,
}

impl Server {
    /// The first of `threads` names the server's own thread.
    pub(crate) fn start(threads: &'static [&'static str], app: Router) -> Self {
        let (sender, receiver) = mpsc::channel();
        let serve = move || {
            runtime().block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port should be free");
                let (running, ended) = oneshot::channel();
                let server = Self {
                    address: listener.local_addr().expect("the listener should have an address"),
                    threads,
                    _running: running,
                };
                sender.send(server).expect("the starter should wait");
                let ended = async { drop(ended.await) };
                axum::serve(listener, app)
                    .with_graceful_shutdown(ended)
                    .await
                    .expect("the server should end cleanly");
            });
        };
        thread::Builder::new()
            .name(threads[0].to_owned())
            .spawn(serve)
            .expect("the thread should start");
        receiver.recv().expect("the server should start")
    }

    /// The run time of each of its threads, in nanoseconds.
    fn cpu(&self) -> HashMap<OsString, u64> {
        let all = fs::read_dir("/proc/self/task")
            .expect("/proc should be mounted")
            .flatten();
        let times = all.filter_map(|thread| {
            // A thread may have ended meanwhile.
            let name = fs::read_to_string(thread.path().join("comm")).ok()?;
            let times = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            let nanos = times.split_ascii_whitespace().next()?.parse().ok()?;
            let is_ours = self.threads.contains(&name.trim_end());
            is_ours.then(|| (thread.file_name(), nanos))
        });
        times.collect()
    }

    /// Nanoseconds that its threads have run since `before`.
    fn cpu_since(&self, before: &HashMap<OsString, u64>) -> u64 {
        let now = self.cpu();
        now.iter()
            .map(|(thread, nanos)| nanos - before.get(thread).unwrap_or(&0))
            .sum()
    }
}

/// The requests of a client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Traffic {
    NewOffers,
    /// Repeats of the client's first offer.
    Duplicates,
}

/// Sends offers and awaits their answers on the calling thread.
pub(crate) struct Load {
    runtime: Runtime,
    traffic: Traffic,
}

impl Load {
    pub(crate) fn new(traffic: Traffic) -> Self {
        Self {
            runtime: runtime(),
            traffic,
        }
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Returns the number of answered requests, and the server's work.
    pub(crate) fn turn(&self, server: &Server, time: Duration) -> (u64, Turn) {
        self.runtime.block_on(async {
            let mut clients = Vec::new();
            for _ in 0..CONNECTIONS {
                clients.push(Client::connect(server.address).await);
            }
            let (start, cpu) = (Instant::now(), server.cpu());
            let clients: Vec<_> = clients
                .into_iter()
                .map(|client| tokio::spawn(client.run(self.traffic, start + time)))
                .collect();
            let mut requests = 0;
            for client in clients {
                requests += client.await.expect("every request should be answered");
            }
            let turn = Turn {
                per_second: requests as f64 / start.elapsed().as_secs_f64(),
                cpu: server.cpu_since(&cpu) as f64 / 1e3 / requests as f64,
            };
            (requests, turn)
        })
    }
}

/// A publisher that sends the next offer after each answer.
struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    /// Positions of the number that makes the path and the offer unique.
    unique: [usize; 2],
}

/// Placeholder for a number of the same length.
const BLANK: &str = "########";

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the connection should open");
        stream.set_nodelay(true).expect("the socket should take the option");
        let (before, after) = OFFER
            .split_once("a=ice-ufrag:")
            .expect("the offer should have ICE credentials");
        let offer = format!("{before}a=ice-ufrag:{BLANK}{after}");
        let request = format!(
            "POST /whip/{BLANK} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer s3cret\r\naccept: application/sdp\r\n\
             content-type: application/sdp\r\ncontent-length: {}\r\n\r\n{offer}",
            offer.len(),
        );
        let mut blanks = request.match_indices(BLANK).map(|(at, _)| at);
        Self {
            unique: [(); 2].map(|()| blanks.next().expect("the request should have two placeholders")),
            request: request.into_bytes(),
            stream,
        }
    }

    async fn run(mut self, traffic: Traffic, until: Instant) -> u64 {
        let mut requests = 0;
        let mut answer = vec![0; 16 * 1024];
        while Instant::now() < until {
            if requests == 0 || traffic == Traffic::NewOffers {
                let number = format!("{:08x}", NEXT.fetch_add(1, Relaxed));
                for at in self.unique {
                    self.request[at..at + BLANK.len()].copy_from_slice(number.as_bytes());
                }
            }
            self.stream
                .write_all(&self.request)
                .await
                .expect("the request should be sent");
            let mut read = 0;
            while !is_whole(&answer[..read]) {
                match self
                    .stream
                    .read(&mut answer[read..])
                    .await
                    .expect("an answer should come")
                {
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

/// Returns `true` once the answer has arrived with its whole body.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return false;
    };
    let fields = std::str::from_utf8(&answer[..head]).expect("the head should be ASCII");
    let length = fields.lines().find_map(|field| field.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().expect("the length should be a number"));
    answer.len() == head + 4 + length
}

/// A runtime with one thread, so that a server never runs on the load's thread.
fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the runtime should start")
}
