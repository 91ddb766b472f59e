//! What operators see: an event, a counter and a metric for every outcome. Never SDP, ICE passwords or tokens.

use std::{fmt, time::Duration};

use tracing::{debug, field, warn};

use crate::{Offer, PeerKey, Refusal, gate::Result, metrics, stats::Counters};

const PROCESSING: &str = "offer_dedup_processing_seconds";
const WAIT: &str = "offer_dedup_wait_seconds";
const CLAIMS: &str = "offer_dedup_claims";
const WAITERS: &str = "offer_dedup_waiters";
const MEMORIES: &str = "offer_dedup_memories";
const MEMORY_BYTES: &str = "offer_dedup_memory_bytes";

/// The offer's label, escaped, or the beginning of the peer's digest.
struct Peer<'a>(&'a Offer);

impl fmt::Display for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.name() {
            Some(name) => write!(f, "{}", name.escape_debug()),
            None => write!(f, "{:08x}", self.0.peer().short()),
        }
    }
}

macro_rules! offer_event {
    ($level:ident, $offer:expr, $($rest:tt)*) => {
        $level!(peer = %Peer($offer), fingerprint = format_args!("{:08x}", $offer.fingerprint().short()), $($rest)*)
    };
}

pub(crate) fn passed(counters: &Counters) {
    counters.passed.count();
    metrics::count!("offer_dedup_offers_total", "passed");
}

pub(crate) fn admitted(counters: &Counters) {
    counters.admitted.count();
    metrics::count!("offer_dedup_offers_total", "admitted");
}

pub(crate) fn replayed(counters: &Counters, offer: &Offer, age: Duration) {
    counters.replayed.count();
    metrics::count!("offer_dedup_offers_total", "replayed");
    offer_event!(debug, offer, ?age, "offer answered again: the same offer was processed");
}

/// `age` is for how long what stood in the way has gone on; zero where nothing has.
pub(crate) fn refused(counters: &Counters, offer: &Offer, refusal: &Refusal, age: Duration) {
    counters.refused(refusal.reason()).count();
    refusal.reason().measure();
    let age = (!age.is_zero()).then(|| field::debug(age));
    let retry_after = refusal.retry_after().map(field::debug);
    offer_event!(debug, offer, reason = %refusal.reason(), age, retry_after, "offer ignored: {refusal}");
}

/// What could not even be looked at: it names no peer.
pub(crate) fn refused_unread(counters: &Counters, refusal: &Refusal) {
    counters.refused(refusal.reason()).count();
    refusal.reason().measure();
    debug!(reason = %refusal.reason(), "request refused: {refusal}");
}

pub(crate) fn completed(counters: &Counters, offer: &Offer, result: Result) {
    match result {
        Result::Success => {
            counters.completed.count();
            metrics::count!("offer_dedup_processed_total", "completed");
            offer_event!(debug, offer, "offer processed");
        }
        Result::Failure => {
            counters.failed.count();
            metrics::count!("offer_dedup_processed_total", "failed");
            offer_event!(debug, offer, "offer failed");
        }
    }
}

pub(crate) fn not_recorded(offer: &Offer) {
    offer_event!(
        debug,
        offer,
        "answer not recorded: it is too large, of unknown length or vetoed; duplicates will be refused"
    );
}

pub(crate) fn claim_abandoned(counters: &Counters, offer: &Offer) {
    counters.abandoned.count();
    metrics::count!("offer_dedup_processed_total", "abandoned");
    offer_event!(
        debug,
        offer,
        "offer abandoned: its processing was dropped or panicked; the peer is released"
    );
}

/// Counted as abandoned when its claim is dropped.
pub(crate) fn aborted(offer: &Offer) {
    offer_event!(
        warn,
        offer,
        "offer aborted: its processing outlived the lease, and the next offer took over"
    );
}

pub(crate) fn wait_abandoned(counters: &Counters, offer: &Offer) {
    counters.waits_abandoned.count();
    metrics::count!("offer_dedup_offers_total", "abandoned");
    offer_event!(debug, offer, "offer abandoned: its sender was gone while it waited");
}

pub(crate) fn taken_over(counters: &Counters, offer: &Offer, held: Duration) {
    counters.taken_over.count();
    offer_event!(
        warn,
        offer,
        ?held,
        "peer taken over: processing of its last offer outlived the lease"
    );
}

pub(crate) fn forgotten(counters: &Counters, peer: PeerKey) {
    counters.forgotten.count();
    debug!(peer = format_args!("{:08x}", peer.short()), "peer forgotten");
}

pub(crate) fn cleared() {
    debug!("all peers forgotten");
}

/// A claim was granted (+1) or is gone (-1).
pub(crate) fn claims(step: f64) {
    metrics::step(CLAIMS, step);
}

/// A request waits (+1) or waits no more (-1).
pub(crate) fn waiters(step: f64) {
    metrics::step(WAITERS, step);
}

/// A claim had been held for `time`.
pub(crate) fn processing(time: Duration) {
    metrics::record(PROCESSING, time);
}

/// A request had waited for `time`.
pub(crate) fn waited(time: Duration) {
    metrics::record(WAIT, time);
}

pub(crate) fn memory(memories: u64, bytes: u64) {
    metrics::set(MEMORIES, memories);
    metrics::set(MEMORY_BYTES, bytes);
}
