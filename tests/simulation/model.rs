//! [`Model`]: checks each call of the store when it takes effect, and each run of an offer.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use tokio::time::Instant;
use tower_offer_dedup::{
    Fingerprint, PeerKey, WhenBusy,
    store::{ClaimToken, Fence, Scope},
};

use crate::{plan::Plan, runs::Runs};

/// A claim that the store has granted.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) node: usize,
    pub(crate) token: ClaimToken,
    pub(crate) peer: PeerKey,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) granted: Instant,
    pub(crate) lease_end: Instant,
    pub(crate) is_abandoned: bool,
    /// A session end came while it was held.
    pub(crate) is_forgotten: bool,
    pub(crate) lost: Option<(Loss, Instant)>,
    pub(crate) has_run: bool,
    /// The call arrived after its caller had given up, or after the end of the claim, or it is a copy.
    pub(crate) is_stray: bool,
}

/// The end of a claim in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    Completed,
    Released,
    /// Another offer took over after the lease.
    Overdue,
    Abandoned,
    Superseded,
    Forgotten,
    /// The store lost its data.
    DataLost,
}

/// The store's state of one peer.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    pub(crate) owner: Option<Fence>,
    pub(crate) processed: HashMap<Fingerprint, Memory>,
    /// When an offer was superseded last, and for how long that may be remembered.
    pub(crate) superseded: HashMap<Fingerprint, Instant>,
    pub(crate) cooling_until: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) fence: Fence,
    pub(crate) until: Instant,
    pub(crate) answer: Option<usize>,
}

/// A call that forgets, as it took effect.
#[derive(Debug)]
pub(crate) struct Forget {
    pub(crate) peer: Option<PeerKey>,
    pub(crate) scope: Scope,
    /// The highest number at that time.
    pub(crate) last: Fence,
    pub(crate) at: Instant,
    /// When each node was told.
    pub(crate) told: HashMap<usize, Instant>,
}

#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) started: Instant,
    pub(crate) peers: HashMap<PeerKey, Peer>,
    pub(crate) grants: HashMap<Fence, Grant>,
    pub(crate) by_token: HashMap<ClaimToken, Fence>,
    /// The claims that were completed or released.
    pub(crate) ended: HashSet<ClaimToken>,
    pub(crate) forgets: Vec<Forget>,
    /// When the store lost its data last.
    pub(crate) data_lost: Option<Instant>,
    pub(crate) last: Fence,
    pub(crate) runs: Runs,
    /// The next call arrives after its caller has given up, or is a copy.
    pub(crate) is_stray: bool,
    pub(crate) violation: Option<String>,
    /// `None` unless the history is wanted.
    pub(crate) trace: Option<Vec<String>>,
}

impl Forget {
    pub(crate) fn concerns(&self, peer: PeerKey) -> bool {
        self.peer.is_none_or(|other| other == peer)
    }
}

impl Model {
    pub(crate) fn new(plan: &Plan, is_traced: bool) -> Self {
        Self {
            started: Instant::now(),
            peers: HashMap::new(),
            grants: HashMap::new(),
            by_token: HashMap::new(),
            ended: HashSet::new(),
            forgets: Vec::new(),
            data_lost: None,
            last: Fence::new(0),
            runs: Runs::new(plan),
            is_stray: false,
            violation: None,
            trace: is_traced.then(Vec::new),
        }
    }

    /// Notes an event for the history of a failing schedule.
    pub(crate) fn note(&mut self, event: impl FnOnce() -> String) {
        let at = self.started.elapsed().as_secs_f64();
        if let (Some(trace), None) = (&mut self.trace, &self.violation) {
            trace.push(format!("{at:9.3} {}", event()));
        }
    }

    pub(crate) fn fail(&mut self, message: impl fmt::Display) {
        self.violation.get_or_insert_with(|| message.to_string());
    }

    pub(crate) fn expect(&mut self, holds: bool, message: impl FnOnce() -> String) {
        if !holds {
            self.fail(message());
        }
    }

    pub(crate) fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    pub(crate) fn trace(&self) -> &[String] {
        self.trace.as_deref().unwrap_or_default()
    }

    /// Returns what the store remembers of a processed offer.
    pub(crate) fn processed(&self, peer: PeerKey, fingerprint: Fingerprint) -> Option<Memory> {
        let memory = self.peers.get(&peer)?.processed.get(&fingerprint)?;
        (memory.until > Instant::now()).then_some(*memory)
    }

    /// Returns the claims that the store has not ended.
    pub(crate) fn held(&self) -> impl Iterator<Item = (Fence, &Grant)> {
        let owners = self.peers.values().filter_map(|peer| peer.owner);
        owners.map(|fence| (fence, &self.grants[&fence]))
    }

    pub(crate) fn supersedes(&self) -> bool {
        self.runs.settings.when_busy == WhenBusy::Supersede
    }
}
