//! An inner service that the test controls. It panics on any misuse of readiness.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each test file uses a part of this module"
)]

pub mod captured_events;
pub mod child;
pub mod collectors;
pub mod layered;
pub mod probe;
pub mod process;

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

use tokio::{sync::oneshot, task::yield_now};
use tokio_test::{
    assert_pending, assert_ready,
    task::{Spawn, spawn},
};
use tower::Service;
use tower_offer_dedup::{Fingerprint, Offer, OfferDedupBuilder, OfferDedupLayer, PeerKey, Reason, Refusal};

/// A request. `offer` is the text of the offer, or `None` if the request is not an offer.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub peer: &'static str,
    pub offer: Option<String>,
}

/// An offer of `peer`.
pub fn offer(peer: &'static str, text: impl Into<String>) -> Message {
    Message {
        peer,
        offer: Some(text.into()),
    }
}

/// A request that is not an offer, such as a candidate.
pub fn other(peer: &'static str) -> Message {
    Message { peer, offer: None }
}

/// Finds the offer in a [`Message`].
pub fn offers(message: &Message) -> Option<Offer> {
    let text = message.offer.as_ref()?;
    Some(Offer::new(message.peer, Fingerprint::exact(text.as_bytes())).label(message.peer))
}

pub fn key(peer: &str) -> PeerKey {
    PeerKey::from(peer)
}

#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The answer to the n-th call.
    Answer(usize),
    /// A response that counts as a failure.
    Failure(usize),
    Refused(Reason, Option<Duration>),
}

pub fn refuse(refusal: &Refusal) -> Reply {
    Reply::Refused(refusal.reason(), refusal.retry_after())
}

/// Returns the reason of a refusal. Panics on an answer.
#[track_caller]
pub fn reason(reply: Result<Reply, Broken>) -> Reason {
    match reply {
        Ok(Reply::Refused(reason, _)) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

pub fn is_answer(reply: &Reply) -> bool {
    matches!(reply, Reply::Answer(_))
}

/// The inner service's error.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken")
    }
}

impl std::error::Error for Broken {}

/// The end of an inner call.
#[derive(Debug)]
pub enum End {
    Answer,
    Failure,
    Broken,
    Panic,
}

/// An inner service whose calls the test ends. Panics unless `poll_ready` precedes each call.
#[derive(Debug, Default)]
pub struct ManualService {
    is_ready: bool,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    calls: Mutex<Calls>,
}

#[derive(Debug, Default)]
struct Calls {
    made: Vec<Message>,
    open: VecDeque<(usize, oneshot::Sender<End>)>,
    panic_in_call: bool,
}

impl ManualService {
    /// The number of calls made so far.
    pub fn calls(&self) -> usize {
        self.state.calls.lock().unwrap().made.len()
    }

    /// The text of the offer in the n-th call.
    pub fn call_text(&self, n: usize) -> String {
        self.state.calls.lock().unwrap().made[n]
            .offer
            .clone()
            .unwrap_or_default()
    }

    /// Ends the oldest open call.
    #[track_caller]
    pub fn end(&self, end: End) {
        let call = self.state.calls.lock().unwrap().open.pop_front();
        let (_, sender) = call.expect("no call is open");
        sender.send(end).expect("the call was dropped");
    }

    /// Ends the n-th call. Returns `false` if it was no longer open.
    pub fn end_nth(&self, n: usize, end: End) -> bool {
        let mut calls = self.state.calls.lock().unwrap();
        let open = calls.open.iter().position(|(call, _)| *call == n);
        let call = open.and_then(|open| calls.open.remove(open));
        call.is_some_and(|(_, sender)| sender.send(end).is_ok())
    }

    /// Returns `true` while the n-th call is being processed.
    pub fn is_open(&self, n: usize) -> bool {
        let calls = self.state.calls.lock().unwrap();
        calls
            .open
            .iter()
            .any(|(call, sender)| *call == n && !sender.is_closed())
    }

    /// The number of calls being processed: neither ended nor dropped.
    pub fn open(&self) -> usize {
        let calls = self.state.calls.lock().unwrap();
        calls.open.iter().filter(|(_, sender)| !sender.is_closed()).count()
    }

    /// Returns `true` if the oldest open call was dropped, and removes it.
    pub fn was_dropped(&self) -> bool {
        let mut calls = self.state.calls.lock().unwrap();
        let dropped = calls.open.front().expect("no call is open").1.is_closed();
        if dropped {
            calls.open.pop_front();
        }
        dropped
    }

    /// Makes the next `call` panic.
    pub fn panic_in_call(&self) {
        self.set_panic_in_call(true);
    }

    /// Sets whether the next call panics.
    pub fn set_panic_in_call(&self, panics: bool) {
        self.state.calls.lock().unwrap().panic_in_call = panics;
    }
}

/// A clone does not copy readiness, as tower requires.
impl Clone for ManualService {
    fn clone(&self) -> Self {
        Self {
            is_ready: false,
            state: Arc::clone(&self.state),
        }
    }
}

impl Service<Message> for ManualService {
    type Response = Reply;
    type Error = Broken;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, Broken>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, message: Message) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "called without readiness");
        let (sender, receiver) = oneshot::channel();
        let mut calls = self.state.calls.lock().unwrap();
        let n = calls.made.len();
        calls.made.push(message);
        if std::mem::take(&mut calls.panic_in_call) {
            drop(calls);
            panic!("call panics");
        }
        calls.open.push_back((n, sender));
        Box::pin(async move {
            match receiver.await.unwrap_or(End::Broken) {
                End::Answer => Ok(Reply::Answer(n)),
                End::Failure => Ok(Reply::Failure(n)),
                End::Broken => Err(Broken),
                End::Panic => panic!("processing panics"),
            }
        })
    }
}

pub const SECOND: Duration = Duration::from_secs(1);

/// The smallest step of time, to test both sides of a deadline.
pub const NANO: Duration = Duration::from_nanos(1);

/// Nameable types of the functions in this file.
pub type Offers = fn(&Message) -> Option<Offer>;
pub type Refuser = fn(&Refusal) -> Reply;

pub type Builder<A> = OfferDedupBuilder<Offers, A>;

/// A builder with the default settings for the services of this module.
pub fn builder<A>(answer: A) -> Builder<A> {
    OfferDedupLayer::builder().offers(offers as _).answer(answer)
}

/// Sends a request that must not be answered at once.
#[track_caller]
pub fn pending<S>(service: &mut S, message: Message) -> Spawn<S::Future>
where
    S: Service<Message, Response = Reply, Error = Broken>,
{
    let mut call = spawn(service.call(message));
    assert_pending!(call.poll());
    call
}

/// Sends a request that must be answered at once.
#[track_caller]
pub fn at_once<S>(service: &mut S, message: Message) -> Result<Reply, Broken>
where
    S: Service<Message, Response = Reply, Error = Broken>,
{
    assert_ready!(spawn(service.call(message)).poll())
}

/// Sends an offer, ends its call with `end`, and returns the reply.
#[track_caller]
pub fn through<S>(service: &mut S, manual: &ManualService, message: Message, end: End) -> Result<Reply, Broken>
where
    S: Service<Message, Response = Reply, Error = Broken>,
{
    let mut call = pending(service, message);
    manual.end(end);
    assert_ready!(call.poll())
}

/// Counts the polls of a future.
pub fn counted<F: Future>(future: F) -> (impl Future<Output = F::Output>, Arc<AtomicUsize>) {
    let polls = Arc::new(AtomicUsize::new(0));
    let (mut future, counter) = (Box::pin(future), Arc::clone(&polls));
    let counting = poll_fn(move |cx| {
        counter.fetch_add(1, Relaxed);
        future.as_mut().poll(cx)
    });
    (counting, polls)
}

/// Yields until spawned tasks have nothing left to do. Paused time does not advance.
pub async fn settle() {
    for _ in 0..32 {
        yield_now().await;
    }
}

/// Runs both closures at the same moment on two threads.
pub fn together<A, B: Send>(one: impl FnOnce() -> A, other: impl FnOnce() -> B + Send) -> (A, B) {
    let barrier = Barrier::new(2);
    thread::scope(|threads| {
        let other = threads.spawn(|| {
            barrier.wait();
            other()
        });
        barrier.wait();
        let one = one();
        (one, other.join().unwrap())
    })
}
