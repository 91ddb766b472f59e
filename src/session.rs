//! [`OfferSession`]: ends what an offer began.

use std::{fmt, sync::Arc};

use crate::{
    Fingerprint, PeerKey,
    fence::Fence,
    gate::{self, ClaimMemory, Gate},
    quiet::quietly,
    store::{
        Scope,
        client::{Message, StoreClient},
    },
};

/// The session that an admitted offer created. Ending it lets the same offer start a new one.
///
/// It names one claim: a late end of an old session never touches a newer one of the same peer. While its offer is
/// being processed, an end only keeps the offer from being remembered; the lock and the followers wait for
/// the completion.
///
/// An [`ExtractOffer`](crate::extract::ExtractOffer) puts it into the request, for HTTP into the extensions. Where the
/// answer has a `Location`, a `DELETE` of that URI through the layer ends the session by itself. A server that ends
/// sessions in other ways, such as a lost peer connection, keeps the guard of [`forget_on_drop`](Self::forget_on_drop).
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "http")]
/// # fn example() {
/// use axum::{Extension, Router, http::StatusCode, routing::post};
/// use tower_offer_dedup::{
///     OfferDedupLayer, OfferSession, extract::ForgetOnDrop,
/// };
///
/// struct Session {
///     // The peer connection, and what forgets its offer.
///     _end: ForgetOnDrop,
/// }
///
/// async fn publish(Extension(session): Extension<OfferSession>) -> StatusCode {
///     let session = Session { _end: session.forget_on_drop() };
///     // Keep it for as long as the peer connection lives.
///     # drop(session);
///     StatusCode::CREATED
/// }
///
/// let app: Router = Router::new()
///     .route("/whip", post(publish))
///     .layer(OfferDedupLayer::whip().build());
/// # let _ = app;
/// # }
/// ```
#[derive(Clone)]
pub struct OfferSession {
    /// `None` if the request was not checked.
    memory: Option<ClaimMemory>,
    shared: Option<Arc<SharedMemory>>,
}

/// The shared store's memory of the offer.
pub(crate) struct SharedMemory {
    pub(crate) client: Arc<StoreClient>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) peer: PeerKey,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) fence: Fence,
}

impl OfferSession {
    #[inline]
    pub(crate) fn new(memory: ClaimMemory, shared: Option<SharedMemory>) -> Self {
        Self {
            memory: Some(memory),
            shared: shared.map(Arc::new),
        }
    }

    /// Makes the session of a request that was not checked. Its end does nothing.
    #[cfg(feature = "axum")]
    pub(crate) fn none() -> Self {
        Self {
            memory: None,
            shared: None,
        }
    }

    /// Returns whether this is a session of `gate`.
    pub(crate) fn is_of(&self, gate: &Arc<Gate>) -> bool {
        self.memory.as_ref().is_some_and(|memory| memory.is_of(gate))
    }

    /// Forgets the offer of this session. Returns whether this node remembered it or had it in flight.
    ///
    /// With a [store](crate::OfferDedupBuilder::store), all nodes forget it.
    pub fn forget(&self) -> bool {
        let forget = || self.memory.as_ref().is_some_and(ClaimMemory::forget);
        match &self.shared {
            Some(shared) => {
                let scope = Scope::Claim(shared.fingerprint, shared.fence);
                let message = Message::Forget(shared.peer, scope);
                shared.client.send_and(message, || forget() || shared.forget_here())
            }
            None => forget(),
        }
    }

    /// Returns a guard that forgets the offer when it is dropped. Keep it in the server's own session.
    pub fn forget_on_drop(self) -> ForgetOnDrop {
        ForgetOnDrop(self)
    }
}

impl SharedMemory {
    /// Forgets what this node has learned of the claim from the store.
    fn forget_here(&self) -> bool {
        self.gate
            .forget(self.peer, gate::Scope::Fenced(self.fingerprint, self.fence))
    }
}

impl fmt::Debug for OfferSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OfferSession").field(&self.memory).finish()
    }
}

/// Forgets the offer of an [`OfferSession`] when it is dropped.
#[derive(Debug)]
#[must_use = "dropped, it forgets the offer"]
pub struct ForgetOnDrop(OfferSession);

impl ForgetOnDrop {
    /// Returns the session.
    pub fn session(&self) -> &OfferSession {
        &self.0
    }
}

impl Drop for ForgetOnDrop {
    fn drop(&mut self) {
        quietly(|| {
            self.0.forget();
        });
    }
}
