//! The lock of one peer: who holds it, who waits for it, and what follows when it changes hands.

use std::{collections::VecDeque, mem, sync::Arc, time::Duration};

use tokio::task::AbortHandle;

use super::{
    clock::Tick,
    lock::{Arrival, Decision, Number, Wake},
    memory::PeerMemory,
    news::{Ending, News},
    publish::Edition,
    sync::Notify,
};
use crate::{Fingerprint, WhenBusy, answer::Duplicates, builder::Settings};

/// What is kept of a peer while it is busy, cooling or waited for.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) cooling_until: Tick,
    pub(super) busy: Option<Box<Busy>>,
}

/// Boxed, for most entries only cool.
#[derive(Debug, Default)]
pub(super) struct Busy {
    pub(super) holder: Option<Holder>,
    pub(super) queue: VecDeque<Queued>,
    /// What the peer's memory is, or will be once all who publish are done.
    pub(super) memory: Option<PeerMemory>,
    /// Counts the changes of `memory`.
    edition: u64,
    /// Who is about to publish `memory`: they keep this in place.
    pub(super) publishers: usize,
}

/// The claim that has the permit.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) flight: Flight,
    pub(super) lease_end: Tick,
    pub(super) task: Option<AbortHandle>,
}

/// An offer in line for the permit.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) flight: Flight,
    turn: Arc<Notify>,
}

/// An offer under way: processed, or queued.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) number: Number,
    fingerprint: Fingerprint,
    pub(super) since: Tick,
    /// Made by the first duplicate that waits; its reference count is the number of those that do.
    news: Option<Arc<News>>,
}

/// What is left to do once the shard's mutex is free.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct Aftermath {
    ended: Option<(Arc<News>, Ending)>,
    turn: Option<Arc<Notify>>,
    abort: Option<AbortHandle>,
    /// How long the claim that was taken over had been held.
    pub(super) overdue_since: Option<Tick>,
    /// Answers may be dropped with these, and they may do anything.
    outdated: Option<Box<PeerMemory>>,
    pub(super) vacant: Option<Box<Busy>>,
}

impl Aftermath {
    /// Wakes whoever is concerned. What else there is goes when this is dropped.
    pub(super) fn carry_out(&mut self) {
        if let Some(task) = self.abort.take() {
            task.abort();
        }
        if let Some((news, ending)) = self.ended.take() {
            news.tell(ending);
        }
        if let Some(turn) = self.turn.take() {
            turn.notify_one();
        }
    }

    /// Leaves the ending with its owner: an answer must not be dropped under the mutex.
    pub(super) fn ended(&mut self, flight: Flight, ending: &Ending) {
        self.ended = flight.news.map(|news| (news, ending.clone()));
    }
}

impl Entry {
    pub(super) fn is_idle(&self, now: Tick) -> bool {
        self.busy.is_none() && self.cooling_until <= now
    }
}

impl Busy {
    pub(super) fn new(memory: Option<&PeerMemory>) -> Box<Self> {
        Box::new(Self {
            memory: memory.cloned(),
            ..Self::default()
        })
    }

    /// Decides of an offer of this peer, which cools until then.
    pub(super) fn decide(
        &mut self,
        cooling_until: Tick,
        arrival: Arrival<'_>,
        settings: &Settings,
        next: impl FnOnce() -> Number,
    ) -> (Decision, Aftermath) {
        let (fingerprint, now) = (arrival.offer.fingerprint(), arrival.now);
        let mut after = Aftermath::default();
        let memory = self.memory.as_ref();
        if let Some(processed) = memory.and_then(|memory| memory.find(fingerprint, arrival.horizon)) {
            return (processed.into(), after);
        }
        self.take_over(now, &mut after);
        let following = match arrival.duplicates {
            Duplicates::Refuse => 0,
            Duplicates::Wait { .. } => self.following(),
        };
        let decision = if let Some((flight, wake)) = self.under_way(fingerprint, now, settings) {
            flight.meet_duplicate(following, wake, arrival.duplicates)
        } else if self.is_free() && cooling_until <= now {
            let flight = Flight::new(next(), fingerprint, now);
            Decision::Admitted(self.grant(flight, now, settings))
        } else if let WhenBusy::Queue { depth, .. } = settings.when_busy {
            self.enqueue(depth, || Flight::new(next(), fingerprint, now))
        } else if let Some(holder) = &self.holder {
            let since = holder.flight.since;
            Decision::Busy { since }
        } else {
            Decision::Cooling { until: cooling_until }
        };
        (decision, after)
    }

    /// Whether the permit is there for whoever comes first.
    pub(super) fn is_free(&self) -> bool {
        self.holder.is_none() && self.queue.is_empty()
    }

    pub(super) fn is_vacant(&self) -> bool {
        self.is_free() && self.publishers == 0
    }

    /// Changes what is remembered of the peer. Whoever asked has to publish it.
    pub(super) fn change_memory(&mut self, memory: Option<PeerMemory>, after: &mut Aftermath) -> Edition {
        after.outdated = mem::replace(&mut self.memory, memory).map(Box::new);
        self.edition += 1;
        self.publishers += 1;
        self.edition()
    }

    /// The newest edition, unless it is `number`.
    pub(super) fn newer_than(&self, number: u64) -> Option<Edition> {
        (self.edition != number).then(|| self.edition())
    }

    fn edition(&self) -> Edition {
        Edition {
            memory: self.memory.clone(),
            number: self.edition,
        }
    }

    pub(super) fn grant(&mut self, flight: Flight, now: Tick, settings: &Settings) -> Number {
        let number = flight.number;
        self.holder = Some(Holder {
            flight,
            lease_end: now.after(settings.lease),
            task: None,
        });
        number
    }

    pub(super) fn enqueue(&mut self, depth: usize, flight: impl FnOnce() -> Flight) -> Decision {
        if self.queue.len() >= depth {
            return Decision::QueueFull;
        }
        let flight = flight();
        let (place, turn) = (flight.number, Arc::new(Notify::new()));
        self.queue.push_back(Queued {
            flight,
            turn: Arc::clone(&turn),
        });
        Decision::Queued(place, turn)
    }

    /// The same offer, if it is processed or queued, and when it may have run out of its lease at the earliest.
    pub(super) fn under_way(
        &mut self,
        fingerprint: Fingerprint,
        now: Tick,
        settings: &Settings,
    ) -> Option<(&mut Flight, Wake)> {
        let is_same = |flight: &Flight| flight.fingerprint == fingerprint;
        if let Some(holder) = self.holder.as_mut().filter(|holder| is_same(&holder.flight)) {
            let wake = holder.earliest_end(now, settings);
            return Some((&mut holder.flight, wake));
        }
        let queued = self.queue.iter_mut().find(|queued| is_same(&queued.flight))?;
        Some((&mut queued.flight, earliest_lease_end(now, settings)))
    }

    /// How many duplicates wait for an answer.
    pub(super) fn following(&self) -> usize {
        let holder = self.holder.iter().map(|holder| &holder.flight);
        let queued = self.queue.iter().map(|queued| &queued.flight);
        holder.chain(queued).map(Flight::followers).sum()
    }

    /// Takes the permit from a holder past its lease.
    pub(super) fn take_over(&mut self, now: Tick, after: &mut Aftermath) {
        let Some(holder) = self.holder.as_mut().filter(|holder| holder.lease_end <= now) else {
            return;
        };
        after.abort = holder.task.take();
        after.overdue_since = Some(holder.flight.since);
        self.revoke(after);
        self.call_front(after);
    }

    /// Takes the permit from its holder, whose end counts for nothing from now on.
    pub(super) fn revoke(&mut self, after: &mut Aftermath) {
        if let Some(holder) = self.holder.take() {
            after.ended(holder.flight, &Ending::LookAgain);
        }
    }

    /// Wakes whoever is next, if the permit is free or cools.
    pub(super) fn call_front(&self, after: &mut Aftermath) {
        if self.holder.is_none() {
            after.turn = self.queue.front().map(|front| Arc::clone(&front.turn));
        }
    }
}

impl Holder {
    /// When it is past its lease at the earliest: the lease counts from the call of the inner service.
    pub(super) fn earliest_end(&self, now: Tick, settings: &Settings) -> Wake {
        if self.lease_end == Tick::NEVER {
            earliest_lease_end(now, settings)
        } else {
            self.lease_end
        }
    }
}

impl Flight {
    pub(super) fn new(number: Number, fingerprint: Fingerprint, since: Tick) -> Self {
        Self {
            number,
            fingerprint,
            since,
            news: None,
        }
    }

    /// A queued offer is numbered anew when it gets the permit, so that what was forgotten meanwhile stays below it.
    pub(super) fn numbered(self, number: Number) -> Self {
        Self { number, ..self }
    }

    fn followers(&self) -> usize {
        self.news.as_ref().map_or(0, |news| Arc::strong_count(news) - 1)
    }

    pub(super) fn meet_duplicate(&mut self, following: usize, wake: Wake, duplicates: Duplicates) -> Decision {
        match duplicates {
            Duplicates::Refuse => Decision::InFlight { since: self.since },
            Duplicates::Wait { limit, .. } if following >= limit => Decision::TooManyDuplicates,
            Duplicates::Wait { .. } => Decision::Follow(Arc::clone(self.news.get_or_insert_default()), wake),
        }
    }
}

/// When a claim whose lease has not begun may be past it at the earliest. A lease of no length must not make those who
/// wait for it spin.
pub(super) fn earliest_lease_end(now: Tick, settings: &Settings) -> Wake {
    now.after(settings.lease.max(Duration::from_millis(1)))
}
