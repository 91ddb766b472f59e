//! A node: a layer on a thread of its own, and the handler that all nodes share.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::LocalSet,
};
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_offer_dedup::{
    Fingerprint, Offer, OfferDedupHandle, OfferDedupLayer, Replay, Stats, WhenBusy,
    extract::{Admission, ExtractOffer, Found},
    store::{Fence, OnStoreError, RedisOptions},
};

pub(crate) const SECRET: &[u8] = b"a secret of all nodes";

/// The text of an offer whose processing takes until [`Handler::answer_held`].
pub(crate) const HELD: &str = "held";

/// Longer than a slow machine takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// An answer, or the reason of a refusal.
pub(crate) type Reply = Result<String, String>;

#[derive(Clone, Debug)]
pub(crate) struct Message {
    peer: String,
    text: String,
    fence: Option<Fence>,
}

/// The handler behind all nodes. It answers each call with its number.
#[derive(Clone)]
pub(crate) struct Handler(Arc<State>);

struct State {
    calls: Mutex<Vec<Message>>,
    /// A permit for each call that may be answered.
    answers: Semaphore,
    /// Closed when offers with the text [`HELD`] may be answered.
    held: Semaphore,
    running: Mutex<HashMap<String, usize>>,
    /// The most calls of one peer that ran at once.
    overlap: AtomicUsize,
}

impl Handler {
    /// A handler that answers at once.
    pub(crate) fn ready() -> Self {
        let handler = Self::held();
        handler.answer(1_000_000);
        handler
    }

    /// A handler that answers when it is let.
    pub(crate) fn held() -> Self {
        Self(Arc::new(State {
            calls: Mutex::default(),
            answers: Semaphore::new(0),
            held: Semaphore::new(0),
            running: Mutex::default(),
            overlap: AtomicUsize::new(0),
        }))
    }

    pub(crate) fn answer(&self, calls: usize) {
        self.0.answers.add_permits(calls);
    }

    pub(crate) fn answer_held(&self) {
        self.0.held.close();
    }

    pub(crate) fn calls(&self) -> usize {
        self.0.calls.lock().unwrap().len()
    }

    /// Returns the numbers that the calls came with.
    pub(crate) fn fences(&self) -> Vec<Option<Fence>> {
        self.fences_if(|_| true)
    }

    /// Returns the numbers that the calls for one offer came with.
    pub(crate) fn fences_of(&self, peer: &str, text: &str) -> Vec<Option<Fence>> {
        self.fences_if(|message| message.peer == peer && message.text == text)
    }

    fn fences_if(&self, is_meant: impl Fn(&Message) -> bool) -> Vec<Option<Fence>> {
        let calls = self.0.calls.lock().unwrap();
        let meant = calls.iter().filter(|message| is_meant(message));
        meant.map(|message| message.fence).collect()
    }

    /// The most calls of one peer that ran at once.
    pub(crate) fn overlap(&self) -> usize {
        self.0.overlap.load(Relaxed)
    }

    /// Waits until there have been this many calls.
    pub(crate) async fn until_called(&self, calls: usize) {
        until("the handler is called", || self.calls() >= calls).await;
    }

    async fn handle(self, message: Message) -> Result<Reply, Infallible> {
        let number = {
            let mut calls = self.0.calls.lock().unwrap();
            calls.push(message.clone());
            calls.len()
        };
        let is_held = message.text == HELD;
        let _running = Running::start(&self.0, message.peer);
        if is_held {
            // An error says that it was closed.
            let _ = self.0.held.acquire().await;
        }
        self.0.answers.acquire().await.expect("never closed").forget();
        Ok(Ok(format!("answer {number}")))
    }
}

struct Running(Arc<State>, String);

impl Running {
    fn start(state: &Arc<State>, peer: String) -> Self {
        let mut all = state.running.lock().unwrap();
        let running = all.entry(peer.clone()).or_default();
        *running += 1;
        state.overlap.fetch_max(*running, Relaxed);
        Self(Arc::clone(state), peer)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.running.lock().unwrap().get_mut(&self.1).expect("it runs") -= 1;
    }
}

#[derive(Clone)]
struct Offers;

impl ExtractOffer<Message> for Offers {
    type Request = Message;
    type Read = std::future::Ready<Found<Message, Infallible>>;

    fn extract(&self, message: Message) -> Found<Message, Self::Read> {
        let offer = Offer::new(&message.peer, Fingerprint::exact(message.text.as_bytes()));
        Found::Offer(message, offer)
    }

    fn prepare(&self, message: &mut Message, admission: &Admission) {
        message.fence = admission.fence();
    }
}

type Job = Box<dyn FnOnce(&Service) + Send>;
type Service = BoxCloneSyncService<Message, Reply, Infallible>;

/// A layer on a thread of its own.
pub(crate) struct Node {
    jobs: mpsc::UnboundedSender<Job>,
    handle: OfferDedupHandle,
}

/// Settings that tests change.
#[derive(Clone, Copy)]
pub(crate) struct Mode {
    pub(crate) when_busy: WhenBusy,
    pub(crate) on_store_error: OnStoreError,
}

pub(crate) const OPEN: Mode = Mode {
    when_busy: WhenBusy::Refuse,
    on_store_error: OnStoreError::FailOpen,
};

pub(crate) const CLOSED: Mode = Mode {
    on_store_error: OnStoreError::FailClosed,
    ..OPEN
};

impl Node {
    pub(crate) async fn start(options: RedisOptions, handler: &Handler, mode: Mode) -> Self {
        let (jobs, mut inbox) = mpsc::unbounded_channel::<Job>();
        let (started, starting) = oneshot::channel();
        let handler = handler.clone();
        thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().expect("a runtime");
            runtime.block_on(LocalSet::new().run_until(async move {
                let store = options.secret(SECRET).connect().await;
                let layer = OfferDedupLayer::builder()
                    .offers(Offers)
                    .when_busy(mode.when_busy)
                    // Longer than the slowest machine takes.
                    .window(Duration::from_secs(600))
                    .cooldown(Duration::ZERO)
                    .answer(Replay::with(|refusal| Err(refusal.reason().to_string())).json_codec(1))
                    .store(store.expect("the server should be reached"))
                    .on_store_error(mode.on_store_error)
                    .build();
                let inner = service_fn(move |message| handler.clone().handle(message));
                let service = BoxCloneSyncService::new(layer.layer(inner));
                let _ = started.send(layer.handle());
                while let Some(job) = inbox.recv().await {
                    job(&service);
                }
            }));
        });
        Self {
            jobs,
            handle: starting.await.expect("the node should start"),
        }
    }

    /// Sends an offer. The receiver gets the reply.
    pub(crate) fn send(&self, peer: &str, text: &str) -> oneshot::Receiver<Reply> {
        let (replied, reply) = oneshot::channel();
        let message = Message {
            peer: peer.to_owned(),
            text: text.to_owned(),
            fence: None,
        };
        self.run(move |service| {
            let call = service.clone().oneshot(message);
            tokio::spawn(async move {
                let Ok(reply) = call.await;
                let _ = replied.send(reply);
            });
        });
        reply
    }

    pub(crate) async fn call(&self, peer: &str, text: &str) -> Reply {
        self.send(peer, text).await.expect("a reply")
    }

    /// Sends an offer again until it is not refused for want of the store. Returns its reply, and how often it was refused.
    pub(crate) async fn until_answered(
        &self,
        reply: oneshot::Receiver<Reply>,
        peer: &str,
        text: &str,
    ) -> (Reply, usize) {
        let mut reply = reply.await.expect("a reply");
        let mut refused = 0;
        let start = Instant::now();
        while reply == Err("store_unavailable".to_owned()) {
            assert!(start.elapsed() < PATIENCE, "the store should come back");
            refused += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
            reply = self.call(peer, text).await;
        }
        (reply, refused)
    }

    /// Sends an offer until it is not refused for want of the store.
    pub(crate) async fn call_until_back(&self, peer: &str, text: &str) -> Reply {
        self.until_answered(self.send(peer, text), peer, text).await.0
    }

    /// Waits until the store takes messages of the node.
    pub(crate) async fn until_back(&self) {
        let start = Instant::now();
        loop {
            let dropped = self.stats().store_messages_dropped;
            self.handle.forget("nobody");
            until("the message is sent", || self.stats().store_messages == 0).await;
            if self.stats().store_messages_dropped == dropped {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "the store should come back");
        }
    }

    /// Stops the node's thread: nothing of it runs meanwhile, not even its timers.
    pub(crate) fn pause(&self, time: Duration) {
        self.run(move |_| thread::sleep(time));
    }

    pub(crate) fn handle(&self) -> &OfferDedupHandle {
        &self.handle
    }

    pub(crate) fn stats(&self) -> Stats {
        self.handle.stats()
    }

    fn run(&self, job: impl FnOnce(&Service) + Send + 'static) {
        assert!(self.jobs.send(Box::new(job)).is_ok(), "the node should run");
    }
}

/// Starts `N` nodes.
pub(crate) async fn nodes<const N: usize>(url: &str, handler: &Handler, mode: Mode) -> [Node; N] {
    let mut nodes = Vec::new();
    for _ in 0..N {
        nodes.push(Node::start(RedisOptions::new(url), handler, mode).await);
    }
    nodes
        .try_into()
        .unwrap_or_else(|_| unreachable!("as many were started"))
}

/// Waits for a condition. A slow machine may take long.
pub(crate) async fn until(what: &str, is_true: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Asserts the reply to an offer that was overtaken: its own answer, or that it was aborted.
#[track_caller]
pub(crate) fn assert_answered_or_aborted(late: &Reply, answer: &str) {
    assert!(
        *late == Ok(answer.to_owned()) || *late == Err("aborted".to_owned()),
        "{late:?}"
    );
}
