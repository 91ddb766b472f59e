//! Loom models of the gate: a few calls, checked in every interleaving and with every value that an atomic may have.
//!
//! # Bounds
//!
//! The offers of a model, one to seven, are of one peer. Most models of two threads are checked in every interleaving
//! ([`exhaustively`]). The longer ones and those of three threads are checked in every interleaving with at most 2 to 5
//! preemptions ([`up_to`]): a thread is preempted if another one runs although it could go on. `LOOM_MAX_PREEMPTIONS`
//! sets another bound for all models.
//!
//! A step is the lock of a mutex or an access to an atomic. The doubles of moka and of tokio's notifications take one
//! step per call. A task that sleeps and is never woken is a deadlock, which fails the model.
//!
//! Loom does not see reference counts, aborted tasks, the collector's thread (models call what it calls), and what moka
//! evicts by itself.

mod attendance;
mod claims;
pub(super) mod doubles;
mod memories;
mod scopes;
mod supersede;
mod time;
mod waiters;

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use ::loom::{future::block_on, model::Builder, thread};

use self::doubles::Instant;
use super::{collector::Collect, *};
use crate::{
    Fingerprint, Offer, PeerKey, Reason, WhenBusy, answer::Duplicates, metrics::LayerName, outcome::Outcome,
    settings::Settings,
};

const SECOND: Duration = Duration::from_secs(1);

const QUEUE: WhenBusy = WhenBusy::Queue {
    depth: 3,
    timeout: Duration::from_secs(10),
};

const SETTINGS: Settings = Settings {
    window: Duration::from_secs(100),
    cooldown: Duration::ZERO,
    when_busy: WhenBusy::Refuse,
    lease: Duration::from_secs(3),
    max_memory: 1 << 20,
    remember_failures: false,
    is_shared: false,
};

/// A gate to which all offers come from the peer `p`.
#[derive(Clone)]
struct TestGate {
    gate: Arc<Gate>,
    /// Counts the offers.
    offers: Arc<AtomicU64>,
}

/// The decision on an offer.
enum Decision {
    Admitted(Claim),
    Replayed,
    Refused(Reason),
    Waiting(Pin<Box<Waiter>>),
}

impl TestGate {
    fn new(when_busy: WhenBusy) -> Self {
        Self::with(Settings { when_busy, ..SETTINGS })
    }

    fn with(settings: Settings) -> Self {
        let gate = Gate::new(settings, &LayerName::default());
        // As if a collector ran: none is started.
        gate.collecting.0.store(true, Relaxed);
        Self {
            gate: Arc::new(gate),
            offers: Arc::default(),
        }
    }

    fn offer(&self, text: &str) -> Decision {
        self.decide(text, Duplicates::Refuse, false)
    }

    fn offer_and_follow(&self, text: &str) -> Decision {
        self.decide(text, Duplicates::WAIT, false)
    }

    /// Offers for a task of its own.
    fn offer_detached(&self, text: &str) -> Decision {
        self.decide(text, Duplicates::WAIT, true)
    }

    fn decide(&self, text: &str, duplicates: Duplicates, is_detached: bool) -> Decision {
        let policy = DuplicatePolicy {
            duplicates,
            can_replay: |_| true,
        };
        self.offers.fetch_add(1, Relaxed);
        let offer = Offer::new("p", Fingerprint::exact(text.as_bytes()));
        Decision::from(self.gate.admit(Arrival::new(&offer, policy, is_detached)))
    }

    /// Offers and completes the claim, if there is one. Returns whether there was.
    fn process(&self, text: &str) -> bool {
        let claim = self.offer(text).admitted();
        claim.map(Claim::succeed).is_some()
    }

    fn forget(&self) -> bool {
        self.gate.forget(PeerKey::from("p"), Scope::Peer)
    }

    fn forget_offer(&self, text: &str) -> bool {
        let fingerprint = Fingerprint::exact(text.as_bytes());
        self.gate.forget(PeerKey::from("p"), Scope::Offer(fingerprint))
    }

    /// Removes the history from the cache, as moka does when it is full.
    fn evict(&self) {
        self.gate.peers.memory.put(PeerKey::from("p"), None);
    }

    fn is_processing(&self) -> bool {
        self.gate.is_processing(PeerKey::from("p"))
    }

    /// Runs `act` in a thread of its own.
    fn spawn<T: 'static>(&self, act: impl FnOnce(&Self) -> T + 'static) -> thread::JoinHandle<T> {
        let gate = self.clone();
        thread::spawn(move || act(&gate))
    }

    /// Asserts that just the offers in `known` are remembered, and that nothing else is left of any offer.
    #[track_caller]
    fn assert_settled(&self, known: &[&str]) {
        self.assert_settled_with(known, &[]);
    }

    /// Asserts that just the offers in `known` are remembered as processed and those in `superseded` are marked, and
    /// that nothing else is left of any offer.
    #[track_caller]
    fn assert_settled_with(&self, known: &[&str], superseded: &[&str]) {
        for text in known {
            self.offer(text).assert_refused(&[Reason::Processed]);
        }
        for text in superseded {
            self.offer(text).assert_refused(&[Reason::Superseded]);
        }
        self.assert_idle();
        let memories = known.len() + superseded.len();
        assert_eq!(self.gate.stats().memories, memories as u64);
    }

    /// Asserts that the lock table is empty and that every offer is counted once.
    #[track_caller]
    fn assert_idle(&self) {
        let gate = &self.gate;
        gate.collect();
        gate.peers.shards[0].with(|table| assert!(table.is_empty(), "{table:?}"));
        let (stats, offers) = (gate.stats(), self.offers.load(Relaxed));
        assert_eq!((stats.claims, stats.waiters), (0, 0));
        let ended = stats.completed + stats.failed + stats.abandoned + stats.superseded;
        assert_eq!(stats.admitted, ended, "{stats:?}");
        let decided = stats.admitted + stats.replayed + stats.refused() + stats.waits_abandoned;
        assert_eq!(decided, offers, "{stats:?}");
    }

    /// Sorts the offers into those that are remembered as processed, those that are marked as superseded, and asserts
    /// that nothing else is left. Other offers are not remembered.
    #[track_caller]
    fn settled(&self, texts: &[&'static str]) -> Settled {
        let mut settled = Settled::default();
        for text in texts {
            match self.offer(text) {
                Decision::Admitted(claim) => drop(claim),
                Decision::Refused(Reason::Processed) => settled.processed.push(text),
                Decision::Refused(Reason::Superseded) => settled.superseded.push(text),
                other => panic!("{text} is {other:?}"),
            }
        }
        self.assert_settled_with(&settled.processed, &settled.superseded);
        settled
    }
}

/// The memories at the end of a model.
#[derive(Debug, Default)]
struct Settled {
    processed: Vec<&'static str>,
    superseded: Vec<&'static str>,
}

impl Decision {
    fn admitted(self) -> Option<Claim> {
        match self {
            Self::Admitted(claim) => Some(claim),
            _ => None,
        }
    }

    #[track_caller]
    fn claim(self) -> Claim {
        match self {
            Self::Admitted(claim) => claim,
            other => panic!("not admitted but {other:?}"),
        }
    }

    #[track_caller]
    fn waiter(self) -> Pin<Box<Waiter>> {
        match self {
            Self::Waiting(waiter) => waiter,
            other => panic!("not waiting but {other:?}"),
        }
    }

    #[track_caller]
    fn assert_refused(self, any_of: &[Reason]) {
        match self {
            Self::Refused(reason) if any_of.contains(&reason) => {}
            other => panic!("not refused as one of {any_of:?} but {other:?}"),
        }
    }

    /// Waits for the final decision.
    fn wait(self) -> Self {
        match self {
            Self::Waiting(waiter) => wait(waiter),
            other => other,
        }
    }
}

/// Waits for the final decision on a waiting offer.
fn wait(waiter: Pin<Box<Waiter>>) -> Decision {
    match block_on(waiter) {
        Verdict::Admitted(claim) => Decision::Admitted(claim),
        Verdict::Replay { .. } => Decision::Replayed,
        Verdict::Refused { refusal, .. } => Decision::Refused(refusal.reason()),
        Verdict::Wait(never) => match never {},
    }
}

impl From<Verdict<Claim, Pin<Box<Waiter>>>> for Decision {
    fn from(verdict: Verdict<Claim, Pin<Box<Waiter>>>) -> Self {
        match verdict {
            Verdict::Admitted(claim) => Self::Admitted(claim),
            Verdict::Replay { .. } => Self::Replayed,
            Verdict::Refused { refusal, .. } => Self::Refused(refusal.reason()),
            Verdict::Wait(waiter) => Self::Waiting(waiter),
        }
    }
}

impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admitted(_) => f.write_str("admitted"),
            Self::Replayed => f.write_str("replayed"),
            Self::Refused(reason) => write!(f, "refused as {reason:?}"),
            Self::Waiting(_) => f.write_str("waiting"),
        }
    }
}

impl Claim {
    fn succeed(self) {
        self.complete(Outcome::Success, Some(Record::new("an answer", 0)), true);
    }

    fn fail(self) {
        self.complete(Outcome::Failure, None, true);
    }

    /// Ends the claim as its processing does once it was superseded.
    fn end_superseded(self) {
        self.complete(Outcome::Superseded, None, true);
    }

    /// Processes the offer as the layer does: it checks once whether the claim was revoked, then succeeds.
    fn run(self) {
        match self.revoked() {
            None => self.succeed(),
            Some(Revoked::Superseded) => self.end_superseded(),
            Some(_) => drop(self),
        }
    }

    fn revoked(&self) -> Option<Revoked> {
        self.poll_revoked(&Context::from_waker(Waker::noop()))
    }

    /// Waits until the claim is revoked.
    fn wait_revoked(&self) -> Revoked {
        block_on(poll_fn(|cx| self.poll_revoked(cx).map_or(Poll::Pending, Poll::Ready)))
    }
}

/// Polls a waiter once, without a task to wake. Returns whether it is done; a claim is dropped.
fn poll_once(waiter: &mut Pin<Box<Waiter>>) -> bool {
    waiter.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// Checks a model in every interleaving.
fn exhaustively(model: impl Fn() + Send + Sync + 'static) {
    check(Builder::new(), model);
}

/// Checks a model in every interleaving with at most so many preemptions.
fn up_to(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    check(builder, model);
}

fn check(builder: Builder, model: impl Fn() + Send + Sync + 'static) {
    let interleavings = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&interleavings);
    builder.check(move || {
        count.fetch_add(1, Relaxed);
        model();
    });
    println!("{} interleavings", interleavings.load(Relaxed));
}
