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
    outcome::Outcome,
    stats::Counters,
};

pub(crate) const TARGET: &str = "tower_offer_dedup";

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

#[inline]
pub(crate) fn passed(counters: &Counters) {
    counters.passed.count();
    counters.passed.measure();
}

/// Observes a request that could not be checked and passes.
pub(crate) fn unchecked(counters: &Counters) {
    counters.unchecked.count();
    counters.unchecked.measure();
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
#[inline]
pub(crate) fn count_decided<C, W>(counters: &Counters, verdict: &Verdict<C, W>) {
    match verdict {
        Verdict::Admitted(_) => counters.admitted.count(),
        Verdict::Replay { .. } => counters.replayed.count(),
        Verdict::Refused { refusal, .. } => counters.refused(refusal.reason()).count(),
        Verdict::Wait(_) => {}
    }
}

/// Emits what was decided on an offer.
#[inline]
pub(crate) fn decided<C, W>(counters: &Counters, offer: &Offer, verdict: &Verdict<C, W>) {
    match verdict {
        Verdict::Admitted(_) => admitted(counters),
        Verdict::Wait(_) => {}
        Verdict::Replay { age, .. } => {
            counters.replayed.measure();
            let age_ms = millis(*age);
            offer_event!(
                debug,
                offer,
                age_ms,
                "offer answered again: the same offer was processed"
            );
        }
        Verdict::Refused { refusal, age } => {
            counters.refused(refusal.reason()).measure();
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

/// Observes that an offer was admitted.
#[inline]
pub(crate) fn admitted(counters: &Counters) {
    counters.claims.step(1.0);
    counters.admitted.measure();
}

/// Observes a request that was refused before it was read. It names no peer.
pub(crate) fn refused_unread(counters: &Counters, refusal: &Refusal) {
    let counter = counters.refused(refusal.reason());
    counter.count();
    counter.measure();
    let retry_after_ms = refusal.retry_after().map(millis);
    debug!(target: TARGET, reason = %refusal.reason(), retry_after_ms, "request refused: {refusal}");
}

/// Observes how the processing of an offer ended, after `held`. `is_unrecorded` says that duplicates will be refused
/// because the answer was not kept.
#[inline]
pub(crate) fn ended(counters: &Counters, offer: &Offer, outcome: Outcome, held: Duration, is_unrecorded: bool) {
    let counter = counters.ended(outcome);
    counter.count();
    let is_first_unrecorded = is_unrecorded && counters.not_recorded.count_is_first();
    counters.claims.step(-1.0);
    counters.processing.record(held);
    counter.measure();
    if is_unrecorded {
        counters.not_recorded.measure();
    }
    match outcome {
        Outcome::Success => offer_event!(debug, offer, "offer processed"),
        Outcome::Failure | Outcome::Broken => offer_event!(debug, offer, "offer failed"),
        Outcome::Abandoned => offer_event!(
            debug,
            offer,
            "offer abandoned: its processing was dropped or panicked; the peer is free"
        ),
        Outcome::Superseded => offer_event!(debug, offer, "offer superseded: a newer offer of the peer arrived"),
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
pub(crate) fn taken_over(counters: &Counters, offer: &Offer, cause: Revoked, held: Duration) {
    counters.taken_over.measure();
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
pub(crate) fn waiting(counters: &Counters) {
    counters.waiters.step(1.0);
}

/// Observes that a body begins to be read.
pub(crate) fn reading(counters: &Counters) {
    counters.body_reads.step(1.0);
}

/// Observes that a body is no longer being read.
pub(crate) fn read(counters: &Counters) {
    counters.body_reads.step(-1.0);
}

/// Observes that a request has waited for `waited`, and whether it was dropped meanwhile.
pub(crate) fn waited(counters: &Counters, offer: &Offer, waited: Duration, is_abandoned: bool) {
    if is_abandoned {
        counters.waits_abandoned.count();
    }
    counters.waiters.step(-1.0);
    counters.wait.record(waited);
    if is_abandoned {
        emit_dropped(counters, offer);
    }
}

/// Observes that a request was dropped while the shared store decided.
pub(crate) fn dropped(counters: &Counters, offer: &Offer) {
    counters.waits_abandoned.count();
    emit_dropped(counters, offer);
}

fn emit_dropped(counters: &Counters, offer: &Offer) {
    counters.waits_abandoned.measure();
    offer_event!(debug, offer, "offer abandoned: its client was gone while it waited");
}

/// Observes that the shared store could not be asked about an offer. This node decides alone.
pub(crate) fn admitted_alone(counters: &Counters, offer: &Offer) {
    counters.admitted_alone.count();
    counters.admitted_alone.measure();
    offer_event!(
        warn,
        offer,
        "offer admitted without the store: duplicates on other nodes may be processed too"
    );
}

/// Observes that notices of the shared store may have been missed.
pub(crate) fn notices_missed() {
    warn!(target: TARGET, "notices of the store may have been missed: the node forgets what it remembers");
}

/// Observes that a peer, an offer or a session was forgotten.
pub(crate) fn forgotten(counters: &Counters, peer: PeerKey) {
    counters.forgotten.count();
    counters.forgotten.measure();
    debug!(target: TARGET, peer = %Digest(peer), "peer forgotten");
}

pub(crate) fn cleared() {
    debug!(target: TARGET, "all peers forgotten");
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
