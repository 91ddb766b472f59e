//! An inner service under the test's control, which fails on any misuse of readiness.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "shared: no test file uses all of it"
)]

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::oneshot;
use tower::Service;
use tower_offer_dedup::{Fingerprint, Offer, PeerKey, Reason, Refusal};

/// A request: `offer` is the text of one, if it is one.
#[derive(Clone, Debug)]
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

/// Something else, a candidate say.
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
    /// A completed failure.
    Failure(usize),
    Refused(Reason, Option<Duration>),
}

pub fn refuse(refusal: &Refusal) -> Reply {
    Reply::Refused(refusal.reason(), refusal.retry_after())
}

/// The reason of a refusal; panics on an answer.
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

/// How a call ends.
#[derive(Debug)]
pub enum End {
    Answer,
    Failure,
    Broken,
    Panic,
}

/// Hands every call to the test, which ends it. A call without readiness, or a second one on the same, panics.
#[derive(Debug, Default)]
pub struct Desk {
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

impl Desk {
    /// How many calls were made.
    pub fn calls(&self) -> usize {
        self.state.calls.lock().unwrap().made.len()
    }

    /// The text of the n-th call's offer.
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

    /// Whether the oldest open call was dropped; forgets it if so.
    pub fn was_dropped(&self) -> bool {
        let mut calls = self.state.calls.lock().unwrap();
        let dropped = calls.open.front().expect("no call is open").1.is_closed();
        if dropped {
            calls.open.pop_front();
        }
        dropped
    }

    /// Makes the next call panic at once.
    pub fn panic_in_call(&self) {
        self.state.calls.lock().unwrap().panic_in_call = true;
    }
}

/// Readiness is not copied.
impl Clone for Desk {
    fn clone(&self) -> Self {
        Self {
            is_ready: false,
            state: Arc::clone(&self.state),
        }
    }
}

impl Service<Message> for Desk {
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
