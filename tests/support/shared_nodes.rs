//! Nodes that share a store, and the handler behind them.

#![allow(unreachable_pub, dead_code, reason = "each test file uses a part of this module")]

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame};
use tokio::{
    sync::Semaphore,
    task::JoinHandle,
    time::{Sleep, sleep},
};
use tower::{Layer, Service, util::BoxCloneSyncService};
use tower_offer_dedup::{
    Fingerprint, Offer, OfferDedupHandle, OfferDedupLayer, OfferSession, Stats, WhenBusy,
    extract::{Admission, ExtractOffer, Found},
    http::{BufferedBody, HttpAnswer},
    store::{Fence, MemoryStore, OnStoreError, SharedStore},
};

pub const SECOND: Duration = Duration::from_secs(1);

/// An offer's instructions to the handler.
#[derive(Clone, Debug)]
pub struct Message {
    pub peer: &'static str,
    pub text: &'static str,
    pub session: Option<OfferSession>,
    pub fence: Option<Fence>,
}

pub fn offer(text: &'static str) -> Message {
    Message {
        peer: "p",
        text,
        session: None,
        fence: None,
    }
}

#[derive(Clone)]
pub struct Offers;

impl ExtractOffer<Message> for Offers {
    type Request = Message;
    type Read = std::future::Ready<Found<Message, Infallible>>;

    fn extract(&self, message: Message) -> Found<Message, Self::Read> {
        let offer = Offer::new(message.peer, Fingerprint::exact(message.text.as_bytes()));
        Found::Offer(message, offer)
    }

    fn prepare(&self, message: &mut Message, admission: &Admission) {
        message.session = Some(admission.session().clone());
        message.fence = admission.fence();
    }
}

/// The handler behind all nodes. It answers each call with its number.
#[derive(Clone)]
pub struct Handler {
    pub calls: Arc<Mutex<Vec<Message>>>,
    /// A permit for each call that may be answered.
    answers: Arc<Semaphore>,
    pub status: Arc<Mutex<StatusCode>>,
    running: Arc<AtomicUsize>,
    /// The time that a call takes.
    takes: Duration,
    /// The time from the head of an answer to its body.
    body_takes: Duration,
    /// `true` if it never has capacity.
    is_full: bool,
}

impl Handler {
    /// A handler that answers at once.
    pub fn ready() -> Self {
        let handler = Self::held();
        handler.answers.add_permits(1000);
        handler
    }

    /// A handler that answers only when it is let.
    pub fn held() -> Self {
        Self {
            calls: Arc::default(),
            answers: Arc::new(Semaphore::new(0)),
            status: Arc::new(Mutex::new(StatusCode::CREATED)),
            running: Arc::default(),
            takes: Duration::ZERO,
            body_takes: Duration::ZERO,
            is_full: false,
        }
    }

    /// Makes each call take this long, and the body of its answer come so much later than the head.
    pub fn taking(self, takes: Duration, body_takes: Duration) -> Self {
        Self {
            takes,
            body_takes,
            ..self
        }
    }

    /// Takes all capacity away.
    pub fn full(self) -> Self {
        Self { is_full: true, ..self }
    }

    pub fn answer(&self) {
        self.answers.add_permits(1);
    }

    pub fn calls(&self) -> usize {
        self.calls.lock().unwrap().len()
    }

    pub fn last(&self) -> Message {
        self.calls.lock().unwrap().last().cloned().expect("a call")
    }

    pub fn running(&self) -> usize {
        self.running.load(Relaxed)
    }

    async fn handle(self, message: Message) -> Result<Response<LateBody>, Infallible> {
        let number = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(message);
            calls.len()
        };
        let _running = Running::new(&self.running);
        self.answers.acquire().await.expect("never closed").forget();
        if !self.takes.is_zero() {
            sleep(self.takes).await;
        }
        let mut response = Response::new(LateBody {
            text: Some(format!("answer {number}")),
            timer: (!self.body_takes.is_zero()).then(|| Box::pin(sleep(self.body_takes))),
        });
        *response.status_mut() = *self.status.lock().unwrap();
        Ok(response)
    }
}

impl Service<Message> for Handler {
    type Response = Response<LateBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<LateBody>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.is_full {
            Poll::Pending
        } else {
            Poll::Ready(Ok(()))
        }
    }

    fn call(&mut self, message: Message) -> Self::Future {
        Box::pin(self.clone().handle(message))
    }
}

/// The body of an answer, which may take its time.
pub struct LateBody {
    text: Option<String>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Body for LateBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(timer) = &mut self.timer {
            ready!(timer.as_mut().poll(cx));
            self.timer = None;
        }
        Poll::Ready(self.text.take().map(|text| Ok(Frame::data(text.into()))))
    }
}

struct Running(Arc<AtomicUsize>);

impl Running {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

pub struct Node {
    service: BoxCloneSyncService<Message, Response<BufferedBody<LateBody>>, Infallible>,
    pub handle: OfferDedupHandle,
}

pub struct Options {
    pub when_busy: WhenBusy,
    pub replays: bool,
    pub detached: bool,
    pub on_store_error: OnStoreError,
    pub cooldown: Duration,
    pub remembers_failures: bool,
}

pub const OPTIONS: Options = Options {
    when_busy: WhenBusy::Refuse,
    replays: true,
    detached: false,
    on_store_error: OnStoreError::FailOpen,
    cooldown: Duration::ZERO,
    remembers_failures: false,
};

pub const QUEUE: WhenBusy = WhenBusy::Queue {
    depth: 8,
    timeout: Duration::from_secs(10),
};

pub fn node(store: impl SharedStore, handler: &Handler, options: &Options) -> Node {
    let builder = OfferDedupLayer::builder()
        .offers(Offers)
        .when_busy(options.when_busy)
        .cooldown(options.cooldown)
        .store(store)
        .on_store_error(options.on_store_error)
        .remember_failures(options.remembers_failures);
    macro_rules! built {
        ($builder:expr) => {{
            let layer = $builder.build();
            Node {
                handle: layer.handle(),
                service: BoxCloneSyncService::new(layer.layer(handler.clone())),
            }
        }};
    }
    match (options.replays, options.detached) {
        (true, false) => built!(builder.answer(HttpAnswer::replaying())),
        (false, false) => built!(builder.answer(HttpAnswer::refusing())),
        (true, true) => built!(builder.answer(HttpAnswer::replaying()).finish_abandoned()),
        (false, true) => built!(builder.answer(HttpAnswer::refusing()).finish_abandoned()),
    }
}

pub fn two_nodes(handler: &Handler, options: &Options) -> [Node; 2] {
    let store = MemoryStore::new();
    [(); 2].map(|()| node(store.node(), handler, options))
}

impl Node {
    /// Sends an offer. The caller polls for the reply.
    pub fn reply(&self, message: Message) -> impl Future<Output = (u16, String)> + Send + use<> {
        let called = self.service.clone().call(message);
        async move {
            let response = called.await.expect("infallible");
            let status = response.status().as_u16();
            let body = text(response.into_body()).await;
            (status, if status < 300 { body } else { kind(&body) })
        }
    }

    pub fn send(&self, message: Message) -> JoinHandle<(u16, String)> {
        tokio::spawn(self.reply(message))
    }

    pub async fn call(&self, message: Message) -> (u16, String) {
        self.send(message).await.expect("no panic")
    }

    pub fn stats(&self) -> Stats {
        self.handle.stats()
    }
}

async fn text(body: BufferedBody<LateBody>) -> String {
    let bytes = body.collect().await.expect("a body").to_bytes();
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// The reason in a problem document.
fn kind(problem: &str) -> String {
    let (_, rest) = problem.split_once("2026:").unwrap_or(("", problem));
    rest.split('"').next().unwrap_or_default().to_owned()
}

pub fn answered(number: usize) -> (u16, String) {
    (201, format!("answer {number}"))
}

pub fn refused(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

/// Lets all tasks run until they wait for something.
pub async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
