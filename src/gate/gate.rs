//! [`Gate`]: the state that all clones of a layer share.

use std::{
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{
            AtomicBool,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
};

use super::{
    claim::Claim,
    clock::{Clock, Tick},
    collector::{self, Collect},
    decision::{Arrival, Grant, Place, Rules, Scope, Turn, Verdict},
    effects::{Effects, TakenOver},
    history::Cutoff,
    memory::Memory,
    number::{ClaimNumber, Floor, Numbers},
    peer::{Active, End},
    sync::{AtomicU64, AtomicUsize, Notify, SHARDS, sleep_until},
    table::{COOLDOWN_BYTES, LockTable, Shard},
    waiter::Waiter,
};
use crate::{Offer, PeerKey, Stats, observe, quiet::catch, settings::Settings, stats::Counters};

/// The state that all clones of a layer share.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(super) settings: Settings,
    pub(super) clock: Clock,
    pub(super) shards: Box<[Shard]>,
    pub(super) memory: Memory,
    pub(super) numbers: Numbers,
    floor: Floor,
    claims: AtomicUsize,
    waiters: AtomicUsize,
    /// The latest deadline of any waiter so far, as the ticks of [`Tick`]. [`drain`](Self::drain) waits no longer.
    last_deadline: AtomicU64,
    idle: Notify,
    pub(super) is_collecting: AtomicBool,
    counters: Counters,
}

impl Gate {
    pub(crate) fn new(settings: Settings) -> Self {
        let settings = settings.effective();
        let clock = Clock::new();
        Self {
            settings,
            clock,
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            memory: Memory::new(&settings, clock),
            numbers: Numbers::new(),
            floor: Floor::default(),
            claims: AtomicUsize::new(0),
            waiters: AtomicUsize::new(0),
            last_deadline: AtomicU64::new(0),
            idle: Notify::new(),
            is_collecting: AtomicBool::new(false),
            counters: Counters::default(),
        }
    }

    /// Decides what becomes of an offer.
    pub(crate) fn admit(self: &Arc<Self>, arrival: Arrival<'_>) -> Verdict<Claim, Pin<Box<Waiter>>> {
        self.decide(&arrival, |place, now| {
            // Boxed: few requests wait, and all would pay for the size.
            Box::pin(Waiter::new(Arc::clone(self), &arrival, place, now))
        })
    }

    /// Ends what `scope` names, in flight included. Returns whether there was anything.
    pub(crate) fn forget(self: &Arc<Self>, peer: PeerKey, scope: Scope) -> bool {
        let mut effects = Effects::default();
        let was_known = loop {
            let writes = self.shard(peer).with(|table| table.writes);
            let known = self.memory.get(peer);
            let forgotten = self.with(peer, |table, now| {
                // A write since the read may have brought a newer history.
                (table.writes == writes).then(|| table.forget(peer, scope, known, &self.cutoff(now), now, &mut effects))
            });
            if let Some(was_known) = forgotten {
                break was_known;
            }
        };
        self.run(peer, effects);
        if was_known {
            observe::forgotten(&self.counters, peer);
        }
        was_known
    }

    /// Forgets everything, claims in flight included.
    pub(crate) fn clear(&self) {
        // The cache drops what is in it now. What is written later must stay, so the floor is raised after it.
        self.memory.clear();
        let floor = self.numbers.next();
        self.floor.raise(floor);
        for shard in &self.shards {
            for effects in shard.with(|table| table.clear(floor)) {
                debug_assert!(effects.write.is_none(), "`clear` changes no history");
                effects.run(|_| ());
            }
        }
        observe::cleared();
    }

    pub(crate) fn is_processing(&self, peer: PeerKey) -> bool {
        self.shard(peer).with(|table| table.is_processing(peer))
    }

    /// Resolves when no claim is held and no request waits inside its deadline.
    pub(crate) async fn drain(&self) {
        loop {
            let idle = self.idle.notified();
            // The waiters first: a waiter becomes a claim before it is gone, so in this order none is overlooked.
            // Acquire pairs with the decrements in `waiter_gone` and `claim_gone`.
            let waiters = self.waiters.load(Acquire);
            if self.claims.load(Acquire) == 0 {
                let last = Tick::from_nanos(self.last_deadline.load(Acquire));
                if waiters == 0 || last <= self.clock.now() {
                    return;
                }
                let mut idle = std::pin::pin!(idle);
                let mut timer = std::pin::pin!(sleep_until(self.clock.instant(last)));
                std::future::poll_fn(|cx| {
                    let is_idle = idle.as_mut().poll(cx).is_ready();
                    if is_idle || timer.as_mut().poll(cx).is_ready() {
                        std::task::Poll::Ready(())
                    } else {
                        std::task::Poll::Pending
                    }
                })
                .await;
            } else {
                idle.await;
            }
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let cooldowns: usize = self
            .shards
            .iter()
            .map(|shard| shard.with(|table| table.cooldowns()))
            .sum();
        Stats {
            claims: self.claims.load(Relaxed) as u64,
            waiters: self.waiters.load(Relaxed) as u64,
            memories: self.memory.len(),
            cooldowns: cooldowns as u64,
            bytes: self.memory.bytes() + (cooldowns * COOLDOWN_BYTES) as u64,
            evicted: self.memory.evicted(),
            ..self.counters.read()
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Decides on an offer and emits what was decided. `wait` makes the guard of a waiting offer.
    ///
    /// The guard of the claim or of the waiter exists before anything is observed: a panic of a subscriber drops it.
    pub(super) fn decide<W>(
        self: &Arc<Self>,
        arrival: &Arrival<'_>,
        wait: impl FnOnce(Place, Tick) -> W,
    ) -> Verdict<Claim, W> {
        let mut effects = Effects::default();
        let (verdict, now) = self.look_up(arrival, &mut effects);
        let verdict = match verdict {
            Verdict::Admitted(grant) => Verdict::Admitted(self.claim(arrival.offer, grant)),
            Verdict::Wait(place) => Verdict::Wait(wait(place, now)),
            Verdict::Replay { record, age } => Verdict::Replay { record, age },
            Verdict::Refused { refusal, age } => Verdict::Refused { refusal, age },
        };
        let taken_over = effects
            .taken_over
            .map(|TakenOver { since, cause }| (cause, now.since(since)));
        let ran = catch(|| self.run(arrival.offer.peer(), effects));
        observe::decided(&self.counters, arrival.offer, &verdict, taken_over);
        ran.resume();
        verdict
    }

    /// Makes the guard of a granted lock.
    pub(super) fn claim(self: &Arc<Self>, offer: &Offer, grant: Grant) -> Claim {
        // Relaxed: the increment publishes nothing; the decrement does.
        self.claims.fetch_add(1, Relaxed);
        Claim::new(Arc::clone(self), offer.clone(), grant)
    }

    /// Notes that a claim is no longer held.
    pub(super) fn claim_gone(&self) {
        // Release publishes what the claim did to `drain`; acquire orders the notification after it.
        if self.claims.fetch_sub(1, AcqRel) == 1 {
            self.idle.notify_waiters();
        }
    }

    /// Notes that a request waits until `deadline` at most.
    pub(super) fn waiter_accepted(&self, deadline: Tick) {
        self.last_deadline.fetch_max(deadline.as_nanos(), AcqRel);
        self.waiters.fetch_add(1, Relaxed);
    }

    /// Notes that a request waits no longer. If it was admitted, its claim exists already.
    pub(super) fn waiter_gone(&self) {
        // Release: who reads the lower count also sees the claim that the waiter has become.
        if self.waiters.fetch_sub(1, AcqRel) == 1 {
            self.idle.notify_waiters();
        }
    }

    /// Gives the lock to the queued offer `id` if it is its turn.
    pub(super) fn turn(self: &Arc<Self>, offer: &Offer, id: ClaimNumber) -> Turn<Claim> {
        let mut effects = Effects::default();
        let (turn, now) = self.with(offer.peer(), |table, now| {
            (table.turn(offer.peer(), id, &self.rules(now), &mut effects), now)
        });
        let turn = match turn {
            // The guard comes first: the effects and events may panic.
            Turn::Granted(grant) => Turn::Granted(self.claim(offer, grant)),
            Turn::NotYet(wake) => Turn::NotYet(wake),
            Turn::Removed => Turn::Removed,
        };
        self.run_and_observe(offer, effects, now);
        turn
    }

    /// Ends a claim. Returns what is left to do, and the time of the end.
    pub(super) fn release(&self, peer: PeerKey, number: ClaimNumber, end: End) -> (Effects, Tick) {
        let mut effects = Effects::default();
        let now = self.with(peer, |table, now| {
            table.release(peer, number, end, &self.rules(now), &mut effects);
            now
        });
        (effects, now)
    }

    /// Sets when the lease of a claim ends, if it still holds the lock.
    pub(super) fn set_lease(&self, peer: PeerKey, number: ClaimNumber, lease_end: impl FnOnce(Tick) -> Tick) {
        self.with(peer, |table, now| table.set_lease(peer, number, lease_end(now)));
    }

    /// Changes the state of an active peer by `act` and runs the effects.
    pub(super) fn change(self: &Arc<Self>, offer: &Offer, act: impl FnOnce(&mut Active, &mut Effects)) {
        let mut effects = Effects::default();
        let now = self.with(offer.peer(), |table, now| {
            table.change(offer.peer(), now, &mut effects, act);
            now
        });
        self.run_and_observe(offer, effects, now);
    }

    /// Returns when a follower of `id` must look again, or `None` if it has to decide anew now.
    pub(super) fn follow_again(&self, peer: PeerKey, id: ClaimNumber) -> Option<Tick> {
        self.with(peer, |table, now| table.follow_again(peer, id, now, &self.settings))
    }

    /// Runs the effects of a change, and counts and emits a takeover among them.
    fn run_and_observe(self: &Arc<Self>, offer: &Offer, effects: Effects, now: Tick) {
        let taken_over = effects.taken_over;
        let ran = catch(|| self.run(offer.peer(), effects));
        if let Some(TakenOver { since, cause }) = taken_over {
            observe::taken_over(&self.counters, offer, cause, now.since(since));
        }
        ran.resume();
    }

    /// Collects in the background, as long as there is something to collect.
    pub(super) fn keep_collecting(self: &Arc<Self>) {
        // Most calls find the flag set, and are spared the write. AcqRel pairs with `stop_collecting`: who finds the
        // flag set has made its change before the collector checks for work.
        if !self.is_collecting.load(Relaxed) && !self.is_collecting.swap(true, AcqRel) {
            let state: Weak<Self> = Arc::downgrade(self);
            collector::register(state);
        }
    }

    /// Returns whether nothing is left to collect.
    fn is_empty(&self) -> bool {
        // In this order: a completion counts its memory before it removes its entry, and both before it asks for a
        // collector.
        let is_idle = self.shards.iter().all(|shard| shard.with(|table| table.is_empty()));
        is_idle && self.memory.len() == 0
    }

    /// Runs the effects of a change: counts what was evicted, wakes waiting requests, writes the history back.
    pub(super) fn run(self: &Arc<Self>, peer: PeerKey, effects: Effects) {
        let expires = effects.expires;
        let evicted = effects.trimmed.offers + effects.cooldowns_evicted;
        if evicted > 0 {
            self.memory.count_evicted(evicted as u64);
        }
        effects.run(|write| {
            self.memory.write_back(peer, write, |version| {
                let mut vacant = None;
                // Returned out of the mutex before the vacant entry is dropped: its history may hold answers.
                self.with(peer, |table, now| table.written(peer, version, now, &mut vacant))
            });
        });
        if expires {
            self.keep_collecting();
        }
    }

    /// Decides on an offer from the lock table and the memory.
    ///
    /// The lock table is asked first: an active peer's entry also holds its newest history. Otherwise the cache is read.
    /// If the offer is not in it, the lock table decides, unless a write to the cache has arrived in between: it may
    /// have been the history with this very offer, and then everything is read again.
    fn look_up(&self, arrival: &Arrival<'_>, effects: &mut Effects) -> (Verdict<Grant, Place>, Tick) {
        let peer = arrival.offer.peer();
        let shard = self.shard(peer);
        loop {
            let looked = shard.with(|table| {
                // Most peers are idle. They are spared the clock here.
                if !table.needs_time(peer) {
                    return Err(table.writes);
                }
                let now = self.clock.now();
                let decided = table.decide_if_active(arrival, &self.rules(now), effects);
                decided.map(|verdict| (verdict, now)).ok_or(table.writes)
            });
            let writes = match looked {
                Ok(decided) => return decided,
                Err(writes) => writes,
            };
            let known = self.settings.remembers().then(|| self.memory.get(peer)).flatten();
            // A memory's deadline is compared with the time of its lookup.
            let now = self.clock.now();
            let cutoff = self.cutoff(now);
            let found = known
                .as_ref()
                .and_then(|known| known.find(arrival.fingerprint(), &cutoff));
            if let Some(found) = found {
                return (found.verdict(arrival, now), now);
            }
            let decided = shard.with(|table| {
                if table.writes != writes {
                    effects.discard(known);
                    return None;
                }
                // Read anew: a deadline of the lock table is compared with a time read under the mutex.
                let now = self.clock.now();
                let rules = Rules {
                    cutoff,
                    ..self.rules(now)
                };
                Some((table.decide(known, arrival, &rules, effects), now))
            });
            if let Some(decided) = decided {
                return decided;
            }
        }
    }

    /// Runs `act` under the mutex of the peer's shard, with the time read under that mutex. An older time would find
    /// deadlines still ahead that another thread has found passed, and leave entries behind that nobody removes.
    fn with<T>(&self, peer: PeerKey, act: impl FnOnce(&mut LockTable, Tick) -> T) -> T {
        self.shard(peer).with(|table| act(table, self.clock.now()))
    }

    fn rules(&self, now: Tick) -> Rules<'_> {
        Rules {
            now,
            cutoff: self.cutoff(now),
            settings: &self.settings,
            numbers: &self.numbers,
        }
    }

    pub(super) fn cutoff(&self, now: Tick) -> Cutoff {
        Cutoff::new(now, self.settings.window, self.floor.get())
    }

    fn shard(&self, peer: PeerKey) -> &Shard {
        &self.shards[peer.shard(SHARDS)]
    }
}

impl Collect for Gate {
    fn collect(&self) {
        self.memory.collect();
        for shard in &self.shards {
            shard.with(|table| table.sweep(self.clock.now(), usize::MAX));
        }
        let stats = self.stats();
        observe::memory(stats.memories, stats.bytes);
    }

    fn stop_collecting(&self) -> bool {
        if !self.is_empty() {
            return false;
        }
        // Cleared first, checked again after it: a change in between either finds the flag cleared and registers, or is
        // seen by this check.
        self.is_collecting.store(false, Release);
        self.is_empty() || self.is_collecting.swap(true, AcqRel)
    }

    fn collector_lost(&self) {
        self.is_collecting.store(false, Release);
    }

    fn changes(&self) -> u64 {
        self.numbers.issued()
    }
}
