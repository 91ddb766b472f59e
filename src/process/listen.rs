//! Applies the notices of the shared store to this node.

use std::sync::{Arc, Weak};

use crate::{
    answer::Ended,
    gate::{self, Gate},
    layer::{Core, forget_all},
    observe,
    quiet::quietly,
    sessions::Sessions,
    store::{Notice, Notices, Scope, client::StoreClient},
};

/// The target of notices. Held weakly: the task that reads them must not keep a layer alive.
struct Listener {
    gate: Weak<Gate>,
    sessions: Weak<Sessions>,
    client: Weak<StoreClient>,
}

/// Starts the task that reads the notices, unless it runs already.
///
/// # Panics
///
/// Outside a tokio runtime.
pub(crate) fn listen<A>(core: &Core<A>, client: &Arc<StoreClient>) {
    let listener = Listener {
        gate: Arc::downgrade(&core.gate),
        sessions: Arc::downgrade(&core.sessions),
        client: Arc::downgrade(client),
    };
    if client.listen(|notices| listener.run(notices)) {
        // The runtime of the earlier task has shut down.
        core.gate.hide_memories();
        observe::notices_missed();
    }
}

impl Listener {
    async fn run(self, mut notices: Notices) {
        while let Some(notice) = notices.next().await {
            let (Some(gate), Some(sessions), Some(client)) =
                (self.gate.upgrade(), self.sessions.upgrade(), self.client.upgrade())
            else {
                return;
            };
            // A subscriber that panics must not end the task.
            quietly(|| apply(notice, &gate, &sessions, &client));
        }
    }
}

fn apply(notice: Notice, gate: &Arc<Gate>, sessions: &Sessions, client: &StoreClient) {
    match notice {
        Notice::Wake(peer) => client.wake(peer),
        Notice::Lost(token, cause) => client.lose(token, cause),
        Notice::Stopped(token) => client.note_stopped(token),
        Notice::Forgotten(peer, scope, fence) => {
            let scope = match scope {
                Scope::Peer => gate::Scope::Older {
                    fingerprint: None,
                    fence,
                },
                Scope::Offer(fingerprint) => gate::Scope::Older {
                    fingerprint: Some(fingerprint),
                    fence,
                },
                Scope::Claim(fingerprint, fence) => gate::Scope::Fenced(fingerprint, fence),
            };
            // Before the memories go: a reply that is older than this notice must not bring them back. Wakers may panic.
            quietly(|| client.wake(peer));
            gate.forget(peer, scope);
        }
        Notice::Ended(uri) => forget_all(&sessions.end(&uri, Ended::Yes)),
        Notice::Cleared => {
            quietly(|| client.wake_all());
            quietly(|| gate.clear());
            sessions.clear();
        }
        Notice::Missed => {
            gate.hide_memories();
            client.wake_all();
            observe::notices_missed();
        }
    }
}
