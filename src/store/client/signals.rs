//! [`Signals`]: wakes the requests that notices concern.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Notify, futures::OwnedNotified, oneshot};

use super::super::{ClaimToken, Lost};
use crate::PeerKey;

/// The requests that wait for a notice.
#[derive(Debug, Default)]
pub(super) struct Signals(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<PeerKey, (Arc<Notify>, usize)>,
    held: HashMap<ClaimToken, oneshot::Sender<Lost>>,
}

/// Waits for the end of a claim of one peer. Dropped, it gives up its entry.
#[derive(Debug)]
pub(crate) struct Subscription<'a> {
    signals: &'a Signals,
    peer: PeerKey,
    notify: Arc<Notify>,
}

impl Signals {
    pub(super) fn subscribe(&self, peer: PeerKey) -> Subscription<'_> {
        let notify = self.with(|state| {
            let (notify, subscribers) = state.waiting.entry(peer).or_default();
            *subscribers += 1;
            Arc::clone(notify)
        });
        Subscription {
            signals: self,
            peer,
            notify,
        }
    }

    pub(super) fn wake(&self, peer: PeerKey) {
        let notify = self.with(|state| state.waiting.get(&peer).map(|(notify, _)| Arc::clone(notify)));
        if let Some(notify) = notify {
            notify.notify_waiters();
        }
    }

    pub(super) fn wake_all(&self) {
        let all: Vec<_> = self.with(|state| state.waiting.values().map(|(notify, _)| Arc::clone(notify)).collect());
        all.iter().for_each(|notify| notify.notify_waiters());
    }

    pub(super) fn watch(&self, token: ClaimToken) -> oneshot::Receiver<Lost> {
        let (sender, receiver) = oneshot::channel();
        self.with(|state| state.held.insert(token, sender));
        receiver
    }

    pub(super) fn unwatch(&self, token: ClaimToken) {
        // Dropped outside the mutex: it wakes the receiver.
        let _sender = self.with(|state| state.held.remove(&token));
    }

    pub(super) fn lose(&self, token: ClaimToken, cause: Lost) {
        if let Some(sender) = self.with(|state| state.held.remove(&token)) {
            // The claim may have ended meanwhile.
            let _ = sender.send(cause);
        }
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

impl Drop for Subscription<'_> {
    fn drop(&mut self) {
        self.signals.with(|state| {
            if let Entry::Occupied(mut entry) = state.waiting.entry(self.peer) {
                entry.get_mut().1 -= 1;
                if entry.get().1 == 0 {
                    entry.remove();
                }
            }
        });
    }
}
