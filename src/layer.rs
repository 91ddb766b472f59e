//! [`OfferDedupLayer`], and the state that its clones share.

use std::{fmt, marker::PhantomData, sync::Arc};

use tower_layer::Layer;

use crate::{OfferDedup, OfferDedupBuilder, OfferDedupHandle, gate::Gate, run::Inline};

/// Processes each WebRTC offer once: wraps a signaling service in [`OfferDedup`].
///
/// `X` finds the offers, `A` builds the answers, `M` is [`Inline`] or [`Detached`](crate::Detached).
///
/// The memory and the locks live in the layer. Its clones share them, and so do all services that it wraps: one layer
/// on several routes is one layer.
#[must_use]
pub struct OfferDedupLayer<X, A, M = Inline> {
    offers: Arc<X>,
    core: Arc<Core<A>>,
    run: PhantomData<fn() -> M>,
}

/// What a request needs from its layer until it is answered.
#[derive(Debug)]
pub(crate) struct Core<A> {
    pub(crate) answer: A,
    pub(crate) gate: Arc<Gate>,
}

impl OfferDedupLayer<(), ()> {
    /// Configures a layer. The defaults are those of a room: refuse duplicates, 10 s window, 2 s cooldown.
    pub fn builder() -> OfferDedupBuilder {
        OfferDedupBuilder::new()
    }
}

impl<X, A, M> OfferDedupLayer<X, A, M> {
    pub(crate) fn new(offers: X, core: Core<A>) -> Self {
        Self {
            offers: Arc::new(offers),
            core: Arc::new(core),
            run: PhantomData,
        }
    }

    /// This layer with another extractor and the same state: each socket binds its own peer.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_offer_dedup::{Fingerprint, Offer, OfferDedupLayer, Refusal, Refuse};
    ///
    /// let layer = OfferDedupLayer::builder().answer(Refuse::with(|refusal: &Refusal| refusal.to_string())).build();
    ///
    /// let peer = "alice".to_owned();
    /// let alices = layer.offers(move |sdp: &String| Some(Offer::new(&peer, Fingerprint::sdp(sdp))));
    /// # let _ = alices;
    /// ```
    pub fn offers<Y>(&self, offers: Y) -> OfferDedupLayer<Y, A, M> {
        OfferDedupLayer {
            offers: Arc::new(offers),
            core: Arc::clone(&self.core),
            run: PhantomData,
        }
    }

    /// What looks into the layer and forgets peers.
    pub fn handle(&self) -> OfferDedupHandle {
        OfferDedupHandle::new(Arc::clone(&self.core.gate))
    }
}

impl<S, X, A, M> Layer<S> for OfferDedupLayer<X, A, M> {
    type Service = OfferDedup<S, X, A, M>;

    fn layer(&self, inner: S) -> Self::Service {
        OfferDedup::new(inner, Arc::clone(&self.offers), Arc::clone(&self.core))
    }
}

impl<X, A, M> Clone for OfferDedupLayer<X, A, M> {
    fn clone(&self) -> Self {
        Self {
            offers: Arc::clone(&self.offers),
            core: Arc::clone(&self.core),
            run: PhantomData,
        }
    }
}

impl<X, A, M> fmt::Debug for OfferDedupLayer<X, A, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfferDedupLayer")
            .field("stats", &self.core.gate.stats())
            .finish_non_exhaustive()
    }
}
