//! Observability: a counter, a metric and an event for each outcome. Never SDP, ICE passwords or tokens.
//!
//! Each outcome is counted first, then recorded as a metric, then emitted as an event: recorders and subscribers may
//! panic, and counters always count. Callers have settled their state before, and wrap calls in a `Drop` in
//! [`quietly`](crate::quiet::quietly).

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::LazyLock,
    time::Duration,
};

use tracing::{debug, warn};

use crate::{
    Offer, PeerKey, Refusal,
    gate::{Revoked, decision::Verdict},
    metrics,
    outcome::Outcome,
    stats::Counters,
    store::StoreError,
};

pub(crate) const TARGET: &str = "tower_offer_dedup";

const PROCESSING: &str = "offer_dedup_processing_seconds";
const WAIT: &str = "offer_dedup_wait_seconds";
const CLAIMS: &str = "offer_dedup_claims";
const WAITERS: &str = "offer_dedup_waiters";
const MEMORIES: &str = "offer_dedup_memories";
const MEMORY_BYTES: &str = "offer_dedup_memory_bytes";

/// The label of an offer, escaped, or a short digest of its peer.
struct Name<'a>(&'a Offer);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.name() {
            Some(name) => write!(f, "{}", name.escape_debug()),
            None => Digest(self.0.peer()).fmt(f),
        }
    }
}

/// A short digest of a peer. Its key is made anew for each process: a key holds tokens and user names, and an unkeyed
/// digest in a log would let others try their guesses.
struct Digest(PeerKey);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        write!(f, "{:08x}", KEY.hash_one(self.0) >> 32)
    }
}

macro_rules! offer_event {
    ($level:ident, $offer:expr, $($rest:tt)*) => {
        $level!(
            target: TARGET,
            peer = %Name($offer),
            fingerprint = format_args!("{:08x}", $offer.fingerprint().short()),
            $($rest)*
        )
    };
}

pub(crate) fn passed(counters: &Counters) {
    counters.passed.count();
    metrics::count!("offer_dedup_offers_total", "passed");
}

/// Observes a request that could not be checked and passes.
pub(crate) fn unchecked(counters: &Counters) {
    counters.unchecked.count();
    metrics::count!("offer_dedup_offers_total", "unchecked");
    debug!(target: TARGET, "request passed unchecked: it may be an offer but could not be read as one");
}

/// Observes a request that passes because the layer is around its own clone.
pub(crate) fn nested(counters: &Counters, is_first: bool) {
    passed(counters);
    if is_first {
        warn!(
            target: TARGET,
            "the layer wraps a clone of itself: the inner one passes every offer through; apply it once"
        );
    }
}

/// Counts what was decided on an offer. [`decided`] emits it later, when the effects have run.
pub(crate) fn count_decided<C, W>(counters: &Counters, verdict: &Verdict<C, W>) {
    match verdict {
        Verdict::Admitted(_) => counters.admitted.count(),
        Verdict::Replay { .. } => counters.replayed.count(),
        Verdict::Refused { refusal, .. } => counters.refused(refusal.reason()).count(),
        Verdict::Wait(_) => {}
    }
}

/// Emits what was decided on an offer.
pub(crate) fn decided<C, W>(offer: &Offer, verdict: &Verdict<C, W>) {
    match verdict {
        Verdict::Admitted(_) => {
            metrics::step(CLAIMS, 1.0);
            metrics::count!("offer_dedup_offers_total", "admitted");
        }
        Verdict::Wait(_) => {}
        Verdict::Replay { age, .. } => {
            metrics::count!("offer_dedup_offers_total", "replayed");
            let age_ms = millis(*age);
            offer_event!(
                debug,
                offer,
                age_ms,
                "offer answered again: the same offer was processed"
            );
        }
        Verdict::Refused { refusal, age } => {
            refusal.reason().measure();
            let age_ms = (!age.is_zero()).then(|| millis(*age));
            let retry_after_ms = refusal.retry_after().map(millis);
            offer_event!(
                debug,
                offer,
                reason = %refusal.reason(),
                age_ms,
                retry_after_ms,
                "offer ignored: {refusal}"
            );
        }
    }
}

/// Observes a request that was refused before it was read. It names no peer.
pub(crate) fn refused_unread(counters: &Counters, refusal: &Refusal) {
    counters.refused(refusal.reason()).count();
    refusal.reason().measure();
    debug!(target: TARGET, reason = %refusal.reason(), "request refused: {refusal}");
}

/// Observes how the processing of an offer ended, after `held`. `is_unrecorded` says that duplicates will be refused
/// because the answer was not kept.
pub(crate) fn ended(counters: &Counters, offer: &Offer, outcome: Outcome, held: Duration, is_unrecorded: bool) {
    counters.ended(outcome).count();
    let is_first_unrecorded = is_unrecorded && counters.not_recorded.count_is_first();
    metrics::step(CLAIMS, -1.0);
    metrics::record(PROCESSING, held);
    match outcome {
        Outcome::Success => {
            metrics::count!("offer_dedup_processed_total", "completed");
            offer_event!(debug, offer, "offer processed");
        }
        Outcome::Failure | Outcome::Broken => {
            metrics::count!("offer_dedup_processed_total", "failed");
            offer_event!(debug, offer, "offer failed");
        }
        Outcome::Abandoned => {
            metrics::count!("offer_dedup_processed_total", "abandoned");
            offer_event!(
                debug,
                offer,
                "offer abandoned: its processing was dropped or panicked; the peer is free"
            );
        }
        Outcome::Superseded => {
            metrics::count!("offer_dedup_processed_total", "superseded");
            offer_event!(debug, offer, "offer superseded: a newer offer of the peer arrived");
        }
    }
    if is_first_unrecorded {
        offer_event!(
            warn,
            offer,
            "answer not recorded: it is too large, too slow or vetoed; duplicates will be refused; further answers that \
             are not recorded show at debug"
        );
    } else if is_unrecorded {
        offer_event!(
            debug,
            offer,
            "answer not recorded: it is too large, too slow or vetoed; duplicates will be refused"
        );
    }
}

/// Observes that processing was ended because its claim was lost. The claim counts as abandoned.
pub(crate) fn revoked(offer: &Offer, cause: Revoked) {
    match cause {
        Revoked::Overdue => offer_event!(
            warn,
            offer,
            "offer aborted: its processing outlived the lease, and the next offer took over"
        ),
        Revoked::Abandoned => offer_event!(
            debug,
            offer,
            "offer aborted: its client was gone, and a different offer took over"
        ),
        Revoked::Elsewhere => offer_event!(warn, offer, "offer aborted: the store gave the peer to another node"),
        Revoked::Incapable => offer_event!(warn, offer, "offer aborted: the inner service had no capacity in time"),
        // The end of the claim says so already.
        Revoked::Superseded => {}
    }
}

/// Observes that a runtime dropped the task that processed an offer. The claim counts as abandoned.
pub(crate) fn aborted(offer: &Offer) {
    offer_event!(
        warn,
        offer,
        "offer aborted: the runtime that processed it has shut down"
    );
}

/// Counts a claim that lost its peer to the next offer. [`taken_over`] emits it later, when the effects have run.
pub(crate) fn count_taken_over(counters: &Counters) {
    counters.taken_over.count();
}

/// Emits that a claim lost its peer to the next offer.
pub(crate) fn taken_over(offer: &Offer, cause: Revoked, held: Duration) {
    let held_ms = millis(held);
    match cause {
        Revoked::Overdue | Revoked::Superseded | Revoked::Elsewhere | Revoked::Incapable => offer_event!(
            warn,
            offer,
            held_ms,
            "peer taken over: processing of its last offer outlived the lease"
        ),
        Revoked::Abandoned => offer_event!(
            debug,
            offer,
            held_ms,
            "peer taken over: the client of its last offer was gone"
        ),
    }
}

/// Observes that a request begins to wait.
pub(crate) fn waiting() {
    metrics::step(WAITERS, 1.0);
}

/// Observes that a request has waited for `waited`, and whether it was dropped meanwhile.
pub(crate) fn waited(counters: &Counters, offer: &Offer, waited: Duration, is_abandoned: bool) {
    if is_abandoned {
        counters.waits_abandoned.count();
    }
    metrics::step(WAITERS, -1.0);
    metrics::record(WAIT, waited);
    if is_abandoned {
        metrics::count!("offer_dedup_offers_total", "abandoned");
        offer_event!(debug, offer, "offer abandoned: its client was gone while it waited");
    }
}

/// Observes that a request was dropped while the shared store decided.
pub(crate) fn dropped(counters: &Counters, offer: &Offer) {
    counters.waits_abandoned.count();
    metrics::count!("offer_dedup_offers_total", "abandoned");
    offer_event!(debug, offer, "offer abandoned: its client was gone while it waited");
}

/// Observes a call of the shared store that succeeded.
pub(crate) fn store_called(_operation: &'static str, _took: Duration) {}

/// Observes a call of the shared store that failed.
pub(crate) fn store_failed(operation: &'static str, took: Duration, error: &StoreError) {
    let took_ms = millis(took);
    debug!(target: TARGET, operation, took_ms, %error, "store call failed");
}

/// Observes that the store is not called any more until it answers a probe.
pub(crate) fn store_down() {
    warn!(target: TARGET, "store unreachable: it is not called until it answers a probe");
}

/// Observes that the store answers again.
pub(crate) fn store_up() {
    warn!(target: TARGET, "store reachable again");
}

/// Observes that the store could not be asked about an offer, which is processed on this node's decision alone.
pub(crate) fn admitted_alone(offer: &Offer) {
    offer_event!(
        warn,
        offer,
        "offer admitted without the store: duplicates on other nodes may be processed too"
    );
}

/// Observes that a message to the store was dropped: too many wait.
pub(crate) fn outbox_full() {
    warn!(target: TARGET, "message to the store dropped: too many wait");
}

/// Observes that a message to the store was not acknowledged in time.
pub(crate) fn outbox_expired() {
    warn!(target: TARGET, "message to the store dropped: it was not acknowledged in time");
}

/// Observes that notices of the store may have been missed.
pub(crate) fn notices_missed() {
    warn!(target: TARGET, "notices of the store may have been missed: the node forgets what it remembers");
}

/// Observes that a peer, an offer or a session was forgotten.
pub(crate) fn forgotten(counters: &Counters, peer: PeerKey) {
    counters.forgotten.count();
    debug!(target: TARGET, peer = %Digest(peer), "peer forgotten");
}

pub(crate) fn cleared() {
    debug!(target: TARGET, "all peers forgotten");
}

pub(crate) fn memory(memories: u64, bytes: u64) {
    metrics::set(MEMORIES, memories);
    metrics::set(MEMORY_BYTES, bytes);
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
