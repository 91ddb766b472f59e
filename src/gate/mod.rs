//! The gate: one atomic decision for each offer, from the memory of what was processed and the lock of its peer.
//!
//! It knows nothing of requests. An offer goes in by [`Gate::admit`]; what comes out is a [`Verdict`]: a [`Claim`] to
//! process it, an answer to give again, a refusal, or a [`Wait`] that ends in one of these.

mod claim;
mod clock;
mod collect;
mod entry;
mod lock;
mod memory;
mod news;
mod publish;
mod sync;
mod wait;

// `cfg(test)` stands alone, for cargo-mutants to see that these are tests.
#[cfg(test)]
#[cfg(offer_dedup_loom)]
mod models;
#[cfg(test)]
#[cfg(not(offer_dedup_loom))]
mod tests;

use std::{
    pin::Pin,
    sync::{
        Arc, PoisonError,
        atomic::{
            AtomicBool,
            Ordering::{AcqRel, Acquire, Relaxed},
        },
    },
    time::Duration,
};

pub(crate) use self::{
    claim::{Claim, Result, Tether},
    memory::Record,
    wait::Wait,
};
use self::{
    clock::{Clock, Tick},
    entry::Aftermath,
    lock::{Arrival, Decision, Number, Peers, Turn},
    memory::{Horizon, Memory, PeerMemory},
    sync::{AtomicU64, AtomicUsize, Mutex, Notify, SHARDS},
    wait::Place,
};
use crate::{Offer, PeerKey, Reason, Refusal, Stats, answer::Duplicates, builder::Settings, observe, stats::Counters};

/// The state that all clones of a layer share.
#[derive(Debug)]
pub(crate) struct Gate {
    settings: Settings,
    clock: Clock,
    shards: Box<[Shard]>,
    memory: Memory,
    next_number: AtomicU64,
    /// Claims below are cleared: neither found nor stored.
    floor: AtomicU64,
    claims: AtomicUsize,
    idle: Notify,
    waiters: AtomicUsize,
    is_collecting: AtomicBool,
    counters: Counters,
}

/// What becomes of an offer.
#[derive(Debug)]
pub(crate) enum Verdict {
    Admitted(Claim),
    Replay(Record),
    Refused(Refusal),
    /// Boxed, for few requests wait and all would pay for its size.
    Wait(Pin<Box<Wait>>),
}

/// How duplicates are answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Treatment {
    pub(crate) duplicates: Duplicates,
    /// Whether a record can be given again: services of one layer may answer with different types.
    pub(crate) fits: fn(&Record) -> bool,
}

/// What is decided of an offer in one step.
enum Step {
    Admitted(Number, Tick),
    Replay(Record),
    Refused(Refusal),
    Wait(Place),
}

impl Gate {
    pub(crate) fn new(settings: Settings) -> Self {
        let clock = Clock::new();
        Self {
            settings,
            clock,
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            memory: Memory::new(&settings, clock),
            next_number: AtomicU64::new(1),
            floor: AtomicU64::new(0),
            claims: AtomicUsize::new(0),
            idle: Notify::new(),
            waiters: AtomicUsize::new(0),
            is_collecting: AtomicBool::new(false),
            counters: Counters::default(),
        }
    }

    /// Decides what becomes of `offer`.
    pub(crate) fn admit(self: &Arc<Self>, offer: Offer, treatment: Treatment) -> Verdict {
        match self.decide(&offer, treatment) {
            Step::Admitted(number, now) => Verdict::Admitted(Claim::new(Arc::clone(self), offer, (number, now))),
            Step::Replay(record) => Verdict::Replay(record),
            Step::Refused(refusal) => Verdict::Refused(refusal),
            Step::Wait(place) => {
                let arrived = self.clock.now();
                Verdict::Wait(Box::pin(Wait::new(Arc::clone(self), offer, treatment, arrived, place)))
            }
        }
    }

    /// Frees the peer and forgets what it sent, claims in flight included. Whether there was anything.
    pub(crate) fn forget(&self, peer: PeerKey) -> bool {
        let shard = self.shard(peer);
        let (was_known, mut after, edition) = loop {
            let now = self.clock.now();
            let published = shard.with(|peers| peers.published);
            let known = self.memory.get(peer);
            let forgotten = shard.with(|peers| {
                let is_still_known = peers.published == published;
                is_still_known.then(|| peers.forget(peer, known.as_ref(), &self.horizon(now), now))
            });
            if let Some(forgotten) = forgotten {
                break forgotten;
            }
        };
        after.carry_out();
        if let Some(edition) = edition {
            self.publish(peer, edition);
        }
        if was_known {
            observe::forgotten(&self.counters, peer);
        }
        was_known
    }

    /// Forgets everything, claims in flight included.
    pub(crate) fn clear(&self) {
        // moka drops what was there when it is called; what comes later must stay, so the floor rises after it.
        self.memory.clear();
        let floor = self.number();
        self.floor.fetch_max(floor, AcqRel);
        for shard in &self.shards {
            let all = shard.with(|peers| peers.clear(floor, self.clock.now()));
            all.into_iter().for_each(|mut after| after.carry_out());
        }
        observe::cleared();
    }

    pub(crate) fn is_processing(&self, peer: PeerKey) -> bool {
        self.shard(peer).with(|peers| peers.is_processing(peer))
    }

    /// Resolves when no claim is held.
    pub(crate) async fn drain(&self) {
        loop {
            let idle = self.idle.notified();
            if self.claims.load(Acquire) == 0 {
                return;
            }
            idle.await;
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            claims: self.claims.load(Relaxed) as u64,
            waiters: self.waiters.load(Relaxed) as u64,
            memories: self.memory.len(),
            bytes: self.memory.bytes(),
            evicted: self.memory.evicted(),
            ..self.counters.read()
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    fn decide(&self, offer: &Offer, treatment: Treatment) -> Step {
        let (now, (decision, after)) = self.look(offer, treatment.duplicates);
        self.carry_out(after, offer, now);

        match decision {
            Decision::Admitted(number) => Step::Admitted(number, now),
            Decision::Processed { at, record } => self.meet_memory(offer, treatment, record, now.since(at)),
            Decision::Follow(news, wake) => Step::Wait(Place::Following(news, wake)),
            Decision::Queued(place, turn) => Step::Wait(Place::Queued(place, turn)),
            Decision::InFlight { since } => self.refuse(offer, Reason::InFlight, now.since(since)),
            Decision::Busy { since } => self.refuse(offer, Reason::Busy, now.since(since)),
            Decision::TooManyDuplicates | Decision::QueueFull => self.refuse(offer, Reason::QueueFull, Duration::ZERO),
            Decision::Cooling { until } => {
                let refusal = Refusal::new(Reason::CoolingDown).retry_in(until.since(now));
                self.refuse_with(offer, refusal, Duration::ZERO)
            }
        }
    }

    /// Asks the lock table first, where a busy peer's memory is as well; then the published memory, and if the offer is not
    /// in it, the lock table again.
    fn look(&self, offer: &Offer, duplicates: Duplicates) -> (Tick, (Decision, Aftermath)) {
        let shard = self.shard(offer.peer());
        let next = || self.number();
        loop {
            let now = self.clock.now();
            let horizon = &self.horizon(now);
            let arrival = Arrival {
                offer,
                duplicates,
                now,
                horizon,
            };
            let asked = shard.with(|peers| {
                let decided = peers.decide_if_busy(arrival, &self.settings, next);
                decided.ok_or(peers.published)
            });
            let published = match asked {
                Ok(decided) => return (now, decided),
                Err(published) => published,
            };
            let known = self.remembered(offer.peer());
            let processed = known
                .as_ref()
                .and_then(|known| known.find(offer.fingerprint(), horizon));
            if let Some(processed) = processed {
                return (now, (processed.into(), Aftermath::default()));
            }
            let decided = shard.with(|peers| {
                // What was published since the look at the memory may have been this very offer.
                (peers.published == published).then(|| peers.decide(known.as_ref(), arrival, &self.settings, next))
            });
            if let Some(decided) = decided {
                return (now, decided);
            }
        }
    }

    /// The same offer was processed, `age` ago.
    fn meet_memory(&self, offer: &Offer, treatment: Treatment, record: Option<Record>, age: Duration) -> Step {
        match treatment.duplicates {
            Duplicates::Refuse => self.refuse(offer, Reason::Processed, age),
            Duplicates::Wait { .. } => self.repeat(offer, treatment, record, age),
        }
    }

    /// The answer of the same offer, given again if it was recorded. The offer is `age` old.
    fn repeat(&self, offer: &Offer, treatment: Treatment, record: Option<Record>, age: Duration) -> Step {
        match record.filter(treatment.fits) {
            Some(record) => {
                observe::replayed(&self.counters, offer, age);
                Step::Replay(record)
            }
            None => self.refuse(offer, Reason::NotRecorded, age),
        }
    }

    /// Refuses `offer` for what has gone on for `age`.
    fn refuse(&self, offer: &Offer, reason: Reason, age: Duration) -> Step {
        self.refuse_with(offer, Refusal::new(reason), age)
    }

    fn refuse_with(&self, offer: &Offer, refusal: Refusal, age: Duration) -> Step {
        observe::refused(&self.counters, offer, &refusal, age);
        Step::Refused(refusal)
    }

    fn turn(&self, offer: &Offer, place: Number, now: Tick) -> Turn {
        let next = || self.number();
        let (turn, after) = self
            .shard(offer.peer())
            .with(|peers| peers.turn(offer.peer(), place, now, &self.settings, next));
        self.carry_out(after, offer, now);
        turn
    }

    fn leave(&self, peer: PeerKey, place: Number) {
        let now = self.clock.now();
        self.shard(peer).with(|peers| peers.leave(peer, place, now)).carry_out();
    }

    fn carry_out(&self, mut after: Aftermath, offer: &Offer, now: Tick) {
        if let Some(since) = after.overdue_since {
            observe::taken_over(&self.counters, offer, now.since(since));
        }
        after.carry_out();
    }

    fn horizon(&self, now: Tick) -> Horizon {
        Horizon::new(now, self.settings.window, self.floor.load(Acquire))
    }

    fn remembered(&self, peer: PeerKey) -> Option<PeerMemory> {
        self.remembers().then(|| self.memory.get(peer))?
    }

    fn remembers(&self) -> bool {
        !self.settings.window.is_zero() && self.settings.max_memory > 0
    }

    fn number(&self) -> Number {
        self.next_number.fetch_add(1, Relaxed)
    }

    fn shard(&self, peer: PeerKey) -> &Shard {
        &self.shards[peer.shard(SHARDS)]
    }
}

/// Some of the peers.
#[derive(Debug, Default)]
struct Shard(Mutex<Peers>);

impl Shard {
    fn with<T>(&self, act: impl FnOnce(&mut Peers) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
