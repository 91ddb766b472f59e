//! [`Wait`]: an offer that waits for its turn, or a duplicate that waits for the answer of the first.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::Duration,
};

use pin_project::pin_project;

use super::{
    Gate, Step, Treatment, Verdict,
    claim::Claim,
    clock::Tick,
    lock::{Number, Turn, Wake},
    news::{Ending, News},
    sync::{Notify, OwnedNotified, Sleep, sleep_until},
};
use crate::{Offer, Reason, WhenBusy, answer::Duplicates, observe};

/// Resolves to a verdict that is no `Wait`. Polled when it is woken by whoever it waits for, or at the latest at its own
/// deadline, the end of a lease or that of a cooldown.
///
/// # Cancel safety
///
/// Dropped, it gives up its place in the queue, and the duplicates that follow it look again.
#[pin_project]
#[derive(Debug)]
pub(crate) struct Wait {
    seat: Seat,
    #[pin]
    signal: Option<OwnedNotified>,
    #[pin]
    timer: Option<Sleep>,
}

/// Who waits, and where.
#[derive(Debug)]
struct Seat {
    gate: Arc<Gate>,
    offer: Offer,
    treatment: Treatment,
    arrived: Tick,
    place: Place,
    is_over: bool,
}

#[derive(Debug)]
pub(super) enum Place {
    /// Behind the same offer, which is under way.
    Following(Arc<News>, Wake),
    /// In the peer's queue.
    Queued(Number, Arc<Notify>),
    /// Between two places.
    Nowhere,
}

enum Look {
    Over(Verdict),
    Moved,
    Until(Wake),
}

impl Wait {
    pub(super) fn new(gate: Arc<Gate>, offer: Offer, treatment: Treatment, arrived: Tick, place: Place) -> Self {
        gate.waiters.fetch_add(1, Relaxed);
        observe::waiters(1.0);
        Self {
            seat: Seat {
                gate,
                offer,
                treatment,
                arrived,
                place,
                is_over: false,
            },
            signal: None,
            timer: None,
        }
    }
}

impl Future for Wait {
    type Output = Verdict;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Verdict> {
        let mut this = self.project();
        loop {
            // Listening comes before looking, so that nothing is told in between.
            if this.signal.is_none() {
                this.signal.set(this.seat.listen());
            }
            let wake = match this.seat.look() {
                Look::Over(verdict) => return Poll::Ready(verdict),
                Look::Moved => {
                    this.signal.set(None);
                    continue;
                }
                Look::Until(wake) => this.seat.gate.clock.instant(wake),
            };
            match this.timer.as_mut().as_pin_mut() {
                Some(timer) if timer.deadline() == wake => {}
                Some(timer) => timer.reset(wake),
                None => this.timer.set(Some(sleep_until(wake))),
            }
            let is_told = this
                .signal
                .as_mut()
                .as_pin_mut()
                .is_some_and(|signal| signal.poll(cx).is_ready());
            let is_time = this
                .timer
                .as_mut()
                .as_pin_mut()
                .is_some_and(|timer| timer.poll(cx).is_ready());
            if is_told {
                this.signal.set(None);
            } else if !is_time {
                return Poll::Pending;
            }
        }
    }
}

impl Seat {
    fn listen(&self) -> Option<OwnedNotified> {
        match &self.place {
            Place::Following(news, _) => Some(news.listen()),
            Place::Queued(_, turn) => Some(Arc::clone(turn).notified_owned()),
            Place::Nowhere => None,
        }
    }

    fn look(&mut self) -> Look {
        let now = self.gate.clock.now();
        let wake = match &self.place {
            Place::Following(news, wake) => match news.ending() {
                Some(Ending::Completed(record)) => {
                    let step = self
                        .gate
                        .repeat(&self.offer, self.treatment, record.clone(), now.since(self.arrived));
                    return self.take(step);
                }
                Some(Ending::NotShared) => {
                    let step = self.gate.refuse(&self.offer, Reason::InFlight, now.since(self.arrived));
                    return self.take(step);
                }
                Some(Ending::LookAgain) => return self.look_again(),
                None if now < self.deadline() && *wake <= now => return self.look_again(),
                None => *wake,
            },
            Place::Queued(place, _) => match self.gate.turn(&self.offer, *place, now) {
                Turn::Yours(number) => return self.take(Step::Admitted(number, now)),
                Turn::NotYet(wake) => wake,
            },
            Place::Nowhere => return self.look_again(),
        };
        if self.deadline() <= now {
            self.leave();
            let step = self.gate.refuse(&self.offer, Reason::TimedOut, now.since(self.arrived));
            return self.take(step);
        }
        Look::Until(wake.min(self.deadline()))
    }

    /// Decides anew: the first to come leads, the others follow it.
    fn look_again(&mut self) -> Look {
        self.place = Place::Nowhere;
        let mut treatment = self.treatment;
        if let Duplicates::Wait { limit, .. } = &mut treatment.duplicates {
            // Whoever waits was let in already: those who came later must not take the seat.
            *limit = usize::MAX;
        }
        let step = self.gate.decide(&self.offer, treatment);
        self.take(step)
    }

    fn take(&mut self, step: Step) -> Look {
        let verdict = match step {
            Step::Wait(place) => {
                self.place = place;
                return Look::Moved;
            }
            Step::Admitted(number, now) => {
                Verdict::Admitted(Claim::new(Arc::clone(&self.gate), self.offer.clone(), (number, now)))
            }
            Step::Replay(record) => Verdict::Replay(record),
            Step::Refused(refusal) => Verdict::Refused(refusal),
        };
        self.is_over = true;
        Look::Over(verdict)
    }

    /// Counted from the arrival, whatever the waiter waited for meanwhile.
    fn deadline(&self) -> Tick {
        let patience = match (&self.place, self.treatment.duplicates, self.gate.settings.when_busy) {
            (Place::Following(..), Duplicates::Wait { timeout, .. }, _) => timeout,
            (Place::Queued(..), _, WhenBusy::Queue { timeout, .. }) => timeout,
            _ => Duration::ZERO,
        };
        self.arrived.after(patience)
    }

    fn leave(&mut self) {
        if let Place::Queued(place, _) = self.place {
            self.gate.leave(self.offer.peer(), place);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.is_over {
            self.leave();
            observe::wait_abandoned(&self.gate.counters, &self.offer);
        }
        self.gate.waiters.fetch_sub(1, Relaxed);
        observe::waiters(-1.0);
        observe::waited(self.gate.clock.now().since(self.arrived));
    }
}
