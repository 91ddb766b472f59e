//! Two nodes of the store that is checked, and helpers that panic with the broken rule.

use std::{collections::hash_map::RandomState, hash::BuildHasher, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::super::{
    Ask, ClaimToken, Claimed, Completed, Completion, Fence, Held, Notice, Notices, Renewed, Scope, SharedStore,
    StoreFuture,
};
use crate::{Fingerprint, PeerKey, answer::EncodedRecord, extract::SessionUri};

/// Outlasts every check.
pub(super) const LONG: Duration = Duration::from_secs(60);
/// A deadline that a check waits for. Calls on a slow machine must be faster.
pub(super) const SHORT: Duration = Duration::from_secs(1);
/// The longest delivery of a notice.
const DELIVERY: Duration = Duration::from_secs(5);

pub(super) const NO_WAIT: Duration = Duration::ZERO;

/// Both nodes, and the peer of the current check.
pub(super) struct Pair {
    pub(super) first: Node,
    pub(super) second: Node,
    salt: u64,
    case: &'static str,
}

pub(super) struct Node {
    store: Arc<dyn SharedStore>,
    notices: Notices,
    claims: u64,
    peer: PeerKey,
}

impl Pair {
    pub(super) fn new([first, second]: [Arc<dyn SharedStore>; 2]) -> Self {
        assert_ne!(first.node(), second.node(), "each node has an id of its own");
        Self {
            first: Node::new(first),
            second: Node::new(second),
            // A store that is checked twice holds the peers of the first run.
            salt: RandomState::new().hash_one(0),
            case: "",
        }
    }

    pub(super) fn next_case(&mut self, case: &'static str) {
        self.case = case;
        let peer = self.peer("alice");
        self.first.peer = peer;
        self.second.peer = peer;
    }

    /// Returns a peer of the current check.
    pub(super) fn peer(&self, name: &str) -> PeerKey {
        PeerKey::from((self.salt, self.case, name))
    }

    /// Has the first node complete `offer`.
    pub(super) async fn process(&mut self, offer: &str, completion: Completion) -> Fence {
        let (held, fence) = self.first.admitted(offer).await;
        self.first.complete(held, completion).await;
        fence
    }

    /// Has the second node wait for the claim of the first.
    pub(super) async fn wait_for(&mut self, offer: &str) {
        let claimed = self.second.ask(offer).await;
        assert!(
            matches!(claimed, Claimed::InFlight { .. } | Claimed::Busy { .. }),
            "a held claim makes others wait, not {claimed:?}"
        );
    }
}

impl Node {
    fn new(store: Arc<dyn SharedStore>) -> Self {
        Self {
            notices: store.listen(),
            store,
            claims: 0,
            peer: PeerKey::from(""),
        }
    }

    pub(super) fn set_peer(&mut self, peer: PeerKey) {
        self.peer = peer;
    }

    /// Makes a question about `offer` with a new token.
    pub(super) fn question(&mut self, offer: &str) -> Ask {
        self.claims += 1;
        Ask {
            peer: self.peer,
            fingerprint: fingerprint(offer),
            token: ClaimToken::new(self.store.node(), self.claims),
            lease: LONG,
            wants_record: true,
            supersede: None,
        }
    }

    pub(super) async fn claim(&self, ask: Ask) -> Claimed {
        succeeded("claim", self.store.claim(ask)).await
    }

    pub(super) async fn ask(&mut self, offer: &str) -> Claimed {
        let ask = self.question(offer);
        self.claim(ask).await
    }

    /// Claims `offer`, which must be admitted.
    pub(super) async fn admitted(&mut self, offer: &str) -> (Held, Fence) {
        let ask = self.question(offer);
        self.admitted_as(ask).await
    }

    pub(super) async fn admitted_as(&self, ask: Ask) -> (Held, Fence) {
        let claimed = self.claim(ask).await;
        let Claimed::Admitted { fence, .. } = claimed else {
            panic!("a free peer admits, but the answer is {claimed:?}");
        };
        (ask.held(), fence)
    }

    /// Claims `offer` for a lease that ends soon.
    pub(super) async fn admitted_for_short(&mut self, offer: &str) -> (Held, Fence) {
        let ask = Ask {
            lease: SHORT,
            ..self.question(offer)
        };
        self.admitted_as(ask).await
    }

    /// Claims `offer`, and takes the claim of a different one away.
    pub(super) async fn supersede(&mut self, offer: &str) -> (Held, Claimed) {
        let ask = Ask {
            supersede: Some(LONG),
            ..self.question(offer)
        };
        (ask.held(), self.claim(ask).await)
    }

    pub(super) async fn renew(&self, held: Held, lease: Duration, is_abandoned: bool) -> Renewed {
        succeeded("renew", self.store.renew(held, lease, is_abandoned)).await
    }

    pub(super) async fn try_complete(&self, held: Held, completion: Completion) -> Completed {
        succeeded("complete", self.store.complete(held, completion)).await
    }

    pub(super) async fn complete(&self, held: Held, completion: Completion) {
        let completed = self.try_complete(held, completion).await;
        assert_eq!(completed, Completed::Done, "a held claim completes");
    }

    pub(super) async fn release(&self, held: Held) {
        succeeded("release", self.store.release(held)).await;
    }

    pub(super) async fn forget(&self, scope: Scope) -> bool {
        succeeded("forget", self.store.forget(self.peer, scope)).await
    }

    pub(super) async fn clear(&self) {
        succeeded("clear", self.store.clear()).await;
    }

    pub(super) async fn announce(&self, uri: SessionUri) {
        succeeded("announce", self.store.announce(uri)).await;
    }

    pub(super) async fn ping(&self) {
        succeeded("ping", self.store.ping()).await;
    }

    /// Waits for a notice, and skips others. Returns what was skipped.
    pub(super) async fn expect(&mut self, expected: Notice, rule: &str) -> Vec<Notice> {
        let mut skipped = Vec::new();
        let arrival = timeout(DELIVERY, async {
            while let Some(notice) = self.notices.next().await {
                if notice == expected {
                    return true;
                }
                skipped.push(notice);
            }
            false
        });
        let has_arrived = arrival.await == Ok(true);
        assert!(has_arrived, "{rule}: {expected:?} did not arrive, but {skipped:?}");
        skipped
    }

    /// Waits until the peer's claim is reported as ended.
    pub(super) async fn expect_wake(&mut self) {
        let wake = Notice::Wake(self.peer);
        self.expect(wake, "a node that waits for a claim is woken when that ends")
            .await;
    }

    /// Waits for a notice of this kind about the peer, and returns what it carries.
    pub(super) async fn expect_forgotten(&mut self) -> (Scope, Fence) {
        let arrival = timeout(DELIVERY, async {
            loop {
                match self.notices.next().await {
                    Some(Notice::Forgotten(peer, scope, fence)) if peer == self.peer => return (scope, fence),
                    Some(_) => {}
                    None => panic!("the notices go on"),
                }
            }
        });
        arrival.await.expect("the other nodes are notified of a forget")
    }
}

async fn succeeded<T>(call: &str, future: StoreFuture<T>) -> T {
    future
        .await
        .unwrap_or_else(|error| panic!("{call} succeeds on a store that works: {error}"))
}

/// Waits until a deadline of [`SHORT`] is over.
pub(super) async fn after_short() {
    sleep(SHORT + Duration::from_millis(50)).await;
}

pub(super) fn fingerprint(offer: &str) -> Fingerprint {
    Fingerprint::exact(offer.as_bytes())
}

/// Remembers for long, without a cooldown or a record.
pub(super) fn plain() -> Completion {
    Completion {
        window: LONG,
        cooldown: NO_WAIT,
        record: None,
    }
}

pub(super) fn with_record(record: EncodedRecord) -> Completion {
    Completion {
        record: Some(record),
        ..plain()
    }
}

#[track_caller]
pub(super) fn assert_in_lease(left: Duration, lease: Duration) {
    assert!(
        left > NO_WAIT && left <= lease,
        "the rest of {lease:?} is inside it, not {left:?}"
    );
}

#[track_caller]
pub(super) fn assert_admitted(claimed: &Claimed, rule: &str) {
    assert!(
        matches!(claimed, Claimed::Admitted { .. }),
        "{rule}, but the answer is {claimed:?}"
    );
}

#[track_caller]
pub(super) fn assert_processed(claimed: &Claimed, rule: &str) {
    assert!(
        matches!(claimed, Claimed::Processed { .. }),
        "{rule}, but the answer is {claimed:?}"
    );
}

#[track_caller]
pub(super) fn assert_superseded(claimed: &Claimed, rule: &str) {
    assert!(
        matches!(claimed, Claimed::Superseded { .. }),
        "{rule}, but the answer is {claimed:?}"
    );
}
