//! A scenario under way, and what must hold after it.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use tokio::{
    runtime::{self, Runtime},
    time::advance,
};
use tokio_test::task::spawn;

use super::{
    faulty::{Fault, Faulty, ObserverPanic},
    scenarios::Scenario,
};
use tower_offer_dedup::store::MemoryStore;

use crate::support::{
    End, SECOND,
    layered::{Layered, Pending},
    offer, other, settle,
};

/// A scenario that is played. Later steps run even if an earlier one panicked.
pub(crate) struct Scene {
    layered: Layered,
    calls: Vec<Option<Pending>>,
    /// Futures that panicked. Their callers still hold them.
    panicked: Vec<Pending>,
    offers: u64,
    runtime: Runtime,
    problems: Vec<String>,
}

impl Scene {
    /// Plays a scenario, with a store that answers at once or without. Returns whether an observer panicked, and what was
    /// wrong afterwards.
    pub(crate) fn play(scenario: &Scenario, fault: Fault, has_store: bool) -> (bool, Vec<String>) {
        let runtime = runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let handle = runtime.handle().clone();
        let _entered = handle.enter();
        let observer = Faulty::new(fault);
        let _subscriber = tracing::subscriber::set_default(observer.clone());
        let _recorder = metrics::set_default_local_recorder(&observer);
        let mut scene = Self {
            layered: Layered::new(scenario.policy, |builder| {
                let builder = (scenario.settings)(builder);
                if has_store {
                    builder.store(MemoryStore::new().node())
                } else {
                    builder
                }
            }),
            calls: Vec::new(),
            panicked: Vec::new(),
            offers: 0,
            runtime,
            problems: Vec::new(),
        };
        observer.arm(true);
        (scenario.script)(&mut scene).leave();
        observer.arm(false);
        // The call that was to panic may not have been made.
        scene.layered.manual.set_panic_in_call(false);
        scene.check();
        let Self {
            layered,
            runtime,
            mut problems,
            ..
        } = scene;
        drop(layered);
        drop(runtime);
        if let Fault::Event(_) = fault {
            problems.extend(observer.gauges_left());
        }
        (observer.has_panicked(), problems)
    }

    /// Runs a step. Only a panic that the scenario caused may come out of it.
    fn attempt<T>(&mut self, step: &str, act: impl FnOnce(&mut Self) -> T) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(|| act(self))) {
            Ok(done) => Some(done),
            Err(payload) => {
                if !is_expected(&*payload) {
                    self.problems.push(format!("{step} panics by itself"));
                }
                None
            }
        }
    }

    fn discard(&mut self, call: Pending) {
        if catch_unwind(AssertUnwindSafe(|| drop(call))).is_err() {
            self.problems.push("a drop panics".to_owned());
        }
    }

    pub(crate) fn send(&mut self, text: &str) -> &mut Self {
        self.offers += 1;
        let call = self.attempt("call", |scene| scene.layered.call(offer("p", text)));
        self.calls.push(call);
        self
    }

    pub(crate) fn send_other(&mut self) -> &mut Self {
        let call = self.attempt("call", |scene| scene.layered.call(other("p")));
        self.calls.push(call);
        self
    }

    pub(crate) fn through(&mut self, text: &str, end: End) -> &mut Self {
        let n = self.calls.len();
        self.send(text).poll(n).settle().end(end).settle().poll(n)
    }

    pub(crate) fn poll(&mut self, n: usize) -> &mut Self {
        if let Some(mut call) = self.calls[n].take() {
            match self.attempt("poll", |_| call.poll().is_ready()) {
                Some(true) => self.discard(call),
                Some(false) => self.calls[n] = Some(call),
                None => self.panicked.push(call),
            }
        }
        self
    }

    pub(crate) fn drop(&mut self, n: usize) -> &mut Self {
        if let Some(call) = self.calls[n].take() {
            self.discard(call);
        }
        self
    }

    /// Ends the oldest open call of the inner service, if there is one.
    pub(crate) fn end(&mut self, end: End) -> &mut Self {
        let manual = &self.layered.manual;
        if let Some(n) = (0..manual.calls()).find(|n| manual.is_open(*n)) {
            manual.end_nth(n, end);
        }
        self
    }

    pub(crate) fn panic_in_call(&mut self) -> &mut Self {
        self.layered.manual.panic_in_call();
        self
    }

    pub(crate) fn pass(&mut self, seconds: u32) -> &mut Self {
        self.runtime.block_on(advance(seconds * SECOND));
        self.settle()
    }

    pub(crate) fn settle(&mut self) -> &mut Self {
        self.runtime.block_on(settle());
        self
    }

    pub(crate) fn forget(&mut self) -> &mut Self {
        self.attempt("forget", |scene| scene.layered.handle.forget("p"));
        self
    }

    pub(crate) fn clear(&mut self) -> &mut Self {
        self.attempt("clear", |scene| scene.layered.handle.clear());
        self
    }

    /// Drops all calls, and ends all detached processing.
    fn leave(&mut self) {
        for n in 0..self.calls.len() {
            self.drop(n);
        }
        for call in std::mem::take(&mut self.panicked) {
            self.discard(call);
        }
        for _ in 0..self.layered.manual.calls() {
            self.end(End::Broken).settle();
        }
    }

    fn check(&mut self) {
        self.pass(1);
        let stats = self.layered.stats();
        let mut check = |holds: bool, problem: &str| {
            if !holds {
                self.problems.push(problem.to_owned());
            }
        };
        check(stats.claims == 0, "a claim is left");
        check(stats.waiters == 0, "a waiter is left");
        let told = stats.admitted + stats.replayed + stats.refused() + stats.waits_abandoned;
        check(told == self.offers, "not every offer is counted once");
        let ended = stats.completed + stats.failed + stats.abandoned;
        check(stats.admitted == ended, "not every end is counted once");
        check(spawn(self.layered.handle.drain()).poll().is_ready(), "drain hangs");
        check(!self.layered.handle.is_processing("p"), "the peer is locked");

        let calls = self.layered.manual.calls();
        let mut probe = self.layered.call(offer("p", "probe"));
        let is_pending = probe.poll().is_pending();
        check(
            is_pending && self.layered.manual.calls() == calls + 1,
            "the next offer is not admitted",
        );
    }
}

fn is_expected(payload: &(dyn Any + Send)) -> bool {
    let made = ["call panics", "processing panics"];
    payload.is::<ObserverPanic>() || payload.downcast_ref().is_some_and(|text| made.contains(text))
}
