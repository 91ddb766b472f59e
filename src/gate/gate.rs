//! [`Gate`]: the state that all clones of a layer share.

use std::{panic::resume_unwind, pin::Pin, sync::Arc};

use super::{
    active::Active,
    claim::Claim,
    clock::Tick,
    collector::{Collect, Flag},
    decision::{Arrival, Grant, Place, Scope, Turn, Verdict},
    effects::{Effects, TakenOver},
    live::Live,
    number::ClaimNumber,
    peers::Peers,
    waiter::Waiter,
};
use crate::{
    Offer, PeerKey, Stats,
    metrics::LayerName,
    observe,
    quiet::{Caught, catch},
    settings::Settings,
    stats::{Counters, Reported},
};

/// The state that all clones of a layer share.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(super) peers: Peers,
    pub(super) live: Live,
    pub(super) collecting: Flag,
    counters: Counters,
    reported: Reported,
}

impl Gate {
    pub(crate) fn new(settings: Settings, name: &LayerName) -> Self {
        Self {
            peers: Peers::new(settings),
            live: Live::default(),
            collecting: Flag::default(),
            counters: Counters::new(name),
            reported: Reported::new(name),
        }
    }

    /// Decides what becomes of an offer.
    pub(crate) fn admit(self: &Arc<Self>, arrival: Arrival<'_>) -> Verdict<Claim, Pin<Box<Waiter>>> {
        let (verdict, ran) = self.decide(&arrival, |place, now| {
            // Boxed: few requests wait, and all would pay for the size.
            Box::pin(Waiter::new(Arc::clone(self), &arrival, place, arrival.first(now)))
        });
        if let Verdict::Wait(_) = verdict {
            observe::waiting(&self.counters);
        }
        ran.resume();
        verdict
    }

    /// Ends what `scope` names, in flight included. Returns whether there was anything.
    pub(crate) fn forget(self: &Arc<Self>, peer: PeerKey, scope: Scope) -> bool {
        let mut effects = Effects::default();
        let was_known = self.peers.forget(peer, scope, &mut effects);
        let ran = catch(|| self.run(peer, &mut effects));
        if was_known {
            observe::forgotten(&self.counters, peer);
        }
        ran.resume();
        was_known
    }

    /// Forgets everything, claims in flight included.
    pub(crate) fn clear(self: &Arc<Self>) {
        let mut panicked = None;
        for (peer, mut effects) in self.peers.clear() {
            // A waker that panics must not keep the other peers from being cleared.
            let ran = catch(|| self.run(peer, &mut effects));
            panicked = panicked.or(ran.panic());
        }
        if let Some(panic) = panicked {
            resume_unwind(panic);
        }
        observe::cleared();
    }

    /// Hides what is remembered now. Claims in flight go on and are remembered later.
    pub(crate) fn hide_memories(&self) {
        self.peers.hide_memories();
    }

    pub(crate) fn is_processing(&self, peer: PeerKey) -> bool {
        self.peers.is_processing(peer)
    }

    /// Resolves when no claim is held and no request waits inside its deadline.
    pub(crate) async fn drain(&self) {
        self.live.drain(&self.peers.clock).await;
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats {
            claims: self.live.claims(),
            waiters: self.live.waiters(),
            body_reads: self.live.body_reads(),
            ..self.counters.read()
        };
        self.peers.count_held(&mut stats);
        stats
    }

    /// Describes the layer's metrics and creates them.
    pub(crate) fn announce(&self) {
        self.counters.announce();
        self.reported.announce();
        self.reported.report(&self.stats());
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.peers.settings
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Decides on an offer, and counts and emits what was decided. `guard` makes the guard of a waiting offer.
    ///
    /// A granted lock and a place in the queue have their guards before anything runs that may panic. A panic of the effects
    /// is for the caller to resume.
    pub(super) fn decide<W>(
        self: &Arc<Self>,
        arrival: &Arrival<'_>,
        guard: impl FnOnce(Place, Tick) -> W,
    ) -> (Verdict<Claim, W>, Caught) {
        let mut effects = Effects::default();
        let (verdict, now) = self.peers.decide(arrival, &mut effects);
        let verdict = verdict.map(|grant| self.claim(arrival.offer, grant), |place| guard(place, now));
        let is_decided = !self.awaits_store(&verdict);
        if is_decided {
            observe::count_decided(&self.counters, &verdict);
        }
        let ran = self.run_and_emit(arrival.offer, &mut effects, now);
        if is_decided {
            observe::decided(&self.counters, arrival.offer, &verdict);
        }
        (verdict, ran)
    }

    /// Returns whether a shared store decides next. Until then the offer does not count as admitted.
    #[inline]
    fn awaits_store<C, W>(&self, verdict: &Verdict<C, W>) -> bool {
        self.peers.settings.is_shared && matches!(verdict, Verdict::Admitted(_))
    }

    /// Makes the guard of a granted lock.
    #[inline]
    pub(super) fn claim(self: &Arc<Self>, offer: &Offer, grant: Grant) -> Claim {
        self.live.claim_granted();
        Claim::new(Arc::clone(self), offer.clone(), grant)
    }

    /// Gives the lock to the queued offer `id` if it is its turn, and counts that. `on_grant` is called at once.
    pub(super) fn turn(self: &Arc<Self>, offer: &Offer, id: ClaimNumber, on_grant: impl FnOnce()) -> Turn<Claim> {
        let mut effects = Effects::default();
        let (turn, now) = self.peers.with(offer.peer(), |table, now| {
            (table.turn(offer.peer(), id, &self.peers.rules(now), &mut effects), now)
        });
        let turn = match turn {
            // The guard comes first: the effects and events may panic.
            Turn::Granted(grant) => {
                let claim = self.claim(offer, grant);
                if !self.peers.settings.is_shared {
                    self.counters.admitted.count();
                }
                on_grant();
                Turn::Granted(claim)
            }
            Turn::NotYet(wake) => Turn::NotYet(wake),
            Turn::Removed => Turn::Removed,
        };
        let ran = self.run_and_emit(offer, &mut effects, now);
        if let Turn::Granted(_) = turn
            && !self.peers.settings.is_shared
        {
            observe::admitted(&self.counters);
        }
        ran.resume();
        turn
    }

    /// Changes the state of an active peer by `act` and runs the effects.
    pub(super) fn change(self: &Arc<Self>, offer: &Offer, act: impl FnOnce(&mut Active, &mut Effects)) {
        let mut effects = Effects::default();
        let now = self.peers.with(offer.peer(), |table, now| {
            table.change(offer.peer(), &mut effects, act);
            now
        });
        self.run_and_emit(offer, &mut effects, now).resume();
    }

    /// Runs the effects of a change, and counts and emits a takeover among them.
    #[inline]
    fn run_and_emit(self: &Arc<Self>, offer: &Offer, effects: &mut Effects, now: Tick) -> Caught {
        if effects.is_empty() {
            return Caught::default();
        }
        let taken_over = effects.taken_over();
        if taken_over.is_some() {
            observe::count_taken_over(&self.counters);
        }
        let ran = catch(|| self.run(offer.peer(), effects));
        match taken_over {
            Some(TakenOver { since, cause }) => {
                ran.and_also(|| observe::taken_over(&self.counters, offer, cause, now.since(since)))
            }
            None => ran,
        }
    }

    /// Runs the effects of a change: counts what was evicted, wakes waiting requests, writes the history back, and
    /// registers with the collector what expires.
    #[inline]
    pub(super) fn run(self: &Arc<Self>, peer: PeerKey, effects: &mut Effects) {
        if effects.evicted() > 0 {
            self.peers.memory.count_evicted(effects.evicted());
        }
        effects.run(
            |write| self.peers.write_back(peer, write),
            || self.collecting.register(self),
        );
    }
}

impl Collect for Gate {
    fn collect(&self) {
        self.peers.collect();
    }

    fn report(&self) {
        self.reported.report(&self.stats());
    }

    fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    fn flag(&self) -> &Flag {
        &self.collecting
    }

    fn changes(&self) -> u64 {
        self.peers.numbers.issued()
    }
}
