//! [`OfferDedupHandle`]: inspects a layer and forgets peers.

use std::{fmt, sync::Arc};

use crate::{
    Fingerprint, PeerKey, Stats,
    gate::{Gate, Scope},
    quiet::catch,
    sessions::Sessions,
    store::{
        self,
        client::{Message, StoreClient},
    },
};

/// Inspects a layer and forgets peers. Cheap to clone.
///
/// # Examples
///
/// ```
/// use tower_offer_dedup::{OfferDedupLayer, Refuse};
///
/// let layer = OfferDedupLayer::builder()
///     .answer(Refuse::with(|refusal| refusal.to_string()))
///     .build();
/// let handle = layer.handle();
///
/// // alice leaves
/// let was_known = handle.forget(("room-7", "alice", "bob"));
/// assert!(!was_known);
/// ```
#[derive(Clone)]
pub struct OfferDedupHandle {
    gate: Arc<Gate>,
    sessions: Arc<Sessions>,
    store: Option<Arc<StoreClient>>,
}

impl OfferDedupHandle {
    pub(crate) fn new(gate: Arc<Gate>, sessions: Arc<Sessions>, store: Option<Arc<StoreClient>>) -> Self {
        Self { gate, sessions, store }
    }

    /// Forgets a peer: its memories, its cooldown, its claim in flight and its queue. Returns whether there was
    /// anything to forget.
    ///
    /// It takes effect at once: the peer's next offer is admitted. When the offer in flight completes, it is neither
    /// remembered nor does it start a cooldown or release a newer claim. Followers and queued offers decide again, with
    /// their old deadlines. Processing itself goes on to its end, and [`drain`](Self::drain) waits for it.
    pub fn forget(&self, peer: impl Into<PeerKey>) -> bool {
        let peer = peer.into();
        self.send_and(Message::Forget(peer, store::Scope::Peer), || {
            self.gate.forget(peer, Scope::Peer)
        })
    }

    /// Forgets one offer of a peer: its memory, its claim in flight or its place in the queue. Returns whether there
    /// was anything to forget.
    ///
    /// Everything else of the peer stays, a cooldown included.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{convert::Infallible, time::Duration};
    /// use tower::{Layer, Service, service_fn};
    /// use tower_offer_dedup::{Fingerprint, Offer, OfferDedupLayer, Refuse};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Infallible> {
    /// let layer = OfferDedupLayer::builder()
    ///     .offers(|sdp: &&str| Some(Offer::new("alice", Fingerprint::sdp(sdp))))
    ///     .answer(Refuse::with(|_| false))
    ///     .cooldown(Duration::ZERO)
    ///     .build();
    /// let handle = layer.handle();
    /// let mut service = layer.layer(service_fn(|_: &str| async {
    ///     Ok::<_, Infallible>(true)
    /// }));
    ///
    /// assert!(service.call("v=0\r\n").await?);
    /// assert!(!service.call("v=0\r\n").await?);
    ///
    /// assert!(handle.forget_offer("alice", Fingerprint::sdp("v=0\r\n")));
    /// assert!(service.call("v=0\r\n").await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn forget_offer(&self, peer: impl Into<PeerKey>, fingerprint: Fingerprint) -> bool {
        let peer = peer.into();
        self.send_and(Message::Forget(peer, store::Scope::Offer(fingerprint)), || {
            self.gate.forget(peer, Scope::Offer(fingerprint))
        })
    }

    /// Forgets all peers, as [`forget`](Self::forget) does for one. Offers that arrive meanwhile may be forgotten or
    /// not.
    pub fn clear(&self) {
        self.send_and(Message::Clear, || {
            let cleared = catch(|| self.gate.clear());
            self.sessions.clear();
            cleared.resume();
        });
    }

    /// Returns whether an offer of the peer is being processed.
    pub fn is_processing(&self, peer: impl Into<PeerKey>) -> bool {
        self.gate.is_processing(peer.into())
    }

    /// Resolves when no claim is held and no accepted offer waits.
    ///
    /// Claims count until their processing ends, those of detached tasks and forgotten ones included. A waiting offer
    /// counts until its own deadline. Bodies that are still being read do not count. With a store, it also waits until the
    /// store has acknowledged all messages, each for at most 10 s. New offers are not held off: for a clean shutdown, stop
    /// accepting first.
    ///
    /// Do not await it in a handler of this layer's own service: the handler would wait for its own claim.
    ///
    /// # Examples
    ///
    /// ```
    /// # use tower_offer_dedup::{OfferDedupLayer, Refuse};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let layer = OfferDedupLayer::builder()
    /// #     .answer(Refuse::with(|refusal| refusal.to_string()))
    /// #     .build();
    /// let handle = layer.handle();
    /// handle.drain().await;
    /// assert_eq!(handle.stats().claims, 0);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn drain(&self) {
        self.gate.drain().await;
        if let Some(store) = &self.store {
            store.drain().await;
        }
    }

    /// Returns what the layer has done so far and what it holds now.
    ///
    /// # Consistency
    ///
    /// The numbers are read one after another while the layer works. Sums hold only when it is idle.
    pub fn stats(&self) -> Stats {
        let stats = self.sessions.add_to(self.gate.stats());
        match &self.store {
            Some(store) => store.add_to(stats),
            None => stats,
        }
    }

    /// Sends a message to the shared store, if there is one, and does the same here.
    fn send_and<T>(&self, message: Message, act: impl FnOnce() -> T) -> T {
        match &self.store {
            Some(store) => store.send_and(message, act),
            None => act(),
        }
    }
}

impl fmt::Debug for OfferDedupHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfferDedupHandle")
            .field("stats", &self.stats())
            .field("store", &self.store)
            .finish()
    }
}
