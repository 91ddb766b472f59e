//! [`OfferDedupBuilder`]: the settings of a layer.

use std::{fmt, marker::PhantomData, time::Duration};

use crate::{
    OfferDedupLayer, WhenBusy,
    layer::Core,
    metrics::LayerName,
    process::spawn::{Detached, Inline},
    settings::Settings,
    store::{AnyStore, OnStoreError, SharedStore},
};

/// Configures an [`OfferDedupLayer`]. Every value has a meaning, so [`build`](Self::build) cannot fail.
///
/// You must call [`offers`](Self::offers) and [`answer`](Self::answer). Without them the layer does not implement
/// [`Service`](tower_service::Service).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_offer_dedup::{Fingerprint, Offer, OfferDedupLayer, Refuse, WhenBusy};
///
/// struct Message { from: String, offer: Option<String> }
///
/// let layer = OfferDedupLayer::builder()
///     .offers(|message: &Message| {
///         let sdp = message.offer.as_ref()?;
///         Some(Offer::new(&message.from, Fingerprint::sdp(sdp)))
///     })
///     .window(Duration::from_secs(30))
///     .cooldown(Duration::ZERO)
///     .when_busy(WhenBusy::Queue { depth: 4, timeout: Duration::from_secs(5) })
///     .answer(Refuse::with(|refusal| refusal.to_string()))
///     .build();
/// assert_eq!(layer.handle().stats().admitted, 0);
/// ```
#[derive(Clone)]
#[must_use]
pub struct OfferDedupBuilder<X = OffersUnset, A = AnswerUnset, M = Inline> {
    offers: X,
    answer: A,
    settings: Settings,
    name: LayerName,
    store: Option<AnyStore>,
    on_store_error: OnStoreError,
    mode: PhantomData<fn() -> M>,
}

/// Stands for an extractor that has not been set by [`OfferDedupBuilder::offers`].
#[derive(Clone, Copy, Debug)]
pub struct OffersUnset;

/// Stands for an answer that has not been set by [`OfferDedupBuilder::answer`].
#[derive(Clone, Copy, Debug)]
pub struct AnswerUnset;

impl OfferDedupBuilder {
    pub(crate) fn new() -> Self {
        Self {
            offers: OffersUnset,
            answer: AnswerUnset,
            settings: Settings {
                window: Duration::from_secs(10),
                cooldown: Duration::from_secs(2),
                when_busy: WhenBusy::Refuse,
                lease: Duration::from_secs(30),
                max_memory: 64 * 1024 * 1024,
                remember_failures: false,
                is_shared: false,
            },
            name: LayerName::default(),
            store: None,
            on_store_error: OnStoreError::default(),
            mode: PhantomData,
        }
    }
}

impl<X, A, M> OfferDedupBuilder<X, A, M> {
    /// Sets how offers are found.
    ///
    /// Pass a closure `|request: &Req| -> Option<Offer>` with the type of its argument written out,
    /// [`JsonOffers`](crate::JsonOffers) for messages that are JSON text, [`HttpOffers`](crate::http::HttpOffers) for
    /// HTTP requests, or any [`ExtractOffer`](crate::extract::ExtractOffer).
    pub fn offers<Y>(self, offers: Y) -> OfferDedupBuilder<Y, A, M> {
        OfferDedupBuilder {
            offers,
            answer: self.answer,
            settings: self.settings,
            name: self.name,
            store: self.store,
            on_store_error: self.on_store_error,
            mode: self.mode,
        }
    }

    /// Sets how requests are answered.
    ///
    /// Pass [`Refuse`](crate::Refuse) or [`Replay`](crate::Replay) for messages, [`HttpAnswer`](crate::http::HttpAnswer)
    /// for HTTP, or any [`Answer`](crate::answer::Answer).
    pub fn answer<B>(self, answer: B) -> OfferDedupBuilder<X, B, M> {
        OfferDedupBuilder {
            offers: self.offers,
            answer,
            settings: self.settings,
            name: self.name,
            store: self.store,
            on_store_error: self.on_store_error,
            mode: self.mode,
        }
    }

    /// Sets how long an offer is remembered after its processing ended; 10 s by default. With zero nothing is
    /// remembered, and only the lock holds duplicates off.
    ///
    /// The window need not be longer than senders go on repeating. SIP gives a retransmission 32 s (RFC 3261 §17.2.1).
    pub fn window(mut self, window: Duration) -> Self {
        self.settings.window = window;
        self
    }

    /// Sets how long the peer's lock stays closed to *other* offers after processing ended; 2 s by default. Zero
    /// disables the cooldown.
    ///
    /// A cooldown also refuses a renegotiation or an ICE restart that follows at once. It suits only peers that never
    /// send one. It has no effect under [`WhenBusy::Supersede`], nor with a [`max_memory`](Self::max_memory) of zero.
    pub fn cooldown(mut self, cooldown: Duration) -> Self {
        self.settings.cooldown = cooldown;
        self
    }

    /// Sets what happens to a different offer of a peer that is busy or cooling down. By default it is refused.
    pub fn when_busy(mut self, when_busy: WhenBusy) -> Self {
        self.settings.when_busy = when_busy;
        self
    }

    /// Sets how long an offer may hold off others of its peer, from the call of the inner service; 30 s by default.
    /// Zero disables the lock.
    ///
    /// Past its lease, the next offer takes over. The overdue one is then neither remembered nor does it lock anything.
    /// If it runs in a [task of its own](Self::finish_abandoned), the task ends at its next yield; until then the two
    /// may overlap. An inline handler runs on: put a timeout inside the layer.
    ///
    /// No lease runs while an offer waits for the capacity of the inner service.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease;
        self
    }

    /// Sets how many bytes the layer may keep; 64 MiB by default. With zero nothing is remembered, and there is no
    /// cooldown.
    ///
    /// A quarter is for cooldowns (none if they are disabled), an eighth for the index of sessions, the rest for
    /// memories. When memories take their share, the least recently used ones are evicted, never the newest. When
    /// cooldowns do, the oldest end early. At most 16 offers of one peer are remembered.
    ///
    /// Recorded answers count with the size that the [`Answer`](crate::answer::Answer) states; for
    /// [`Replay`](crate::Replay) see [`weigher`](crate::Replay::weigher).
    pub fn max_memory(mut self, bytes: u64) -> Self {
        self.settings.max_memory = bytes;
        self
    }

    /// Sets whether failures are remembered like successes; `false` by default, so that a failed offer may be retried
    /// at once.
    ///
    /// An `Err` cannot be replayed: with `true` its duplicates are refused.
    pub fn remember_failures(mut self, remember: bool) -> Self {
        self.settings.remember_failures = remember;
        self
    }

    /// Processes each offer in a task of its own, so that an offer whose client goes away is finished: its answer is
    /// remembered, and the client's retry gets it.
    ///
    /// By default, dropping the response future drops the processing. With this, the future of the inner service must
    /// be `Send`. A *different* offer of the peer does not wait for abandoned processing but takes over at once.
    ///
    /// The current span is visible in the task, but values of `tokio::task_local!` are not. The first poll may happen in
    /// the task of the caller: an inner service that answers at once needs no task of its own.
    ///
    /// # Panics
    ///
    /// The service panics when it is called with an offer outside a tokio runtime.
    pub fn finish_abandoned(self) -> OfferDedupBuilder<X, A, Detached> {
        OfferDedupBuilder {
            offers: self.offers,
            answer: self.answer,
            settings: self.settings,
            name: self.name,
            store: self.store,
            on_store_error: self.on_store_error,
            mode: PhantomData,
        }
    }

    /// Shares the layer's decisions with other nodes by a store. See [`store`](crate::store).
    ///
    /// # Panics
    ///
    /// The service panics when it is called with an offer outside a tokio runtime.
    pub fn store(mut self, store: impl SharedStore) -> Self {
        self.store = Some(AnyStore::new(store));
        self
    }

    /// Sets what happens to new offers while the [store](Self::store) cannot be reached. By default the node decides
    /// alone.
    pub fn on_store_error(mut self, on_store_error: OnStoreError) -> Self {
        self.on_store_error = on_store_error;
        self
    }

    /// Sets the value of the label `layer` in the layer's metrics; `"default"` by default.
    ///
    /// The metrics of layers that share a name add up.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_offer_dedup::OfferDedupLayer;
    ///
    /// let builder = OfferDedupLayer::builder().name("publishers");
    /// # let _ = builder;
    /// ```
    #[cfg(feature = "metrics")]
    pub fn name(mut self, name: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        self.name = LayerName(name.into().into());
        self
    }

    /// Builds the layer.
    ///
    /// With feature `metrics` this describes the metrics and creates them, so install the recorder first.
    pub fn build(mut self) -> OfferDedupLayer<X, A, M> {
        self.settings.is_shared = self.store.is_some();
        let store = self.store.map(|store| (store, self.on_store_error));
        let core = Core::new(self.answer, self.settings, &self.name, store);
        OfferDedupLayer::new(self.offers, core)
    }
}

impl<X, A, M> fmt::Debug for OfferDedupBuilder<X, A, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfferDedupBuilder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
