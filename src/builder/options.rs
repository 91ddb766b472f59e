//! [`OfferDedupBuilder`]: the settings of a layer.

use std::{fmt, marker::PhantomData, time::Duration};

use crate::{
    OfferDedupLayer, WhenBusy,
    gate::Gate,
    layer::Core,
    process::spawn::{Detached, Inline},
    settings::Settings,
};

/// Configures an [`OfferDedupLayer`]. Every value has a meaning, so that [`build`](Self::build) cannot fail.
///
/// What finds the offers and what builds the answers has no default: [`offers`](Self::offers) and
/// [`answer`](Self::answer) are to be called, or the layer fits no service. Where the compiler only says that bounds are not
/// satisfied, pass the service to `fn is<Req, S: tower::Service<Req>>(_: &S) {}` as `is::<Message, _>(&service)`, and it
/// says which.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_offer_dedup::{Fingerprint, Offer, OfferDedupLayer, Refusal, Refuse, WhenBusy};
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
///     .answer(Refuse::with(|refusal: &Refusal| refusal.to_string()))
///     .build();
/// assert_eq!(layer.handle().stats().admitted, 0);
/// ```
#[derive(Clone)]
#[must_use]
pub struct OfferDedupBuilder<X = Unset, A = Unset, M = Inline> {
    offers: X,
    answer: A,
    settings: Settings,
    run: PhantomData<fn() -> M>,
}

/// What has not been configured yet.
#[derive(Clone, Copy, Debug)]
pub struct Unset;

impl OfferDedupBuilder {
    pub(crate) fn new() -> Self {
        Self {
            offers: Unset,
            answer: Unset,
            settings: Settings {
                window: Duration::from_secs(10),
                cooldown: Duration::from_secs(2),
                when_busy: WhenBusy::Refuse,
                lease: Duration::from_secs(30),
                max_memory: 64 * 1024 * 1024,
                remember_failures: false,
            },
            run: PhantomData,
        }
    }
}

impl<X, A, M> OfferDedupBuilder<X, A, M> {
    /// What finds the offers: `JsonOffers`, `http::HttpOffers`, a closure `|request: &Req| -> Option<Offer>`, whose
    /// argument needs its type written out, or any [`ExtractOffer`](crate::ExtractOffer).
    pub fn offers<Y>(self, offers: Y) -> OfferDedupBuilder<Y, A, M> {
        OfferDedupBuilder {
            offers,
            answer: self.answer,
            settings: self.settings,
            run: self.run,
        }
    }

    /// What builds the answers: [`Refuse`](crate::Refuse), [`Replay`](crate::Replay), or any [`Answer`](crate::Answer).
    pub fn answer<B>(self, answer: B) -> OfferDedupBuilder<X, B, M> {
        OfferDedupBuilder {
            offers: self.offers,
            answer,
            settings: self.settings,
            run: self.run,
        }
    }

    /// How long after processing ended an offer is remembered; 10 s by default. Zero: nothing is remembered, and only
    /// the lock holds duplicates off.
    ///
    /// The window need not be longer than senders repeat: SIP gives a retransmission 32 s (RFC 3261 §17.2.1).
    pub fn window(mut self, window: Duration) -> Self {
        self.settings.window = window;
        self
    }

    /// How long after an offer was processed its peer's lock stays closed to *other* offers; 2 s by default. Zero: none.
    ///
    /// It holds a renegotiation or an ICE restart off as well, which is right only for peers that never send one.
    pub fn cooldown(mut self, cooldown: Duration) -> Self {
        self.settings.cooldown = cooldown;
        self
    }

    /// What happens to another offer of a peer that is busy or cooling; refused by default.
    pub fn when_busy(mut self, when_busy: WhenBusy) -> Self {
        self.settings.when_busy = when_busy;
        self
    }

    /// How long an offer holds others of its peer off, from the call of the inner service on; 30 s by default. Past it
    /// the next offer takes over, and what becomes of the overdue one is neither remembered nor locks anything. Zero:
    /// an offer holds no other off.
    ///
    /// While an offer waits for the capacity of the inner service, no lease runs.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease;
        self
    }

    /// How many bytes the memory takes; 64 MiB by default. When it is full, the least recently used memories go. Zero:
    /// nothing is remembered.
    ///
    /// Recorded answers count with what the [`Answer`](crate::Answer) says they take: tell [`Replay`](crate::Replay) by
    /// [`record`](crate::Replay::record).
    pub fn max_memory(mut self, bytes: u64) -> Self {
        self.settings.max_memory = bytes;
        self
    }

    /// Whether failures are remembered like successes, as the original room manager did; `false` by default, so that
    /// what failed may be retried at once. An `Err` cannot be given again: its duplicates are refused.
    pub fn remember_failures(mut self, remember: bool) -> Self {
        self.settings.remember_failures = remember;
        self
    }

    /// Finishes processing whose sender is gone, in a task of its own: the answer is remembered, and the sender's retry
    /// gets it.
    ///
    /// By default, a response future that is dropped drops the processing with it. With this, the inner service's
    /// future must be `Send`.
    ///
    /// # Panics
    ///
    /// The service panics when it is called with an offer outside a tokio runtime.
    pub fn finish_abandoned(self) -> OfferDedupBuilder<X, A, Detached> {
        OfferDedupBuilder {
            offers: self.offers,
            answer: self.answer,
            settings: self.settings,
            run: PhantomData,
        }
    }

    /// The layer.
    pub fn build(self) -> OfferDedupLayer<X, A, M> {
        let core = Core::new(self.answer, Gate::new(self.settings));
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
