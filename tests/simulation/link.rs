//! [`Link`]: whether a node runs, and whether it reaches the store.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
};

use tokio::{sync::Notify, time::Instant};
use tower_offer_dedup::store::{Notice, Notifier};

/// The state of a node and of its link to the store.
#[derive(Debug)]
pub(crate) struct Link {
    /// The number of this node. A restarted node has a new one.
    pub(crate) node: usize,
    /// The number of pauses under way.
    pauses: AtomicUsize,
    /// Wakes in order, unlike a watch channel.
    resumed: Notify,
    cuts: AtomicUsize,
    is_dead: AtomicBool,
    has_missed: AtomicBool,
    /// The number of clears to keep from the node.
    pub(crate) hidden_clears: AtomicUsize,
    notifier: Mutex<Option<Notifier>>,
    /// When the node was last paused, or a call of it last failed.
    last_trouble: Mutex<Option<Instant>>,
    /// When the node was last paused or cut off, by the network or by its breaker.
    last_outage: Mutex<Option<Instant>>,
}

impl Link {
    pub(crate) fn new(node: usize) -> Self {
        Self {
            node,
            pauses: AtomicUsize::new(0),
            resumed: Notify::new(),
            cuts: AtomicUsize::new(0),
            is_dead: AtomicBool::new(false),
            has_missed: AtomicBool::new(false),
            hidden_clears: AtomicUsize::new(0),
            notifier: Mutex::new(None),
            last_trouble: Mutex::new(None),
            last_outage: Mutex::new(None),
        }
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.is_dead.load(Relaxed)
    }

    pub(crate) fn kill(&self) {
        self.is_dead.store(true, Relaxed);
        self.note_outage();
    }

    pub(crate) fn is_running(&self) -> bool {
        self.pauses.load(Relaxed) == 0 && !self.is_dead()
    }

    pub(crate) fn pause(&self) {
        self.note_outage();
        self.pauses.fetch_add(1, Relaxed);
    }

    pub(crate) fn resume(&self) {
        self.note_outage();
        self.pauses.fetch_sub(1, Relaxed);
        self.resumed.notify_waiters();
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cuts.load(Relaxed) > 0
    }

    pub(crate) fn cut(&self) {
        self.note_outage();
        self.cuts.fetch_add(1, Relaxed);
    }

    /// Connects the node again. It is told that it may have missed notices.
    pub(crate) async fn heal(&self) {
        self.note_outage();
        if self.cuts.fetch_sub(1, Relaxed) == 1 && self.has_missed.swap(false, Relaxed) {
            self.running().await;
            self.notify(Notice::Missed);
        }
    }

    pub(crate) fn note_missed(&self) {
        self.has_missed.store(true, Relaxed);
    }

    pub(crate) fn listen(&self, notifier: Notifier) {
        *self.notifier.lock().unwrap() = Some(notifier);
    }

    pub(crate) fn notify(&self, notice: Notice) {
        if let Some(notifier) = &*self.notifier.lock().unwrap() {
            notifier.notify(notice);
        }
    }

    pub(crate) fn note_trouble(&self) {
        *self.last_trouble.lock().unwrap() = Some(Instant::now());
    }

    pub(crate) fn note_outage(&self) {
        self.note_trouble();
        *self.last_outage.lock().unwrap() = Some(Instant::now());
    }

    /// Returns whether the node was paused or cut off at some time since then.
    pub(crate) fn had_outage_since(&self, since: Instant) -> bool {
        let last = *self.last_outage.lock().unwrap();
        !self.is_running() || self.is_cut() || last.is_some_and(|last| last >= since)
    }

    /// Returns whether the node was paused or cut off, or had a failing call, at some time since then.
    pub(crate) fn had_trouble_since(&self, since: Instant) -> bool {
        let last = *self.last_trouble.lock().unwrap();
        !self.is_running() || self.is_cut() || last.is_some_and(|last| last >= since)
    }

    pub(crate) fn ever_had_trouble(&self) -> bool {
        self.last_trouble.lock().unwrap().is_some()
    }

    /// Resolves while the node runs. A dead node never does.
    pub(crate) async fn running(&self) {
        while !self.is_running() {
            self.resumed.notified().await;
        }
    }

    /// Runs `future` as a part of the node: it is not polled while the node is paused or dead.
    pub(crate) async fn run<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            self.running().await;
            let polled = poll_fn(|cx| {
                if self.is_running() {
                    future.as_mut().poll(cx).map(Some)
                } else {
                    Poll::Ready(None)
                }
            });
            if let Some(output) = polled.await {
                return output;
            }
        }
    }
}
