//! [`Outbox`]: messages to the store that nobody waits for.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use super::{CallError, Completion, Held, Operation, Scope, StoreClient};
use crate::{
    PeerKey,
    extract::SessionUri,
    quiet::{catch, quietly},
};

/// The limit of waiting messages. Past it, new ones are dropped. Leases free the claims that they would have ended.
const MAX_MESSAGES: usize = 4096;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Messages to the store that nobody waits for. Those of one peer arrive in order, those of different peers at once.
///
/// A completion whose reply was lost is sent again, and a store may then reply that the claim was lost: it knows only the
/// last completion of each peer. So what it replies counts for nothing here.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    state: Mutex<State>,
    /// The number of messages that are to be sent later.
    held: AtomicUsize,
    /// Notified whenever a message is gone, and when a task that delivers has ended before its time.
    delivered: Notify,
}

/// Counts a message that is to be sent later, until this is dropped.
pub(super) struct Hold(Weak<StoreClient>);

impl Hold {
    pub(super) fn client(&self) -> Option<Arc<StoreClient>> {
        self.0.upgrade()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(client) = self.0.upgrade() {
            // Relaxed: `notify` orders it.
            client.outbox.held.fetch_sub(1, Relaxed);
            client.outbox.notify();
        }
    }
}

/// A peer, or `None` for messages without one.
type Key = Option<[u8; 16]>;

#[derive(Debug, Default)]
struct State {
    /// Messages by peer; those without a peer are a line of their own.
    lines: BTreeMap<Key, Line>,
    messages: usize,
}

#[derive(Debug, Default)]
struct Line {
    messages: VecDeque<(Message, Instant)>,
    /// `true` while a task delivers the messages.
    is_served: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Message {
    Complete(Held, Completion),
    Release(Held),
    Forget(PeerKey, Scope),
    Announce(SessionUri),
    Clear,
}

impl Message {
    fn key(&self) -> Key {
        match self {
            Self::Complete(held, _) | Self::Release(held) => Some(held.peer.to_bytes()),
            Self::Forget(peer, _) => Some(peer.to_bytes()),
            Self::Announce(_) | Self::Clear => None,
        }
    }

    /// Delivers it once.
    async fn deliver(&self, client: &Arc<StoreClient>) -> Result<(), CallError> {
        match self.clone() {
            Self::Complete(held, completion) => client
                .quiet_call(Operation::Complete, |store| store.complete(held, completion))
                .await
                .map(drop),
            Self::Release(held) => client.quiet_call(Operation::Release, |store| store.release(held)).await,
            Self::Forget(peer, scope) => client
                .quiet_call(Operation::Forget, |store| store.forget(peer, scope))
                .await
                .map(drop),
            Self::Announce(uri) => {
                client
                    .quiet_call(Operation::Announce, |store| store.announce(uri))
                    .await
            }
            Self::Clear => client.quiet_call(Operation::Clear, |store| store.clear()).await,
        }
    }
}

impl Outbox {
    /// Sends a message. It is tried again until it is acknowledged or `deadline` has passed.
    pub(super) fn send(&self, client: &Arc<StoreClient>, message: Message, deadline: Instant) {
        let peer = message.key();
        let is_sent = self.with(|state| {
            let has_room = state.messages < MAX_MESSAGES;
            if has_room {
                state.messages += 1;
                state
                    .lines
                    .entry(peer)
                    .or_default()
                    .messages
                    .push_back((message, deadline));
            }
            has_room
        });
        if is_sent {
            let noted = catch(|| client.meter.message_sent());
            self.serve(client, peer);
            noted.resume();
        } else {
            client.meter.message_dropped("too many wait");
        }
    }

    /// Serves the lines that nobody serves, as there was no runtime, or theirs has shut down. What is overdue is dropped:
    /// it would end newer claims and memories than it was meant for.
    pub(super) fn resume(&self, client: &Arc<StoreClient>) {
        let now = Instant::now();
        let mut overdue = 0;
        let idle: Vec<_> = self.with(|state| {
            state.lines.retain(|_, line| {
                let before = line.messages.len();
                line.messages.retain(|(_, deadline)| line.is_served || now < *deadline);
                overdue += before - line.messages.len();
                line.is_served || !line.messages.is_empty()
            });
            state.messages -= overdue;
            let lines = state.lines.iter();
            lines
                .filter(|(_, line)| !line.is_served)
                .map(|(peer, _)| *peer)
                .collect()
        });
        idle.into_iter().for_each(|peer| self.serve(client, peer));
        for _ in 0..overdue {
            expire(client);
        }
        if overdue > 0 {
            self.notify();
        }
    }

    /// Resolves when nothing is under way that a decision on the peer has to come after.
    pub(super) async fn delivered(&self, peer: PeerKey) {
        loop {
            // Subscribed before the look, so that a delivery in between is not missed.
            let delivered = self.delivered.notified();
            let is_pending = self.with(|state| {
                let clears = state.lines.get(&None).is_some_and(|line| {
                    let mut messages = line.messages.iter();
                    messages.any(|(message, _)| matches!(message, Message::Clear))
                });
                clears || state.lines.contains_key(&Some(peer.to_bytes()))
            });
            if !is_pending {
                return;
            }
            delivered.await;
        }
    }

    /// Returns how many messages wait.
    pub(super) fn len(&self) -> usize {
        self.with(|state| state.messages)
    }

    /// Resolves when no message waits.
    pub(super) async fn drain(&self, client: &Arc<StoreClient>) {
        loop {
            let delivered = self.delivered.notified();
            self.resume(client);
            if self.held.load(Relaxed) == 0 && self.len() == 0 {
                return;
            }
            delivered.await;
        }
    }

    /// Counts a message that is to be sent later.
    pub(super) fn hold(&self, client: &Arc<StoreClient>) -> Hold {
        self.held.fetch_add(1, Relaxed);
        Hold(Arc::downgrade(client))
    }

    /// Starts a task for a line unless it has one.
    fn serve(&self, client: &Arc<StoreClient>, peer: Key) {
        let is_new = self.with(|state| {
            let line = state.lines.get_mut(&peer);
            line.is_some_and(|line| !std::mem::replace(&mut line.is_served, true))
        });
        if is_new {
            let delivery = Delivery {
                client: Arc::clone(client),
                key: peer,
                has_begun: false,
                is_done: false,
            };
            // Without a runtime it is dropped, and `resume` starts another one.
            client.spawn(delivery.run());
        }
    }

    fn notify(&self) {
        // Wakers may panic.
        quietly(|| self.delivered.notify_waiters());
    }

    fn stop(&self, peer: Key) {
        self.with(|state| {
            if let Some(line) = state.lines.get_mut(&peer) {
                line.is_served = false;
            }
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        // Poisoning is ignored: nothing in here panics half-way.
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Notes that a message has waited in vain.
fn expire(client: &StoreClient) {
    quietly(|| client.meter.message_gone());
    quietly(|| client.meter.message_dropped("it was not acknowledged in time"));
}

/// Delivers the messages of one line. Dropped before that is done, as when a runtime shuts down, it leaves the line to
/// the next one.
struct Delivery {
    client: Arc<StoreClient>,
    key: Key,
    has_begun: bool,
    /// `true` once the line was empty, and removed. A newer one of the same key has a task of its own.
    is_done: bool,
}

impl Delivery {
    async fn run(mut self) {
        self.has_begun = true;
        let mut pause = FIRST_PAUSE;
        while !self.is_done
            && let Some((message, deadline)) = self.first()
        {
            let delivered = message.deliver(&self.client).await;
            if delivered.is_err() && Instant::now() < deadline {
                sleep(pause).await;
                pause = (2 * pause).min(LONGEST_PAUSE);
                continue;
            }
            self.remove_first();
            pause = FIRST_PAUSE;
            match delivered {
                Ok(()) => quietly(|| self.client.meter.message_gone()),
                Err(_) => expire(&self.client),
            }
        }
    }

    fn first(&self) -> Option<(Message, Instant)> {
        let outbox = &self.client.outbox;
        outbox.with(|state| state.lines.get(&self.key)?.messages.front().cloned())
    }

    fn remove_first(&mut self) {
        let outbox = &self.client.outbox;
        outbox.with(|state| {
            if let Some(line) = state.lines.get_mut(&self.key) {
                line.messages.pop_front();
                state.messages -= 1;
                if line.messages.is_empty() {
                    // At once, since requests wait for it.
                    state.lines.remove(&self.key);
                    self.is_done = true;
                }
            }
        });
        outbox.notify();
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let outbox = &self.client.outbox;
        if !self.is_done {
            outbox.stop(self.key);
        }
        // Not without a runtime, where the next task would end at once as well.
        if self.has_begun && !self.is_done {
            outbox.notify();
        }
    }
}
