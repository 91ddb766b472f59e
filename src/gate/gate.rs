//! [`Gate`]: the state that all clones of a layer share.

use std::{panic::resume_unwind, pin::Pin, sync::Arc};

use super::{
    claim::Claim,
    clock::{Clock, Tick},
    collector::{Collect, Flag},
    decision::{Arrival, Grant, Place, Rules, Scope, Turn, Verdict},
    effects::{Effects, TakenOver},
    end::End,
    history::Cutoff,
    live::Live,
    memory::Memory,
    number::{ClaimNumber, Floor, Numbers},
    peer::Active,
    sync::SHARDS,
    table::{COOLDOWN_BYTES, LockTable, Shard},
    waiter::Waiter,
};
use crate::{
    Offer, PeerKey, Stats,
    fence::Fence,
    metrics::LayerName,
    observe,
    quiet::catch,
    settings::Settings,
    stats::{Counters, Reported},
};

/// The state that all clones of a layer share.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(super) settings: Settings,
    pub(super) clock: Clock,
    pub(super) shards: Box<[Shard]>,
    pub(super) memory: Memory,
    pub(super) numbers: Numbers,
    floor: Floor,
    pub(super) live: Live,
    pub(super) collecting: Flag,
    counters: Counters,
    reported: Reported,
}

impl Gate {
    pub(crate) fn new(settings: Settings, name: &LayerName) -> Self {
        let settings = settings.effective();
        let clock = Clock::new();
        Self {
            settings,
            clock,
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            memory: Memory::new(&settings, clock),
            numbers: Numbers::new(),
            floor: Floor::default(),
            live: Live::default(),
            collecting: Flag::default(),
            counters: Counters::new(name),
            reported: Reported::new(name),
        }
    }

    /// Decides what becomes of an offer.
    pub(crate) fn admit(self: &Arc<Self>, arrival: Arrival<'_>) -> Verdict<Claim, Pin<Box<Waiter>>> {
        let verdict = self.decide(&arrival, |place, now| {
            // Boxed: few requests wait, and all would pay for the size.
            Box::pin(Waiter::new(Arc::clone(self), &arrival, place, now))
        });
        if let Verdict::Wait(_) = verdict {
            observe::waiting(&self.counters);
        }
        verdict
    }

    /// Ends what `scope` names, in flight included. Returns whether there was anything.
    pub(crate) fn forget(self: &Arc<Self>, peer: PeerKey, scope: Scope) -> bool {
        let mut effects = Effects::default();
        let was_known = loop {
            let writes = self.shard(peer).with(|table| table.writes);
            let known = self.memory.get(peer);
            let forgotten = self.with(peer, |table, now| {
                if table.writes != writes {
                    // A write since the read may have brought a newer history.
                    effects.discard(known);
                    return None;
                }
                Some(table.forget(peer, scope, known, &self.cutoff(now), now, &mut effects))
            });
            if let Some(was_known) = forgotten {
                break was_known;
            }
        };
        self.run(peer, &mut effects);
        if was_known {
            observe::forgotten(&self.counters, peer);
        }
        was_known
    }

    /// Forgets everything, claims in flight included.
    pub(crate) fn clear(self: &Arc<Self>) {
        // The cache drops what is in it now. What is written later must stay, so the floor is raised after it.
        self.memory.clear();
        let floor = self.numbers.next();
        self.floor.raise(floor);
        let mut panicked = None;
        for shard in &self.shards {
            for (peer, mut effects) in shard.with(|table| table.clear(floor)) {
                // A waker that panics must not keep the other peers from being cleared.
                let ran = catch(|| self.run(peer, &mut effects));
                panicked = panicked.or(ran.panic());
            }
        }
        if let Some(panic) = panicked {
            resume_unwind(panic);
        }
        observe::cleared();
    }

    /// Hides what is remembered now. Claims in flight go on and are remembered later.
    pub(crate) fn hide_memories(&self) {
        self.floor.hide_before(self.clock.now());
    }

    pub(crate) fn is_processing(&self, peer: PeerKey) -> bool {
        self.shard(peer).with(|table| table.is_processing(peer))
    }

    /// Resolves when no claim is held and no request waits inside its deadline.
    pub(crate) async fn drain(&self) {
        self.live.drain(&self.clock).await;
    }

    pub(crate) fn stats(&self) -> Stats {
        let cooldowns: usize = self
            .shards
            .iter()
            .map(|shard| shard.with(|table| table.cooldowns()))
            .sum();
        Stats {
            claims: self.live.claims(),
            waiters: self.live.waiters(),
            body_reads: self.live.body_reads(),
            memories: self.memory.len(),
            cooldowns: cooldowns as u64,
            bytes: self.memory.bytes() + (cooldowns * COOLDOWN_BYTES) as u64,
            max_bytes: self.settings.max_memory,
            evicted: self.memory.evicted(),
            ..self.counters.read()
        }
    }

    /// Describes the layer's metrics and creates them.
    pub(crate) fn announce(&self) {
        self.counters.announce();
        self.reported.announce();
        self.reported.report(&self.stats());
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Decides on an offer, and counts and emits what was decided. `guard` makes the guard of a waiting offer.
    ///
    /// A granted lock and a place in the queue have their guards before anything runs that may panic.
    pub(super) fn decide<W>(
        self: &Arc<Self>,
        arrival: &Arrival<'_>,
        guard: impl FnOnce(Place, Tick) -> W,
    ) -> Verdict<Claim, W> {
        let mut effects = Effects::default();
        let (verdict, now) = self.look_up(arrival, &mut effects);
        let verdict = verdict.map(|grant| self.claim(arrival.offer, grant), |place| guard(place, now));
        let is_decided = !self.awaits_store(&verdict);
        if is_decided {
            observe::count_decided(&self.counters, &verdict);
        }
        self.run_and_emit(arrival.offer, &mut effects, now);
        if is_decided {
            observe::decided(&self.counters, arrival.offer, &verdict);
        }
        verdict
    }

    /// Returns whether a shared store decides next. Until then the offer does not count as admitted.
    pub(super) fn awaits_store<C, W>(&self, verdict: &Verdict<C, W>) -> bool {
        self.settings.is_shared && matches!(verdict, Verdict::Admitted(_))
    }

    /// Makes the guard of a granted lock.
    pub(super) fn claim(self: &Arc<Self>, offer: &Offer, grant: Grant) -> Claim {
        self.live.claim_granted();
        Claim::new(Arc::clone(self), offer.clone(), grant)
    }

    /// Gives the lock to the queued offer `id` if it is its turn, and counts that. `on_grant` is called at once.
    pub(super) fn turn(self: &Arc<Self>, offer: &Offer, id: ClaimNumber, on_grant: impl FnOnce()) -> Turn<Claim> {
        let mut effects = Effects::default();
        let (turn, now) = self.with(offer.peer(), |table, now| {
            (table.turn(offer.peer(), id, &self.rules(now), &mut effects), now)
        });
        let turn = match turn {
            // The guard comes first: the effects and events may panic.
            Turn::Granted(grant) => {
                let claim = self.claim(offer, grant);
                if !self.settings.is_shared {
                    self.counters.admitted.count();
                }
                on_grant();
                Turn::Granted(claim)
            }
            Turn::NotYet(wake) => Turn::NotYet(wake),
            Turn::Removed => Turn::Removed,
        };
        self.run_and_emit(offer, &mut effects, now);
        turn
    }

    /// Ends a claim. Returns the time of the end.
    pub(super) fn release(&self, peer: PeerKey, number: ClaimNumber, end: End, effects: &mut Effects) -> Tick {
        self.with(peer, |table, now| {
            table.release(peer, number, end, &self.rules(now), effects);
            now
        })
    }

    /// Sets when the lease of a claim ends, if it still holds the lock.
    pub(super) fn set_lease(&self, peer: PeerKey, number: ClaimNumber, lease_end: impl FnOnce(Tick) -> Tick) {
        self.with(peer, |table, now| {
            table.with_lock(peer, |lock| lock.set_lease(number, lease_end(now)));
        });
    }

    /// Notes the number that the shared store has given a claim.
    pub(super) fn set_fence(&self, peer: PeerKey, number: ClaimNumber, fence: Fence) {
        self.shard(peer)
            .with(|table| table.with_lock(peer, |lock| lock.set_fence(number, fence)));
    }

    /// Returns whether a claim holds the lock and no response future waits for it any more.
    pub(super) fn is_abandoned(&self, peer: PeerKey, number: ClaimNumber) -> bool {
        let is_abandoned = |table: &mut LockTable| table.with_lock(peer, |lock| lock.is_abandoned(number));
        self.shard(peer).with(is_abandoned).unwrap_or(false)
    }

    /// Changes the state of an active peer by `act` and runs the effects.
    pub(super) fn change(self: &Arc<Self>, offer: &Offer, act: impl FnOnce(&mut Active, &mut Effects)) {
        let mut effects = Effects::default();
        let now = self.with(offer.peer(), |table, now| {
            table.change(offer.peer(), now, &mut effects, act);
            now
        });
        self.run_and_emit(offer, &mut effects, now);
    }

    /// Returns when a follower of `id` must look again, or `None` if it has to decide anew now.
    pub(super) fn follow_again(&self, peer: PeerKey, id: ClaimNumber) -> Option<Tick> {
        self.with(peer, |table, now| table.follow_again(peer, id, now, &self.settings))
    }

    /// Runs the effects of a change, and counts and emits a takeover among them.
    fn run_and_emit(self: &Arc<Self>, offer: &Offer, effects: &mut Effects, now: Tick) {
        if effects.is_empty() {
            return;
        }
        let taken_over = effects.taken_over();
        if taken_over.is_some() {
            observe::count_taken_over(&self.counters);
        }
        let ran = catch(|| self.run(offer.peer(), effects));
        if let Some(TakenOver { since, cause }) = taken_over {
            observe::taken_over(&self.counters, offer, cause, now.since(since));
        }
        ran.resume();
    }

    /// Runs the effects of a change: counts what was evicted, wakes waiting requests, writes the history back.
    pub(super) fn run(self: &Arc<Self>, peer: PeerKey, effects: &mut Effects) {
        if effects.evicted() > 0 {
            self.memory.count_evicted(effects.evicted());
        }
        effects.run(|write| {
            self.memory.write_back(peer, write, |version| {
                let mut vacant = None;
                // Returned out of the mutex before the vacant entry is dropped: its history may hold answers.
                self.shard(peer)
                    .with(|table| table.written(peer, version, || self.clock.now(), &mut vacant))
            });
        });
        if effects.expires() {
            self.collecting.register(self);
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
                let decided = table.decide_if_active(arrival, || self.rules(self.clock.now()), effects);
                decided.ok_or(table.writes)
            });
            let writes = match looked {
                Ok(decided) => return decided,
                Err(writes) => writes,
            };
            let known = self.settings.remembers().then(|| self.memory.get(peer)).flatten();
            let mut cutoff = None;
            if let Some(known) = &known {
                // A memory's deadline is compared with the time of its lookup.
                let now = self.clock.now();
                let cutoff = cutoff.insert(self.cutoff(now));
                if let Some(found) = known.find(arrival.fingerprint(), cutoff) {
                    return (Verdict::known(found, arrival, now), now);
                }
            }
            let decided = shard.with(|table| {
                if table.writes != writes {
                    effects.discard(known);
                    return None;
                }
                // Read anew: a deadline of the lock table is compared with a time read under the mutex.
                let now = self.clock.now();
                let mut rules = self.rules(now);
                rules.cutoff = cutoff.unwrap_or(rules.cutoff);
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
        Cutoff::new(now, self.settings.window, self.floor.get()).not_before(self.floor.tick())
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
    }

    fn report(&self) {
        self.reported.report(&self.stats());
    }

    fn is_empty(&self) -> bool {
        // In this order: a completion counts its memory before it removes its entry, and both before it asks for a
        // collector.
        let is_idle = self.shards.iter().all(|shard| shard.with(|table| table.is_empty()));
        is_idle && self.memory.len() == 0
    }

    fn flag(&self) -> &Flag {
        &self.collecting
    }

    fn changes(&self) -> u64 {
        self.numbers.issued()
    }
}
