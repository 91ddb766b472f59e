//! [`MemoryStore`]: a shared store inside one process, for tests.

mod peer;

use std::{
    collections::HashMap,
    fmt,
    future::ready,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use self::peer::Peer;
use super::{
    Ask, Claimed, Completed, Completion, Fence, Held, NodeId, Notice, Notices, Notifier, Renewed, Scope, SharedStore,
    StoreFuture, notices,
};
use crate::{
    PeerKey,
    extract::SessionUri,
    gate::{Clock, Tick},
};

/// A shared store inside one process, for tests of several nodes. See the [module](super) for an example.
///
/// It keeps what it is given until [`clear`](SharedStore::clear), also past its deadline, so it is not for production.
/// Time is tokio's, which tests may pause.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Shared>);

/// One node of a [`MemoryStore`].
#[derive(Clone, Debug)]
pub struct MemoryNode {
    shared: Arc<Shared>,
    id: NodeId,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    nodes: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    peers: HashMap<PeerKey, Peer>,
    listeners: Vec<(NodeId, Notifier)>,
    /// The highest number so far. `clear` keeps it, so that numbers rise.
    last: u64,
}

impl MemoryStore {
    /// Makes an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a node.
    pub fn node(&self) -> MemoryNode {
        let id = self.0.nodes.fetch_add(1, Relaxed);
        MemoryNode {
            shared: Arc::clone(&self.0),
            id: NodeId::from_bytes(id.to_be_bytes()),
        }
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            clock: Clock::new(),
            nodes: AtomicU64::new(1),
            state: Mutex::default(),
        }
    }
}

impl State {
    fn notify(&mut self, node: NodeId, notice: Notice) {
        self.listeners
            .retain(|(listener, notifier)| *listener != node || notifier.notify(notice));
    }

    fn notify_others(&mut self, origin: NodeId, notice: Notice) {
        self.listeners
            .retain(|(listener, notifier)| *listener == origin || notifier.notify(notice));
    }

    fn wake(&mut self, peer: PeerKey, nodes: Vec<NodeId>) {
        for node in nodes {
            self.notify(node, Notice::Wake(peer));
        }
    }
}

impl MemoryNode {
    /// Runs `act` at once. The store decides in one step, and the reply is there already.
    fn run<T: Send + 'static>(&self, act: impl FnOnce(&mut State, Tick) -> T) -> StoreFuture<T> {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.shared.clock.now();
        Box::pin(ready(Ok(act(&mut state, now))))
    }
}

impl SharedStore for MemoryNode {
    fn node(&self) -> NodeId {
        self.id
    }

    fn claim(&self, ask: Ask) -> StoreFuture<Claimed> {
        self.run(|state, now| {
            let next = Fence::new(state.last + 1);
            let peer = state.peers.entry(ask.peer).or_default();
            let (claimed, lost) = peer.claim(&ask, next, now);
            if let Claimed::Admitted { fence, .. } = claimed {
                state.last = state.last.max(fence.get());
            }
            if let Some((token, cause)) = lost {
                let woken = peer.take_waiting();
                state.notify(token.node(), Notice::Lost(token, cause));
                state.wake(ask.peer, woken);
            }
            claimed
        })
    }

    fn renew(&self, held: Held, lease: Duration, is_abandoned: bool) -> StoreFuture<Renewed> {
        self.run(|state, now| {
            let peer = state.peers.entry(held.peer).or_default();
            let (renewed, woken) = peer.renew(held.token, now.after(lease), is_abandoned);
            state.wake(held.peer, woken);
            renewed
        })
    }

    fn complete(&self, held: Held, completion: Completion) -> StoreFuture<Completed> {
        self.run(|state, now| {
            let peer = state.peers.entry(held.peer).or_default();
            let (completed, woken) = peer.complete(held.token, completion, now);
            state.wake(held.peer, woken);
            completed
        })
    }

    fn release(&self, held: Held) -> StoreFuture<()> {
        self.run(|state, _| {
            let peer = state.peers.entry(held.peer).or_default();
            let (woken, displacer) = peer.release(held.token);
            state.wake(held.peer, woken);
            if let Some(token) = displacer {
                state.notify(token.node(), Notice::Stopped(held.token));
            }
        })
    }

    fn forget(&self, peer: PeerKey, scope: Scope) -> StoreFuture<bool> {
        self.run(|state, now| {
            let last = Fence::new(state.last);
            let entry = state.peers.entry(peer).or_default();
            let (was_known, woken) = entry.forget(scope, now);
            state.wake(peer, woken);
            state.notify_others(self.id, Notice::Forgotten(peer, scope, last));
            was_known
        })
    }

    fn announce(&self, uri: SessionUri) -> StoreFuture<()> {
        self.run(|state, _| state.notify_others(self.id, Notice::Ended(uri)))
    }

    fn clear(&self) -> StoreFuture<()> {
        self.run(|state, _| {
            let mut peers: Vec<_> = std::mem::take(&mut state.peers).into_iter().collect();
            // In the same order each time, so that tests can be repeated.
            peers.sort_unstable_by_key(|(peer, _)| peer.to_bytes());
            for (peer, entry) in peers {
                state.wake(peer, entry.into_waiting());
            }
            state.notify_others(self.id, Notice::Cleared);
        })
    }

    fn ping(&self) -> StoreFuture<()> {
        self.run(|_, _| ())
    }

    fn listen(&self) -> Notices {
        let (notifier, notices) = notices();
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.listeners.push((self.id, notifier));
        notices
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("peers", &self.peers.len())
            .finish_non_exhaustive()
    }
}
