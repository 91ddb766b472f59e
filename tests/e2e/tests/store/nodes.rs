//! Nodes that share a store, and the service behind all of them.

use std::{
    convert::Infallible,
    future::Ready,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_offer_dedup::{
    Fingerprint, Offer, OfferDedupLayer, Replay,
    extract::{Admission, ExtractOffer, Found},
    store::{Fence, OnStoreError, RedisOptions},
};

use crate::support::{PATIENCE, SECRET};

/// The text of an offer whose processing takes until [`Inner::answer_held`].
pub(crate) const HELD: &str = "held";

/// An answer, or the reason of a refusal.
pub(crate) type Reply = Result<String, String>;

#[derive(Clone, Debug)]
struct Message {
    peer: String,
    text: String,
    fence: Option<Fence>,
}

/// The service behind all nodes. It answers each call with its number.
#[derive(Clone)]
pub(crate) struct Inner(Arc<State>);

struct State {
    calls: Mutex<Vec<Message>>,
    held: Semaphore,
}

impl Inner {
    pub(crate) fn new() -> Self {
        Self(Arc::new(State {
            calls: Mutex::default(),
            held: Semaphore::new(0),
        }))
    }

    pub(crate) fn calls(&self) -> usize {
        self.0.calls.lock().unwrap().len()
    }

    /// Returns the numbers that the calls for an offer came with.
    pub(crate) fn fences(&self, peer: &str, text: &str) -> Vec<Option<Fence>> {
        let calls = self.0.calls.lock().unwrap();
        let same = calls.iter().filter(|call| call.peer == peer && call.text == text);
        same.map(|call| call.fence).collect()
    }

    pub(crate) async fn until_called(&self, calls: usize) {
        let start = Instant::now();
        while self.calls() < calls {
            assert!(start.elapsed() < PATIENCE, "the service should be called");
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn answer_held(&self) {
        self.0.held.close();
    }

    async fn handle(self, message: Message) -> Result<Reply, Infallible> {
        let is_held = message.text == HELD;
        let number = {
            let mut calls = self.0.calls.lock().unwrap();
            calls.push(message);
            calls.len()
        };
        if is_held {
            // Closed when it may answer.
            let _ = self.0.held.acquire().await;
        }
        Ok(Ok(format!("answer {number}")))
    }
}

#[derive(Clone)]
struct Offers;

impl ExtractOffer<Message> for Offers {
    type Request = Message;
    type Read = Ready<Found<Message, Infallible>>;

    fn extract(&self, message: Message) -> Found<Message, Self::Read> {
        let offer = Offer::new(&message.peer, Fingerprint::exact(message.text.as_bytes()));
        Found::Offer(message, offer)
    }

    fn prepare(&self, message: &mut Message, admission: &Admission) {
        message.fence = admission.fence();
    }
}

/// A layer with a connection of its own.
pub(crate) struct Node(BoxCloneSyncService<Message, Reply, Infallible>);

impl Node {
    pub(crate) async fn start(options: RedisOptions, inner: &Inner, mode: OnStoreError) -> Self {
        let store = options.secret(SECRET).connect().await;
        let layer = OfferDedupLayer::builder()
            .offers(Offers)
            // Longer than the slowest machine takes.
            .window(Duration::from_secs(600))
            .cooldown(Duration::ZERO)
            .answer(Replay::with(|refusal| Err(refusal.reason().to_string())).json_codec(1))
            .store(store.expect("the server should be reached"))
            .on_store_error(mode)
            .build();
        let inner = inner.clone();
        let service = service_fn(move |message| inner.clone().handle(message));
        Self(BoxCloneSyncService::new(layer.layer(service)))
    }

    /// Sends an offer. The task ends with the reply.
    pub(crate) fn send(&self, peer: &str, text: &str) -> JoinHandle<Reply> {
        let message = Message {
            peer: peer.to_owned(),
            text: text.to_owned(),
            fence: None,
        };
        let call = self.0.clone().oneshot(message);
        tokio::spawn(async move {
            let Ok(reply) = call.await;
            reply
        })
    }

    pub(crate) async fn call(&self, peer: &str, text: &str) -> Reply {
        self.send(peer, text).await.expect("the call should not panic")
    }

    /// Sends an offer until the store is not the reason of a refusal.
    pub(crate) async fn call_until_back(&self, peer: &str, text: &str) -> Reply {
        let start = Instant::now();
        loop {
            let reply = self.call(peer, text).await;
            if reply != Err("store_unavailable".to_owned()) {
                return reply;
            }
            assert!(start.elapsed() < PATIENCE, "the store should come back");
            sleep(Duration::from_millis(50)).await;
        }
    }
}
