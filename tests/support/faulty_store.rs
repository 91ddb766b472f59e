//! [`FaultyStore`]: a store whose calls can be made to fail.

#![allow(unreachable_pub, dead_code, reason = "each test file uses a part of this module")]

use std::{
    future::ready,
    panic::resume_unwind,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::sleep;
use tower_offer_dedup::{
    PeerKey,
    extract::SessionUri,
    store::{
        Ask, Claimed, Completed, Completion, Held, MemoryNode, MemoryStore, NodeId, Notices, Notifier, Renewed, Scope,
        SharedStore, StoreError, StoreFuture, notices,
    },
};

/// A store that can be made to fail.
#[derive(Debug)]
pub struct FaultyStore {
    node: MemoryNode,
    is_down: Arc<AtomicBool>,
    /// `true` if failing calls take effect all the same.
    loses_replies: bool,
    /// `true` if failing calls panic.
    pub panics: bool,
    /// The time from a call to its reply or failure.
    pub reply_delay: Duration,
    /// The time that `clear` takes in addition.
    pub clear_delay: Duration,
    /// `true` if no notice reaches the node.
    pub is_deaf: bool,
    /// The number of its calls.
    pub calls: Arc<AtomicUsize>,
    /// The number of its calls that claim.
    pub claims: Arc<AtomicUsize>,
    /// Kept, so that a deaf node goes on listening.
    unused: Mutex<Vec<Notifier>>,
}

impl FaultyStore {
    /// Makes a node, and the switch that makes its calls fail. `loses_replies`: they take effect all the same.
    pub fn new(store: &MemoryStore, loses_replies: bool) -> (Self, Arc<AtomicBool>) {
        let is_down = Arc::new(AtomicBool::new(false));
        let faulty = Self {
            node: store.node(),
            is_down: Arc::clone(&is_down),
            loses_replies,
            panics: false,
            reply_delay: Duration::ZERO,
            clear_delay: Duration::ZERO,
            is_deaf: false,
            calls: Arc::default(),
            claims: Arc::default(),
            unused: Mutex::default(),
        };
        (faulty, is_down)
    }

    fn run<T: Send + 'static>(&self, call: impl FnOnce(&MemoryNode) -> StoreFuture<T>) -> StoreFuture<T> {
        self.calls.fetch_add(1, Relaxed);
        let called = if !self.is_down.load(Relaxed) {
            call(&self.node)
        } else {
            if self.loses_replies {
                drop(call(&self.node));
            }
            if self.panics {
                resume_unwind(Box::new("the store panics"));
            }
            Box::pin(ready(Err(StoreError::new("down"))))
        };
        let delay = self.reply_delay;
        Box::pin(async move {
            let reply = called.await;
            if !delay.is_zero() {
                sleep(delay).await;
            }
            reply
        })
    }
}

impl SharedStore for FaultyStore {
    fn node(&self) -> NodeId {
        self.node.node()
    }
    fn claim(&self, ask: Ask) -> StoreFuture<Claimed> {
        self.claims.fetch_add(1, Relaxed);
        self.run(|node| node.claim(ask))
    }
    fn renew(&self, held: Held, lease: Duration, is_abandoned: bool) -> StoreFuture<Renewed> {
        self.run(|node| node.renew(held, lease, is_abandoned))
    }
    fn complete(&self, held: Held, completion: Completion) -> StoreFuture<Completed> {
        self.run(|node| node.complete(held, completion))
    }
    fn release(&self, held: Held) -> StoreFuture<()> {
        self.run(|node| node.release(held))
    }
    fn forget(&self, peer: PeerKey, scope: Scope) -> StoreFuture<bool> {
        self.run(|node| node.forget(peer, scope))
    }
    fn announce(&self, uri: SessionUri) -> StoreFuture<()> {
        self.run(|node| node.announce(uri))
    }
    fn clear(&self) -> StoreFuture<()> {
        let (cleared, delay) = (self.run(SharedStore::clear), self.clear_delay);
        Box::pin(async move {
            sleep(delay).await;
            cleared.await
        })
    }
    fn ping(&self) -> StoreFuture<()> {
        self.run(SharedStore::ping)
    }
    fn listen(&self) -> Notices {
        if !self.is_deaf {
            return self.node.listen();
        }
        let (notifier, notices) = notices();
        self.unused.lock().unwrap().push(notifier);
        notices
    }
}
