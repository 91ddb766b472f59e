//! [`Waiter`]: an offer that waits for its turn, or a duplicate that waits for the answer of the offer in flight.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use pin_project::pin_project;

use super::{
    claim::Claim,
    clock::Tick,
    completion::Resolution,
    decision::{Again, Arrival, DuplicatePolicy, Place, Turn, Verdict},
    gate::Gate,
    number::ClaimNumber,
    sync::{OwnedNotified, Sleep, sleep_until},
};
use crate::{Offer, Reason, WhenBusy, answer::Duplicates, observe, quiet::quietly, settings::Settings};

/// [`Gate::drain`] gives an offer that waits under [`WhenBusy::Supersede`] this long: ten times what it waits at most.
const SUPERSEDE_WAIT: Duration = Duration::from_secs(1);

/// Resolves to a verdict other than `Wait`. It is polled when its completion wakes it, or at the latest at its own
/// deadline, at the end of a lease or at the end of a cooldown.
///
/// # Cancel safety
///
/// Dropped, it gives up its place in the queue, and its followers decide again.
#[pin_project]
#[derive(Debug)]
pub(crate) struct Waiter {
    state: Waiting,
    #[pin]
    signal: Option<OwnedNotified>,
    #[pin]
    timer: Option<Sleep>,
}

/// The guard of the place.
#[derive(Debug)]
struct Waiting {
    gate: Arc<Gate>,
    offer: Offer,
    policy: DuplicatePolicy,
    is_detached: bool,
    arrived: Tick,
    rank: ClaimNumber,
    /// `None` while a new place is being decided on, and after the verdict.
    place: Option<Place>,
    has_verdict: bool,
}

type Decided = Verdict<Claim, Infallible>;

enum Step {
    Done(Decided),
    /// The place has changed: subscribe to the new one.
    Moved,
    /// Nothing to do before that time, unless the signal comes.
    Until(Tick),
}

impl Waiter {
    pub(super) fn new(gate: Arc<Gate>, arrival: &Arrival<'_>, place: Place, arrived: Tick) -> Self {
        let (Place::Following { rank, .. } | Place::Queued { rank, .. }) = &place;
        let rank = *rank;
        gate.live
            .waiter_accepted(arrived.after(longest_wait(gate.settings(), arrival.policy)));
        Self {
            state: Waiting {
                gate,
                offer: arrival.offer.clone(),
                policy: arrival.policy,
                is_detached: arrival.is_detached,
                arrived,
                rank,
                place: Some(place),
                has_verdict: false,
            },
            signal: None,
            timer: None,
        }
    }
}

/// Returns how long a request may wait at most, in whatever places.
fn longest_wait(settings: &Settings, policy: DuplicatePolicy) -> Duration {
    let following = match policy.duplicates {
        Duplicates::Refuse => Duration::ZERO,
        Duplicates::Wait { wait_timeout, .. } => wait_timeout,
    };
    let queued = match settings.when_busy {
        WhenBusy::Refuse => Duration::ZERO,
        WhenBusy::Queue { timeout, .. } => timeout,
        WhenBusy::Supersede => SUPERSEDE_WAIT,
    };
    following.max(queued)
}

impl Future for Waiter {
    type Output = Decided;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Decided> {
        let mut this = self.project();
        loop {
            // Subscribe before looking: what is resolved in between then wakes this task.
            if this.signal.is_none() {
                this.signal.set(this.state.subscribe());
            }
            let wake = match this.state.step() {
                Step::Done(verdict) => return Poll::Ready(verdict),
                Step::Moved => {
                    this.signal.set(None);
                    continue;
                }
                Step::Until(wake) => this.state.gate.peers.clock.instant(wake),
            };
            match this.timer.as_mut().as_pin_mut() {
                Some(timer) if timer.deadline() == wake => {}
                Some(timer) => timer.reset(wake),
                None => this.timer.set(Some(sleep_until(wake))),
            }
            let signal = this.signal.as_mut().as_pin_mut();
            let is_notified = signal.is_some_and(|signal| signal.poll(cx).is_ready());
            let timer = this.timer.as_mut().as_pin_mut();
            let is_due = timer.is_some_and(|timer| timer.poll(cx).is_ready());
            if is_notified {
                this.signal.set(None);
            } else if !is_due {
                return Poll::Pending;
            }
        }
    }
}

impl Waiting {
    fn subscribe(&self) -> Option<OwnedNotified> {
        match self.place.as_ref()? {
            Place::Following { completion, .. } => Some(completion.subscribe()),
            Place::Queued { seat, .. } => Some(seat.subscribe()),
        }
    }

    fn step(&mut self) -> Step {
        match &self.place {
            Some(Place::Following { .. }) => self.step_follower(),
            Some(Place::Queued { .. }) => self.step_queued(),
            None => self.decide_again(),
        }
    }

    fn step_follower(&mut self) -> Step {
        let Some(Place::Following {
            completion, id, wake, ..
        }) = &mut self.place
        else {
            return self.decide_again();
        };
        let now = self.gate.peers.clock.now();
        let waited = now.since(self.arrived);
        match completion.resolution() {
            Some(Resolution::Replay(record)) => {
                let verdict = Verdict::replay(Some(record.clone()), self.policy, waited);
                return self.conclude(verdict);
            }
            Some(Resolution::Refused(refusal)) => {
                let verdict = Verdict::Refused {
                    refusal: refusal.clone(),
                    age: waited,
                };
                return self.conclude(verdict);
            }
            Some(Resolution::Retry) => return self.decide_again(),
            None => {}
        }
        let deadline = match self.policy.duplicates {
            Duplicates::Refuse => self.arrived,
            Duplicates::Wait { wait_timeout, .. } => self.arrived.after(wait_timeout),
        };
        if deadline <= now {
            self.leave();
            return self.conclude(Verdict::refused(Reason::TimedOut, waited));
        }
        if *wake <= now {
            // The lease may have begun anew meanwhile. Leaving and following again would leave the claim unattended.
            match self.gate.peers.follow_again(self.offer.peer(), *id) {
                Some(later) => *wake = later,
                None => {
                    self.leave();
                    return self.decide_again();
                }
            }
        }
        Step::Until(deadline.min(*wake))
    }

    fn step_queued(&mut self) -> Step {
        let Some(Place::Queued { id, seat, wake, .. }) = &mut self.place else {
            return self.decide_again();
        };
        // The decision has checked whether it is its turn. A call made before this task subscribed is stored, a resolution
        // is not.
        if let (Some(wake), None) = (wake.take(), seat.resolution()) {
            return Step::Until(wake);
        }
        let turn = match seat.resolution() {
            Some(_) => Turn::Removed,
            None => self.gate.turn(&self.offer, *id, || self.has_verdict = true),
        };
        match (turn, seat.resolution()) {
            (Turn::Granted(claim), _) => {
                self.place = None;
                Step::Done(Verdict::Admitted(claim))
            }
            (Turn::NotYet(wake), _) => Step::Until(wake),
            (Turn::Removed, Some(Resolution::Refused(refusal))) => {
                let verdict = Verdict::Refused {
                    refusal: refusal.clone(),
                    age: self.gate.peers.clock.now().since(self.arrived),
                };
                self.conclude(verdict)
            }
            (Turn::Removed, Some(Resolution::Retry | Resolution::Replay(_))) => {
                let waited = self.gate.peers.clock.now().since(self.arrived);
                match self.gate.settings().when_busy {
                    WhenBusy::Queue { timeout, .. } if waited >= timeout => {
                        self.conclude(Verdict::refused(Reason::TimedOut, waited))
                    }
                    _ => self.decide_again(),
                }
            }
            // The thread that removed the place resolves it when it runs its effects, which wakes this task.
            (Turn::Removed, None) => Step::Until(Tick::NEVER),
        }
    }

    /// Decides anew, with the deadlines of the first arrival. The first of several leads, the others follow it.
    fn decide_again(&mut self) -> Step {
        self.place = None;
        let arrival = Arrival {
            offer: &self.offer,
            policy: self.policy,
            is_detached: self.is_detached,
            again: Some(Again {
                arrived: self.arrived,
                rank: self.rank,
            }),
        };
        // Noted before anything is observed: an event of the decision may panic, and then this is dropped.
        let (place, has_verdict) = (&mut self.place, &mut self.has_verdict);
        *has_verdict = true;
        let (verdict, ran) = self.gate.decide(&arrival, |new_place, _| {
            *has_verdict = false;
            *place = Some(new_place);
        });
        ran.resume();
        match verdict {
            Verdict::Wait(()) => Step::Moved,
            Verdict::Admitted(claim) => Step::Done(Verdict::Admitted(claim)),
            Verdict::Replay { record, age } => Step::Done(Verdict::Replay { record, age }),
            Verdict::Refused { refusal, age } => Step::Done(Verdict::Refused { refusal, age }),
        }
    }

    /// Ends the wait with a verdict that has not been emitted yet.
    fn conclude(&mut self, verdict: Decided) -> Step {
        self.place = None;
        self.has_verdict = true;
        observe::count_decided(self.gate.counters(), &verdict);
        observe::decided(self.gate.counters(), &self.offer, &verdict);
        Step::Done(verdict)
    }

    /// Gives up the place.
    fn leave(&mut self) {
        match self.place.take() {
            Some(Place::Following { completion, .. }) => {
                self.gate
                    .change(&self.offer, |active, effects| active.unfollow(&completion, effects));
            }
            Some(Place::Queued { id, .. }) => {
                self.gate
                    .change(&self.offer, |active, effects| active.leave(id, effects));
            }
            None => {}
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        quietly(|| self.leave());
        self.gate.live.waiter_gone();
        let waited = self.gate.peers.clock.now().since(self.arrived);
        let is_abandoned = !self.has_verdict;
        quietly(|| observe::waited(self.gate.counters(), &self.offer, waited, is_abandoned));
    }
}
