//! [`OfferSession`]: ends what an offer began.

use std::{fmt, sync::Arc};

use crate::{
    gate::{ClaimMemory, Gate},
    quiet::quietly,
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
pub struct OfferSession(Option<ClaimMemory>);

impl OfferSession {
    pub(crate) fn new(memory: ClaimMemory) -> Self {
        Self(Some(memory))
    }

    /// Makes the session of a request that was not checked. Its end does nothing.
    #[cfg(feature = "axum")]
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Returns whether this is a session of `gate`.
    pub(crate) fn is_of(&self, gate: &Arc<Gate>) -> bool {
        self.0.as_ref().is_some_and(|memory| memory.is_of(gate))
    }

    /// Forgets the offer of this session. Returns whether it was remembered or in flight.
    pub fn forget(&self) -> bool {
        self.0.as_ref().is_some_and(ClaimMemory::forget)
    }

    /// Returns a guard that forgets the offer when it is dropped. Keep it in the server's own session.
    pub fn forget_on_drop(self) -> ForgetOnDrop {
        ForgetOnDrop(self)
    }
}

impl fmt::Debug for OfferSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OfferSession").field(&self.0).finish()
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
