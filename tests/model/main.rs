//! Random histories of one layer against the reference model: a million steps in a release build, or
//! `MODEL_STEPS=100_000_000`; a tenth of it in a debug build, which is slow.
//!
//! Each run has a seed of its own, which `MODEL_SEED` sets. A failure prints the seed that brings it back at once, and the
//! shortest history found that still fails.

#[path = "../common/mod.rs"]
mod common;
mod compare;
mod decision;
mod history;
mod inner;
mod real;
mod reference;
mod request;
mod terms;

use std::{
    cell::{Cell, RefCell},
    io::{Write, stderr},
    panic::{set_hook, take_hook},
    time::Instant,
};

use compare::{Seen, compare, count, nothing_is_left};
use history::histories;
use inner::Message;
use proptest::{
    prop_assert, prop_assert_eq,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};
use real::Real;
use reference::Model;
use request::Request;
use terms::{End, Id, Op, Quality, Rules, STEP, State, Time, setting};
use tokio::{runtime, time::advance};

/// Histories under one seed.
const BATCH: u32 = 1000;

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
        let then = self.now;
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
            Op::Drop(n) => match self.nth(n, |request| matches!(request.state, State::Processed | State::Waits)) {
                Some(id) => {
                    self.real.drop(id);
                    self.model.drop(id, self.now);
                }
                None => return Ok(()),
            },
            Op::Forget(peer) => prop_assert_eq!(self.real.handle.forget(peer), self.model.forget(peer, self.now)),
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
        prop_assert!(self.real.inner.end(id, end), "the call is not there");
        self.model.end(id, end, self.now);
        Ok(())
    }

    async fn advance(&mut self) {
        self.now += STEP;
        advance(STEP).await;
        self.model.settle(self.now);
    }

    /// The end of a step that began at `then`.
    async fn settle(&mut self, then: Time) -> Result<(), TestCaseError> {
        self.steps += 1;
        self.real.settle(self.now).await?;
        compare(&mut self.real, &mut self.model, then, self.now)
    }

    /// Everybody goes away.
    async fn wind_up(&mut self) -> Result<(), TestCaseError> {
        let count = self.model.requests.len();
        for id in 0..count {
            if let State::Processed | State::Waits = self.model.requests[id].state {
                self.real.drop(id);
                self.model.drop(id, self.now);
                self.settle(self.now).await?;
            }
        }
        self.step(Op::Capacity(terms::Capacity::Ready)).await?;
        for id in 0..count {
            if self.model.requests[id].is_called() {
                self.end(id, End::Err)?;
                self.settle(self.now).await?;
            }
        }
        Ok(())
    }

    /// The n-th of the requests that count, around and around.
    fn nth(&self, n: usize, counts: impl Fn(&Request) -> bool) -> Option<Id> {
        let requests = &self.model.requests;
        let ids: Vec<_> = (0..requests.len()).filter(|id| counts(&requests[*id])).collect();
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

/// Takes at least so many steps, all of them compared.
fn walk(least: u64, first_seed: u64) -> Result<(u64, Seen), String> {
    let (steps, seen) = (Cell::new(0), RefCell::new(Seen::default()));
    for seed in first_seed.. {
        if steps.get() >= least {
            break;
        }
        let config = Config {
            cases: BATCH,
            failure_persistence: None,
            ..Config::default()
        };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let runtime = runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let result = TestRunner::new_with_rng(config, rng).run(&histories(), |(rules, ops)| {
            let taken = runtime.block_on(run(rules, &ops, &seen))?;
            steps.set(steps.get() + taken);
            Ok(())
        });
        result.map_err(|error| format!("MODEL_SEED={seed} brings this back:\n{error}"))?;
    }
    Ok((steps.get(), seen.into_inner()))
}

#[test]
fn the_layer_does_what_the_model_does() {
    let default = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
    let least = setting("MODEL_STEPS").unwrap_or(default);
    let seed = setting("MODEL_SEED").unwrap_or_else(|| getrandom::u64().unwrap() >> 16);
    let hook = take_hook();
    // The inner service panics on purpose.
    set_hook(Box::new(|_| ()));
    let start = Instant::now();
    let walked = walk(least, seed);
    set_hook(hook);
    let (steps, seen) = walked.unwrap_or_else(|error| panic!("{error}"));
    assert!(steps >= least, "{steps} steps");
    seen.assert_everything();
    // Past the harness, which keeps to itself what a test prints.
    let per_second = steps as f64 / start.elapsed().as_secs_f64();
    writeln!(
        stderr(),
        "model: {steps} steps from seed {seed}, {per_second:.0} a second"
    )
    .unwrap();
}
