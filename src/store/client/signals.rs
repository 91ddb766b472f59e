//! [`Signals`]: wakes the requests that notices concern.

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use tokio::sync::{Notify, futures::OwnedNotified, oneshot};

use super::{
    super::{ClaimToken, Lost},
    StoreClient,
};
use crate::{PeerKey, quiet::Caught};

/// The requests that wait for a notice.
#[derive(Debug, Default)]
pub(super) struct Signals(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// In order, so that a simulation wakes the same requests in the same order.
    waiting: BTreeMap<Signal, (Arc<Notify>, usize)>,
    held: HashMap<ClaimToken, oneshot::Sender<Lost>>,
}

/// A reason to wake several requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Signal {
    /// Something of the peer has ended, or was forgotten.
    Peer([u8; 16]),
    /// The processing of a displaced claim has stopped.
    Stop([u8; 16]),
}

impl Signal {
    pub(super) fn of_peer(peer: PeerKey) -> Self {
        Self::Peer(peer.to_bytes())
    }

    pub(super) fn of_stop(displaced: ClaimToken) -> Self {
        Self::Stop(displaced.to_bytes())
    }
}

/// Waits for a signal. Dropped, it gives up its entry.
#[derive(Debug)]
pub(crate) struct Subscription<'a> {
    signals: &'a Signals,
    signal: Signal,
    notify: Arc<Notify>,
}

/// Waits for the loss of a claim of this node. Dropped, it gives up its entry.
#[derive(Debug)]
pub(crate) struct Watch {
    client: Arc<StoreClient>,
    token: ClaimToken,
    lost: oneshot::Receiver<Lost>,
}

impl Signals {
    pub(super) fn subscribe(&self, signal: Signal) -> Subscription<'_> {
        let notify = self.with(|state| {
            let (notify, subscribers) = state.waiting.entry(signal).or_default();
            *subscribers += 1;
            Arc::clone(notify)
        });
        Subscription {
            signals: self,
            signal,
            notify,
        }
    }

    pub(super) fn wake(&self, signal: Signal) {
        let notify = self.with(|state| state.waiting.get(&signal).map(|(notify, _)| Arc::clone(notify)));
        if let Some(notify) = notify {
            notify.notify_waiters();
        }
    }

    /// Wakes the requests that wait for any peer, in the order of the peers. Nothing has stopped thereby.
    pub(super) fn wake_all(&self) {
        let all: Vec<_> = self.with(|state| {
            let peers = state
                .waiting
                .iter()
                .filter(|(signal, _)| matches!(signal, Signal::Peer(_)));
            peers.map(|(_, (notify, _))| Arc::clone(notify)).collect()
        });
        // A waker that panics must not keep the other peers from being woken.
        let woken = all.iter().fold(Caught::default(), |woken, notify| {
            woken.and_also(|| notify.notify_waiters())
        });
        woken.resume();
    }

    pub(super) fn lose(&self, token: ClaimToken, cause: Lost) {
        if let Some(sender) = self.with(|state| state.held.remove(&token)) {
            // The claim may have ended meanwhile.
            let _ = sender.send(cause);
        }
    }

    /// Returns whether this node holds a claim, or may hold it.
    pub(super) fn is_held(&self, token: ClaimToken) -> bool {
        self.with(|state| state.held.contains_key(&token))
    }

    /// Returns how many peers and claims are waited for.
    pub(super) fn len(&self) -> usize {
        self.with(|state| state.waiting.len() + state.held.len())
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        // Poisoning is ignored: nothing in here panics half-way.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Subscription<'_> {
    /// Returns a future that is ready after the next wake-up from now on.
    pub(crate) fn notified(&self) -> OwnedNotified {
        Arc::clone(&self.notify).notified_owned()
    }
}

impl Watch {
    pub(super) fn new(client: Arc<StoreClient>, token: ClaimToken) -> Self {
        let (sender, lost) = oneshot::channel();
        client.signals.with(|state| state.held.insert(token, sender));
        Self { client, token, lost }
    }
}

impl Future for Watch {
    type Output = Lost;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Lost> {
        match Pin::new(&mut self.lost).poll(cx) {
            Poll::Ready(Ok(lost)) => Poll::Ready(lost),
            // Tokens are unique, so the sender stays in its entry until it sends.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Dropped outside the mutex: it wakes the receiver.
        let _sender = self.client.signals.with(|state| state.held.remove(&self.token));
    }
}

impl Drop for Subscription<'_> {
    fn drop(&mut self) {
        self.signals.with(|state| {
            if let Entry::Occupied(mut entry) = state.waiting.entry(self.signal) {
                entry.get_mut().1 -= 1;
                if entry.get().1 == 0 {
                    entry.remove();
                }
            }
        });
    }
}
