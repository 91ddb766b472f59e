//! [`SharedStore`]: arbitrates between nodes.

use std::{fmt, ops::Deref, panic::AssertUnwindSafe, pin::Pin, sync::Arc, time::Duration};

use super::{Ask, Claimed, Completed, Completion, Held, NodeId, Notices, Renewed, Scope, StoreError};
use crate::{PeerKey, extract::SessionUri};

/// The future of a store's call.
pub type StoreFuture<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// Arbitrates between the nodes that share it. One value is one node's connection to the store.
///
/// Each call is atomic: it takes effect as a whole or not at all. The layer drops a call that takes longer than 250 ms.
/// Such a call may still take effect. The layer repeats all calls but `claim` and `renew` until they are acknowledged, for
/// at most 10 s. So every call must be idempotent; a repeated `announce` may notify again. `clear` may take 2 s. A store
/// that panics counts as one that fails.
///
/// Everything that a store keeps has a deadline. The store's own clock decides, never a node's. Two layers must not share
/// one store under the same name or prefix: their peers would be the same.
///
/// [`conformance`](super::conformance) checks an implementation.
pub trait SharedStore: fmt::Debug + Send + Sync + 'static {
    /// Returns the id of this node, which [`ClaimToken`](super::ClaimToken)s begin with.
    fn node(&self) -> NodeId;

    /// Decides on an offer, in this order:
    ///
    /// 1. The offer is remembered: [`Claimed::Processed`] or [`Claimed::Superseded`].
    /// 2. The claim is held by the same token: [`Claimed::Admitted`] with the same number.
    /// 3. The claim is held inside its lease by the same offer: [`Claimed::InFlight`]. The claim is attended again.
    /// 4. The claim is held inside its lease by a different offer: [`Claimed::Busy`], unless it is abandoned or
    ///    [`Ask::supersede`] is set. Then it is taken away, and its node gets a [`Notice::Lost`](super::Notice::Lost).
    ///    A superseded offer is remembered as such, and the marks that name it then name the new claim. Nodes that wait
    ///    are woken.
    /// 5. The peer cools down, and `supersede` is not set: [`Claimed::CoolingDown`].
    /// 6. Otherwise the claim is granted, with a higher number than every one before. A claim past its lease is taken
    ///    away, and its node is notified.
    fn claim(&self, ask: Ask) -> StoreFuture<Claimed>;

    /// Starts the lease of a held claim anew, and notes whether a request still waits for it. An abandoned claim is taken
    /// away by the next different offer; nodes that wait for it are woken. Renewal never acquires a claim, but renews one
    /// that is past its lease and was not taken away.
    fn renew(&self, held: Held, lease: Duration, is_abandoned: bool) -> StoreFuture<Renewed>;

    /// Ends a claim: remembers the offer, starts the cooldown, wakes the nodes that wait. A claim past its lease that was
    /// not taken away completes as well. A peer remembers at most 16 offers; past that the oldest go. A repetition changes
    /// nothing.
    fn complete(&self, held: Held, completion: Completion) -> StoreFuture<Completed>;

    /// Ends a claim without a memory. The offers that it superseded are forgotten, and the nodes that wait are woken. For
    /// a claim that was displaced, this confirms that its processing has stopped: the node that displaced it gets a
    /// [`Notice::Stopped`](super::Notice::Stopped). It does not get one if another node has displaced it in turn, or if its
    /// claim has ended. So the layer waits for it at most 100 ms.
    fn release(&self, held: Held) -> StoreFuture<()>;

    /// Forgets what `scope` names. All other nodes get a [`Notice::Forgotten`](super::Notice::Forgotten). Returns whether
    /// there was anything.
    fn forget(&self, peer: PeerKey, scope: Scope) -> StoreFuture<bool>;

    /// Notifies all other nodes that the session at `uri` has ended.
    fn announce(&self, uri: SessionUri) -> StoreFuture<()>;

    /// Forgets everything. All other nodes get a [`Notice::Cleared`](super::Notice::Cleared).
    fn clear(&self) -> StoreFuture<()>;

    /// Checks whether the store can be reached.
    fn ping(&self) -> StoreFuture<()>;

    /// Returns the notices for this node from now on.
    fn listen(&self) -> Notices;
}

/// A store as a layer holds it. It counts as unwind safe: a store that panics in a call is in no worse state than one
/// that fails.
#[derive(Debug)]
pub(crate) struct AnyStore(AssertUnwindSafe<Arc<dyn SharedStore>>);

impl AnyStore {
    pub(crate) fn new(store: impl SharedStore) -> Self {
        Self(AssertUnwindSafe(Arc::new(store)))
    }
}

impl Clone for AnyStore {
    fn clone(&self) -> Self {
        Self(AssertUnwindSafe(Arc::clone(&self.0)))
    }
}

impl Deref for AnyStore {
    type Target = dyn SharedStore;

    fn deref(&self) -> &Self::Target {
        &**self.0
    }
}
