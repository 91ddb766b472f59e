//! What operators see: an event and a counter for every outcome. Never SDP, ICE passwords or tokens.

use std::{fmt, time::Duration};

use tracing::{debug, warn};

use crate::{Offer, PeerKey, Refusal, gate::Result, stats::Counters};

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
}

pub(crate) fn admitted(counters: &Counters) {
    counters.admitted.count();
}

pub(crate) fn replayed(counters: &Counters, offer: &Offer, age: Duration) {
    counters.replayed.count();
    offer_event!(debug, offer, ?age, "offer answered again: the same offer was processed");
}

/// `age` is for how long what stood in the way has gone on.
pub(crate) fn refused(counters: &Counters, offer: &Offer, refusal: &Refusal, age: Duration) {
    counters.refused(refusal.reason()).count();
    let (reason, retry_after) = (refusal.reason(), refusal.retry_after());
    offer_event!(debug, offer, %reason, ?age, ?retry_after, "offer ignored: {refusal}");
}

/// What could not even be looked at: it names no peer.
pub(crate) fn refused_unread(counters: &Counters, refusal: &Refusal) {
    counters.refused(refusal.reason()).count();
    debug!(reason = %refusal.reason(), "request refused: {refusal}");
}

pub(crate) fn completed(counters: &Counters, offer: &Offer, result: Result) {
    match result {
        Result::Success => {
            counters.completed.count();
            offer_event!(debug, offer, "offer processed");
        }
        Result::Failure => {
            counters.failed.count();
            offer_event!(debug, offer, "offer failed");
        }
    }
}

pub(crate) fn claim_abandoned(counters: &Counters, offer: &Offer) {
    counters.abandoned.count();
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
