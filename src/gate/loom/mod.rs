//! Model checking with loom: a few calls in every order, and with every value that an atomic may be read to have.
//!
//! Bounds. The offers, one to seven, are of one peer. Of two threads that run at once every order of their steps is
//! checked; of three, every order in which no more than 3, 4 or 5 times ([`up_to`]) a thread is preempted that could have
//! gone on. `LOOM_MAX_PREEMPTIONS` sets another bound for all. A step is the lock of a mutex or an access to an atomic;
//! moka and tokio's notifications are stand-ins whose calls are one step each. Whoever sleeps and is woken by nobody is a
//! deadlock, which fails the model. Not seen by loom: reference counts, tasks that are aborted, the thread that collects
//! (it is not started; what it calls is), and what moka throws out by itself.

pub(super) mod doubles;
mod ends;
mod memories;
mod turns;

use std::{fmt, sync::atomic};

use loom::{future::block_on, model::Builder, thread};

use self::doubles::Instant;
use super::*;
use crate::{Fingerprint, WhenBusy, gate};

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
};

/// One room, in which all offers are of the peer `p`.
#[derive(Clone)]
struct Room {
    gate: Arc<Gate>,
    /// How many offers were made.
    offers: Arc<atomic::AtomicU64>,
}

/// What became of an offer.
enum Fate {
    Admitted(Claim),
    Replayed,
    Refused(Reason),
    Waits(Pin<Box<Wait>>),
}

impl Room {
    fn new(when_busy: WhenBusy) -> Self {
        Self::with(Settings { when_busy, ..SETTINGS })
    }

    fn with(settings: Settings) -> Self {
        let gate = Gate::new(settings);
        // As if somebody did so already.
        gate.is_collecting.store(true, Relaxed);
        Self {
            gate: Arc::new(gate),
            offers: Arc::default(),
        }
    }

    fn offer(&self, text: &str) -> Fate {
        self.meet(text, Duplicates::Refuse)
    }

    fn offer_and_wait(&self, text: &str) -> Fate {
        self.meet(text, Duplicates::WAIT)
    }

    fn meet(&self, text: &str, duplicates: Duplicates) -> Fate {
        let treatment = Treatment {
            duplicates,
            fits: |_| true,
        };
        self.offers.fetch_add(1, Relaxed);
        let offer = Offer::new("p", Fingerprint::exact(text.as_bytes()));
        Fate::from(self.gate.admit(offer, treatment))
    }

    /// Offers, and succeeds if it is admitted, which is told.
    fn process(&self, text: &str) -> bool {
        let claim = self.offer(text).admitted();
        claim.map(Claim::succeed).is_some()
    }

    fn forget(&self) -> bool {
        self.gate.forget(PeerKey::from("p"))
    }

    /// As moka does when it is full.
    fn evict(&self) {
        self.gate.memory.put(PeerKey::from("p"), None);
    }

    fn is_processing(&self) -> bool {
        self.gate.is_processing(PeerKey::from("p"))
    }

    /// Does `act` in a thread of its own.
    fn spawn<T: 'static>(&self, act: impl FnOnce(&Self) -> T + 'static) -> thread::JoinHandle<T> {
        let room = self.clone();
        thread::spawn(move || act(&room))
    }

    /// What is remembered in the end is what is `known`, and nothing is left of any offer's way.
    fn assert_over(&self, known: &[&str]) {
        for text in known {
            self.offer(text).assert_refused(&[Reason::Processed]);
        }
        let gate = &self.gate;
        gate.collect();
        gate.shards[0].with(|peers| assert!(peers.is_empty(), "{peers:?}"));
        let (stats, offers) = (gate.stats(), self.offers.load(Relaxed));
        assert_eq!((stats.claims, stats.waiters), (0, 0));
        assert_eq!(stats.memories, known.len() as u64);
        let ended = stats.completed + stats.failed + stats.abandoned;
        assert_eq!(stats.admitted, ended, "{stats:?}");
        let met = stats.admitted + stats.replayed + stats.refused() + stats.waits_abandoned;
        assert_eq!(met, offers, "{stats:?}");
    }
}

impl From<Verdict> for Fate {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Admitted(claim) => Self::Admitted(claim),
            Verdict::Replay(_) => Self::Replayed,
            Verdict::Refused(refusal) => Self::Refused(refusal.reason()),
            Verdict::Wait(wait) => Self::Waits(wait),
        }
    }
}

impl Fate {
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
    fn wait(self) -> Pin<Box<Wait>> {
        match self {
            Self::Waits(wait) => wait,
            other => panic!("does not wait but {other:?}"),
        }
    }

    #[track_caller]
    fn assert_refused(self, any_of: &[Reason]) {
        match self {
            Self::Refused(reason) if any_of.contains(&reason) => {}
            other => panic!("not refused as one of {any_of:?} but {other:?}"),
        }
    }

    /// What the wait ends in, if this is one.
    fn in_the_end(self) -> Self {
        match self {
            Self::Waits(wait) => Self::from(block_on(wait)),
            other => other,
        }
    }
}

impl fmt::Debug for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admitted(_) => f.write_str("admitted"),
            Self::Replayed => f.write_str("replayed"),
            Self::Refused(reason) => write!(f, "refused as {reason:?}"),
            Self::Waits(_) => f.write_str("waiting"),
        }
    }
}

impl Claim {
    fn succeed(self) {
        self.complete(gate::Result::Success, Some(Record::new("an answer", 0)));
    }
}

/// Checks `model`, of two threads, in every order.
fn every_order(model: impl Fn() + Send + Sync + 'static) {
    check(Builder::new(), model);
}

/// Checks `model`, of three threads, in every order with at most so many preemptions.
fn up_to(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    check(builder, model);
}

fn check(builder: Builder, model: impl Fn() + Send + Sync + 'static) {
    let orders = Arc::new(atomic::AtomicU64::new(0));
    let count = Arc::clone(&orders);
    builder.check(move || {
        count.fetch_add(1, Relaxed);
        model();
    });
    println!("{} orders", orders.load(Relaxed));
}
