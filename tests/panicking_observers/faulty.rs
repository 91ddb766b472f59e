//! A `tracing` subscriber and a `metrics` recorder that panic on demand.

use std::{
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use tracing::{Event, Subscriber, span};

/// Selects the observations that panic, counted from 1. An event, the look-up of a metric and its change are one each.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// This one alone.
    Only(usize),
    /// This one and all that follow.
    From(usize),
}

/// Counts observations once it is armed, and panics at some.
#[derive(Clone, Debug)]
pub(crate) struct Faulty(Arc<State>);

#[derive(Debug)]
struct State {
    fault: Fault,
    is_armed: AtomicBool,
    seen: AtomicUsize,
}

/// The payload of these panics. They do not run the panic hook.
pub(crate) struct ObserverPanic;

impl Faulty {
    pub(crate) fn new(fault: Fault) -> Self {
        Self(Arc::new(State {
            fault,
            is_armed: AtomicBool::new(false),
            seen: AtomicUsize::new(0),
        }))
    }

    pub(crate) fn arm(&self, is_armed: bool) {
        self.0.is_armed.store(is_armed, Relaxed);
    }

    /// Returns `true` if an observation has panicked.
    pub(crate) fn has_panicked(&self) -> bool {
        let (Fault::Only(n) | Fault::From(n)) = self.0.fault;
        self.0.seen.load(Relaxed) >= n
    }

    fn observe(&self) {
        if !self.0.is_armed.load(Relaxed) {
            return;
        }
        let seen = self.0.seen.fetch_add(1, Relaxed) + 1;
        let panics = match self.0.fault {
            Fault::Only(n) => seen == n,
            Fault::From(n) => seen >= n,
        };
        if panics {
            resume_unwind(Box::new(ObserverPanic));
        }
    }
}

impl Subscriber for Faulty {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("tower_offer_dedup")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {
        self.observe();
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

impl Recorder for Faulty {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        self.observe();
        Counter::from_arc(Arc::new(self.clone()))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        self.observe();
        Gauge::from_arc(Arc::new(self.clone()))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        self.observe();
        Histogram::from_arc(Arc::new(self.clone()))
    }
}

impl CounterFn for Faulty {
    fn increment(&self, _: u64) {
        self.observe();
    }

    fn absolute(&self, _: u64) {
        self.observe();
    }
}

impl GaugeFn for Faulty {
    fn increment(&self, _: f64) {
        self.observe();
    }

    fn decrement(&self, _: f64) {
        self.observe();
    }

    fn set(&self, _: f64) {
        self.observe();
    }
}

impl HistogramFn for Faulty {
    fn record(&self, _: f64) {
        self.observe();
    }
}
