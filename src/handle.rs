//! [`OfferDedupHandle`]: looks into a layer, and forgets peers.

use std::{fmt, sync::Arc};

use crate::{PeerKey, Stats, gate::Gate};

/// Looks into a layer, and forgets peers that left. Cheap to clone.
///
/// # Examples
///
/// ```
/// use tower_offer_dedup::{OfferDedupLayer, Refusal, Refuse};
///
/// let layer = OfferDedupLayer::builder().answer(Refuse::with(|refusal: &Refusal| refusal.to_string())).build();
/// let handle = layer.handle();
///
/// // alice leaves
/// let was_known = handle.forget(("room-7", "alice", "bob"));
/// assert!(!was_known);
/// ```
#[derive(Clone)]
pub struct OfferDedupHandle {
    gate: Arc<Gate>,
}

impl OfferDedupHandle {
    pub(crate) fn new(gate: Arc<Gate>) -> Self {
        Self { gate }
    }

    /// Forgets a peer: its memories, its cooldown, and its claim in flight. Whether there was anything to forget.
    ///
    /// It takes effect at once: the peer's next offer is admitted, and what was in flight is neither remembered nor
    /// locks anything when it ends; whoever waited for it looks again. Offers in the queue keep their places. What is
    /// processed goes on to its end, and is [drained](Self::drain) like the rest.
    pub fn forget(&self, peer: impl Into<PeerKey>) -> bool {
        self.gate.forget(peer.into())
    }

    /// Forgets all peers, as [`forget`](Self::forget) does one. Peers that come meanwhile may be forgotten or not.
    pub fn clear(&self) {
        self.gate.clear();
    }

    /// Whether an offer of the peer is being processed.
    pub fn is_processing(&self, peer: impl Into<PeerKey>) -> bool {
        self.gate.is_processing(peer.into())
    }

    /// Resolves when no claim is held, those of detached tasks and forgotten ones included. It holds no new ones off:
    /// for a clean shutdown, stop accepting first.
    ///
    /// # Examples
    ///
    /// ```
    /// # use tower_offer_dedup::{OfferDedupLayer, Refusal, Refuse};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let layer = OfferDedupLayer::builder().answer(Refuse::with(|refusal: &Refusal| refusal.to_string())).build();
    /// let handle = layer.handle();
    /// handle.drain().await;
    /// assert_eq!(handle.stats().claims, 0);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping it changes nothing.
    pub async fn drain(&self) {
        self.gate.drain().await;
    }

    /// What the layer has done so far, and what it holds now.
    ///
    /// # Consistency
    ///
    /// The numbers are read one after another while the layer works: sums hold only when it is still.
    pub fn stats(&self) -> Stats {
        self.gate.stats()
    }
}

impl fmt::Debug for OfferDedupHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfferDedupHandle")
            .field("stats", &self.stats())
            .finish()
    }
}
