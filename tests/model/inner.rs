//! The inner service, which the test controls. It panics on any misuse of readiness.

use std::{
    collections::BTreeMap,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use tokio::sync::oneshot;
use tower::Service;
use tower_offer_dedup::{Fingerprint, Offer};

use crate::{
    support::{Broken, Reply},
    terms::{Capacity, End, Id, Peer, Quality},
};

#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) id: Id,
    pub(crate) peer: Peer,
    pub(crate) offer: u8,
    /// Makes the call panic.
    pub(crate) is_poison: bool,
}

pub(crate) fn offers(message: &Message) -> Option<Offer> {
    Some(Offer::new(message.peer, fingerprint(message.offer)))
}

pub(crate) fn fingerprint(offer: u8) -> Fingerprint {
    Fingerprint::exact(&[offer])
}

#[derive(Debug, Default)]
pub(crate) struct Inner {
    is_ready: bool,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    capacity: Capacity,
    wakers: Vec<Waker>,
    called: Vec<Id>,
    open: BTreeMap<Id, oneshot::Sender<End>>,
}

impl Inner {
    /// The requests handed to the service, in order.
    pub(crate) fn called(&self) -> Vec<Id> {
        self.state().called.clone()
    }

    /// The requests being processed: neither ended nor dropped.
    pub(crate) fn open(&self) -> Vec<Id> {
        let mut state = self.state();
        state.open.retain(|_, sender| !sender.is_closed());
        state.open.keys().copied().collect()
    }

    /// Ends the call of a request. Returns `false` if it was not open.
    pub(crate) fn end(&self, id: Id, end: End) -> bool {
        let call = self.state().open.remove(&id);
        call.is_some_and(|sender| sender.send(end).is_ok())
    }

    pub(crate) fn set_capacity(&self, capacity: Capacity) {
        let wakers = {
            let mut state = self.state();
            state.capacity = capacity;
            mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// A clone does not copy readiness, as tower requires.
impl Clone for Inner {
    fn clone(&self) -> Self {
        Self {
            is_ready: false,
            state: Arc::clone(&self.state),
        }
    }
}

impl Service<Message> for Inner {
    type Response = Reply;
    type Error = Broken;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, Broken>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let mut state = self.state.lock().unwrap();
        self.is_ready = state.capacity == Capacity::Ready;
        match state.capacity {
            Capacity::Ready => Poll::Ready(Ok(())),
            Capacity::Broken => Poll::Ready(Err(Broken)),
            Capacity::Full => {
                state.wakers.push(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn call(&mut self, Message { id, is_poison, .. }: Message) -> Self::Future {
        assert!(mem::take(&mut self.is_ready), "called without readiness");
        let (sender, end) = oneshot::channel();
        {
            let mut state = self.state();
            state.called.push(id);
            if !is_poison {
                state.open.insert(id, sender);
            }
        }
        assert!(!is_poison, "call panics");
        Box::pin(async move {
            match end.await.unwrap_or(End::Err) {
                End::Answer(Quality::Success) => Ok(Reply::Answer(id)),
                End::Answer(Quality::Failure) => Ok(Reply::Failure(id)),
                End::Err => Err(Broken),
                End::Panic => panic!("processing panics"),
            }
        })
    }
}
