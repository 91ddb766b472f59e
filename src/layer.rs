//! [`OfferDedupLayer`], and the state that its clones share.

use std::{
    fmt,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use crossbeam_utils::CachePadded;
use tower_layer::Layer;

use crate::{
    OfferDedup, OfferDedupBuilder, OfferDedupHandle, OfferSession, WhenBusy,
    answer::Ended,
    builder::Inline,
    extract::SessionUri,
    gate::Gate,
    metrics::LayerName,
    observe,
    quiet::{Caught, catch},
    sessions::Sessions,
    settings::Settings,
    store::{
        AnyStore, OnStoreError,
        client::{Message, StoreClient},
    },
    striped::Striped,
};

/// Wraps a signaling service so that each WebRTC offer is processed once.
///
/// `X` finds the offers, `A` builds the answers, and `M` is [`Inline`] or [`Detached`](crate::builder::Detached).
///
/// The memory and the locks live in the layer. Its clones share them, and so do all services that it wraps: one layer
/// on several routes is one layer.
#[must_use]
pub struct OfferDedupLayer<X, A, M = Inline> {
    offers: Arc<X>,
    shared: Arc<Shared<A>>,
    mode: PhantomData<fn() -> M>,
}

/// The parts of a layer that a request needs until it is answered.
#[derive(Debug)]
pub(crate) struct Core<A> {
    pub(crate) answer: A,
    pub(crate) gate: Arc<Gate>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) store: Option<Arc<StoreClient>>,
    has_warned_of_nesting: AtomicBool,
}

impl<A> Core<A> {
    pub(crate) fn new(
        answer: A,
        settings: Settings,
        name: &LayerName,
        store: Option<(AnyStore, OnStoreError)>,
    ) -> Self {
        let gate = Arc::new(Gate::new(settings, name));
        gate.announce();
        Self {
            answer,
            store: store.map(|(store, on_error)| Arc::new(StoreClient::new(store, on_error, Arc::clone(&gate), name))),
            sessions: Arc::new(Sessions::new(gate.settings(), name)),
            gate,
            has_warned_of_nesting: AtomicBool::new(false),
        }
    }

    /// Forgets the sessions that a response to a request for `uri` has ended.
    ///
    /// # Panics
    ///
    /// If a subscriber, a recorder or a waker panics, after all of them are forgotten.
    pub(crate) fn end_sessions(&self, uri: &SessionUri, ended: Ended) {
        let sessions = self.sessions.end(uri, ended);
        if let (Some(store), true, Ended::Yes) = (&self.store, sessions.is_empty(), ended) {
            // The session may have begun on another node.
            store.send(Message::Announce(*uri));
        }
        forget_all(&sessions);
    }

    /// Counts a request that passes because the layer is around its own clone, and warns once.
    pub(crate) fn note_nested(&self) {
        let is_first = !self.has_warned_of_nesting.swap(true, Relaxed);
        observe::nested(self.gate.counters(), is_first);
    }
}

/// Forgets the offers of sessions that have ended.
///
/// # Panics
///
/// If a subscriber, a recorder or a waker panics, after all of them are forgotten.
pub(crate) fn forget_all(sessions: &[OfferSession]) {
    let forget = |session: &OfferSession| {
        catch(|| {
            session.forget();
        })
    };
    let ran: Vec<_> = sessions.iter().map(forget).collect();
    ran.into_iter().for_each(Caught::resume);
}

/// The state that the clones of a layer share.
#[derive(Debug)]
struct Shared<A> {
    core: Arc<Core<A>>,
    passing_cores: Striped<Arc<PassingCore<A>>>,
}

/// The core, for requests that pass. All of them hold it, so threads do not share its reference count.
pub(crate) type PassingCore<A> = CachePadded<Arc<Core<A>>>;

/// One service that the layer wraps, with its clones.
#[derive(Debug)]
pub(crate) struct Route<X, A> {
    pub(crate) offers: Arc<X>,
    shared: Arc<Shared<A>>,
    has_admitted: AtomicBool,
}

impl<X, A> Route<X, A> {
    pub(crate) fn core(&self) -> &Arc<Core<A>> {
        &self.shared.core
    }

    #[inline]
    pub(crate) fn passing_core(&self) -> Arc<PassingCore<A>> {
        Arc::clone(self.shared.passing_cores.own())
    }

    /// Returns whether this service has admitted an offer before.
    pub(crate) fn has_admitted(&self) -> bool {
        self.has_admitted.load(Relaxed)
    }

    pub(crate) fn note_admitted(&self) {
        // Written once: the cache line stays shared.
        if !self.has_admitted() {
            self.has_admitted.store(true, Relaxed);
        }
    }
}

impl OfferDedupLayer<(), ()> {
    /// Configures a layer. By default it refuses duplicates, with a window of 10 s and a cooldown of 2 s.
    pub fn builder() -> OfferDedupBuilder {
        OfferDedupBuilder::new()
    }

    /// Starts from what peers need that renegotiate, restart ICE or rejoin: the newest offer wins.
    ///
    /// This is [`builder`](Self::builder) with [`WhenBusy::Supersede`]. You set [`offers`](OfferDedupBuilder::offers)
    /// and [`answer`](OfferDedupBuilder::answer); [`Refuse`](crate::Refuse) is recommended.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use tower::{Layer, Service, service_fn};
    /// use tower_offer_dedup::{Fingerprint, Offer, OfferDedupLayer, Refuse};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Infallible> {
    /// let mut service = OfferDedupLayer::room()
    ///     .offers(|sdp: &&str| Some(Offer::new("alice", Fingerprint::sdp(sdp))))
    ///     .answer(Refuse::with(|refusal| refusal.reason().as_str()))
    ///     .build()
    ///     .layer(service_fn(|_: &str| async { Ok::<_, Infallible>("an answer") }));
    ///
    /// let first = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n";
    /// assert_eq!(service.call(first).await?, "an answer");
    ///
    /// // A rejoin with a new offer passes at once; its duplicate is refused.
    /// let rejoin = "v=0\r\no=- 2 1 IN IP4 0.0.0.0\r\n";
    /// assert_eq!(service.call(rejoin).await?, "an answer");
    /// assert_eq!(service.call(rejoin).await?, "processed");
    /// # Ok(())
    /// # }
    /// ```
    pub fn room() -> OfferDedupBuilder {
        Self::builder().when_busy(WhenBusy::Supersede)
    }
}

impl<X, A, M> OfferDedupLayer<X, A, M> {
    pub(crate) fn new(offers: X, core: Core<A>) -> Self {
        let core = Arc::new(core);
        let passing_cores = Striped::new(|| Arc::new(CachePadded::new(Arc::clone(&core))));
        Self {
            offers: Arc::new(offers),
            shared: Arc::new(Shared { core, passing_cores }),
            mode: PhantomData,
        }
    }

    /// Returns this layer with another extractor and the same state, so that each socket can bind its own peer.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_offer_dedup::{Fingerprint, Offer, OfferDedupLayer, Refuse};
    ///
    /// let layer = OfferDedupLayer::builder()
    ///     .answer(Refuse::with(|refusal| refusal.to_string()))
    ///     .build();
    ///
    /// let peer = "alice".to_owned();
    /// let for_alice = layer.offers(move |sdp: &String| {
    ///     Some(Offer::new(&peer, Fingerprint::sdp(sdp)))
    /// });
    /// # let _ = for_alice;
    /// ```
    pub fn offers<Y>(&self, offers: Y) -> OfferDedupLayer<Y, A, M> {
        OfferDedupLayer {
            offers: Arc::new(offers),
            shared: Arc::clone(&self.shared),
            mode: PhantomData,
        }
    }

    /// Returns a handle for inspecting the layer and forgetting peers.
    pub fn handle(&self) -> OfferDedupHandle {
        let core = &self.shared.core;
        OfferDedupHandle::new(Arc::clone(&core.gate), Arc::clone(&core.sessions), core.store.clone())
    }
}

impl<S, X, A, M> Layer<S> for OfferDedupLayer<X, A, M> {
    type Service = OfferDedup<S, X, A, M>;

    fn layer(&self, inner: S) -> Self::Service {
        let route = Route {
            offers: Arc::clone(&self.offers),
            shared: Arc::clone(&self.shared),
            has_admitted: AtomicBool::new(false),
        };
        OfferDedup::new(inner, Arc::new(route))
    }
}

impl<X, A, M> Clone for OfferDedupLayer<X, A, M> {
    fn clone(&self) -> Self {
        Self {
            offers: Arc::clone(&self.offers),
            shared: Arc::clone(&self.shared),
            mode: PhantomData,
        }
    }
}

impl<X, A, M> fmt::Debug for OfferDedupLayer<X, A, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfferDedupLayer")
            .field("stats", &self.handle().stats())
            .finish_non_exhaustive()
    }
}
