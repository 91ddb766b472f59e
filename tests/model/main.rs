//! Random histories of one layer, compared with a reference model of `docs/design.md`. A release build runs a million
//! steps; `MODEL_STEPS=100_000_000` runs more. A failure prints the `MODEL_SEED` that repeats it, and the shortest
//! failing history.

mod compare;
mod decision;
mod history;
mod inner;
mod memory;
mod processing;
#[path = "../support/random_walk.rs"]
mod random_walk;
mod real;
mod reference;
mod request;
#[path = "../support/mod.rs"]
mod support;
mod terms;

use std::cell::RefCell;

use compare::{Seen, compare, count, nothing_is_left};
use history::histories;
use inner::Message;
use proptest::{prop_assert, prop_assert_eq, test_runner::TestCaseError};
use random_walk::random_walk;
use real::Real;
use reference::Model;
use request::Request;
use terms::{Capacity, End, Id, Op, Quality, Rules, STEP, Time};
use tokio::time::advance;

/// A layer and the model of it, side by side.
struct Pair {
    real: Real,
    model: Model,
    now: Time,
    steps: u64,
}

impl Pair {
    fn new(rules: Rules) -> Self {
        Self {
            real: Real::new(rules),
            model: Model::new(rules),
            now: Time::ZERO,
            steps: 0,
        }
    }

    async fn run(&mut self, ops: &[Op]) -> Result<(), TestCaseError> {
        for (n, op) in ops.iter().enumerate() {
            let result = self.step(*op).await;
            result.map_err(|error| TestCaseError::fail(format!("op {n}, {op:?}: {error}")))?;
        }
        Ok(())
    }

    async fn step(&mut self, op: Op) -> Result<(), TestCaseError> {
        let mut then = self.now;
        match op {
            Op::Offer(peer, offer) => self.offer(peer, offer, false),
            Op::Poison(peer, offer) => self.offer(peer, offer, true),
            Op::Crowd(peer, many) => {
                for offer in 0..many {
                    Box::pin(self.step(Op::Offer(peer, offer))).await?;
                    let id = self.model.requests.len() - 1;
                    if self.model.requests[id].is_called() {
                        self.end(id, End::Answer(Quality::Success))?;
                        self.settle(self.now).await?;
                    }
                }
                return Ok(());
            }
            Op::End(n, end) => match self.nth(n, |request| request.is_called()) {
                Some(id) => self.end(id, end)?,
                None => return Ok(()),
            },
            Op::Drop(n) => match self.nth_pending(n, |_| true) {
                Some(id) => {
                    self.real.drop(id);
                    self.model.drop(id, self.now);
                }
                None => return Ok(()),
            },
            Op::Hold(n) => match self.nth_pending(n, |is_held| !is_held) {
                Some(id) => self.hold(id, true),
                None => return Ok(()),
            },
            Op::Resume(n) => match self.nth_pending(n, |is_held| is_held) {
                Some(id) => self.hold(id, false),
                None => return Ok(()),
            },
            Op::Forget(peer) => prop_assert_eq!(self.real.handle.forget(peer), self.model.forget(peer, self.now)),
            Op::ForgetOffer(peer, offer) => {
                let was_known = self.real.handle.forget_offer(peer, inner::fingerprint(offer));
                prop_assert_eq!(was_known, self.model.forget_offer(peer, offer, self.now));
            }
            Op::Clear => {
                self.real.handle.clear();
                self.model.clear(self.now);
            }
            Op::Capacity(capacity) => {
                self.real.inner.set_capacity(capacity);
                self.model.set_capacity(capacity, self.now);
            }
            Op::Clock(steps) => {
                for _ in 1..steps {
                    self.advance().await;
                    self.real.settle(self.now).await?;
                    compare(&mut self.real, &mut self.model, then, self.now)?;
                    then = self.now;
                }
                self.advance().await;
            }
        }
        self.settle(then).await
    }

    fn offer(&mut self, peer: &'static str, offer: u8, is_poison: bool) {
        let id = self.model.requests.len();
        let message = Message {
            id,
            peer,
            offer,
            is_poison,
        };
        self.real.offer(message, self.now);
        self.model.offer(peer, offer, is_poison, self.now);
    }

    fn end(&mut self, id: Id, end: End) -> Result<(), TestCaseError> {
        prop_assert!(self.real.inner.end(id, end), "no such call is open");
        self.model.end(id, end, self.now);
        Ok(())
    }

    fn hold(&mut self, id: Id, is_held: bool) {
        self.real.requests[id].is_held = is_held;
        self.model.hold(id, is_held, self.now);
    }

    async fn advance(&mut self) {
        self.now += STEP;
        advance(STEP).await;
        self.model.settle(self.now);
    }

    /// Finishes a step that began at `then`.
    async fn settle(&mut self, then: Time) -> Result<(), TestCaseError> {
        self.steps += 1;
        self.real.settle(self.now).await?;
        compare(&mut self.real, &mut self.model, then, self.now)
    }

    /// Drops every request and ends every call.
    async fn wind_up(&mut self) -> Result<(), TestCaseError> {
        let count = self.model.requests.len();
        for id in 0..count {
            if self.real.requests[id].state.is_none() {
                self.real.drop(id);
                self.model.drop(id, self.now);
                self.settle(self.now).await?;
            }
        }
        self.step(Op::Capacity(Capacity::Ready)).await?;
        for id in 0..count {
            if self.model.requests[id].is_called() {
                self.end(id, End::Err)?;
                self.settle(self.now).await?;
            }
        }
        Ok(())
    }

    /// The n-th request for which `counts` holds, wrapping around.
    fn nth(&self, n: usize, counts: impl Fn(&Request) -> bool) -> Option<Id> {
        let requests = &self.model.requests;
        let ids: Vec<_> = (0..requests.len()).filter(|id| counts(&requests[*id])).collect();
        (!ids.is_empty()).then(|| ids[n % ids.len()])
    }

    /// The n-th request from the end that has no result yet, held or not as `counts` says.
    fn nth_pending(&self, n: usize, counts: impl Fn(bool) -> bool) -> Option<Id> {
        let requests = self.real.requests.iter().enumerate().rev();
        let pending = requests.filter(|(_, request)| request.state.is_none() && counts(request.is_held));
        let ids: Vec<_> = pending.map(|(id, _)| id).collect();
        (!ids.is_empty()).then(|| ids[n % ids.len()])
    }
}

async fn run(rules: Rules, ops: &[Op], seen: &RefCell<Seen>) -> Result<u64, TestCaseError> {
    let mut pair = Pair::new(rules);
    pair.run(ops).await?;
    pair.wind_up().await?;
    count(&pair.real.handle.stats(), &pair.model)?;
    seen.borrow_mut().note(&pair.real.handle.stats(), &pair.model);
    nothing_is_left(&pair.real)?;
    Ok(pair.steps)
}

#[test]
fn layer_behaves_like_the_model() {
    let seen = RefCell::new(Seen::default());
    random_walk("model", &histories(), |runtime, (rules, ops)| {
        runtime.block_on(run(*rules, ops, &seen))
    });
    seen.into_inner().assert_everything();
}
