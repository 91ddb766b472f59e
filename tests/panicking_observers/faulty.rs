//! A `tracing` subscriber and a `metrics` recorder that panic on demand.

use std::{
    collections::HashMap,
    panic::resume_unwind,
    sync::{
        Arc, Mutex, PoisonError,
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
    /// The event of this number alone, not counting metrics.
    Event(usize),
}

/// Counts observations once it is armed, and panics at some.
#[derive(Clone, Debug)]
pub(crate) struct Faulty(Arc<State>);

#[derive(Debug)]
struct State {
    fault: Fault,
    is_armed: AtomicBool,
    seen: AtomicUsize,
    /// The value of each gauge that is moved in steps.
    gauges: Mutex<HashMap<String, f64>>,
}

/// A gauge of the recorder.
struct FaultyGauge(Faulty, String);

/// The payload of these panics. They do not run the panic hook.
pub(crate) struct ObserverPanic;

impl Faulty {
    pub(crate) fn new(fault: Fault) -> Self {
        Self(Arc::new(State {
            fault,
            is_armed: AtomicBool::new(false),
            seen: AtomicUsize::new(0),
            gauges: Mutex::default(),
        }))
    }

    pub(crate) fn arm(&self, is_armed: bool) {
        self.0.is_armed.store(is_armed, Relaxed);
    }

    /// Returns `true` if an observation has panicked.
    pub(crate) fn has_panicked(&self) -> bool {
        let (Fault::Only(n) | Fault::From(n) | Fault::Event(n)) = self.0.fault;
        self.0.seen.load(Relaxed) >= n
    }

    /// Returns the gauges that are not back at zero.
    pub(crate) fn gauges_left(&self) -> Vec<String> {
        let gauges = self.0.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        // The collector steps the others on a thread of its own.
        let mine = ["claims", "waiters", "body_reads", "store_messages", "store_down"];
        let is_mine = |name: &str| mine.contains(&name.trim_start_matches("offer_dedup_"));
        let left = gauges.iter().filter(|(name, value)| is_mine(name) && **value != 0.0);
        left.map(|(name, value)| format!("{name} is {value}")).collect()
    }

    fn measure(&self) {
        if !matches!(self.0.fault, Fault::Event(_)) {
            self.observe();
        }
    }

    fn observe(&self) {
        if !self.0.is_armed.load(Relaxed) {
            return;
        }
        let seen = self.0.seen.fetch_add(1, Relaxed) + 1;
        let panics = match self.0.fault {
            Fault::Only(n) | Fault::Event(n) => seen == n,
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
        self.measure();
        Counter::from_arc(Arc::new(self.clone()))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.measure();
        Gauge::from_arc(Arc::new(FaultyGauge(self.clone(), key.name().to_owned())))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        self.measure();
        Histogram::from_arc(Arc::new(self.clone()))
    }
}

impl CounterFn for Faulty {
    fn increment(&self, _: u64) {
        self.measure();
    }

    fn absolute(&self, _: u64) {
        self.measure();
    }
}

impl GaugeFn for FaultyGauge {
    fn increment(&self, step: f64) {
        self.0.measure();
        let mut gauges = self.0.0.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        *gauges.entry(self.1.clone()).or_default() += step;
    }

    fn decrement(&self, step: f64) {
        self.increment(-step);
    }

    fn set(&self, _: f64) {
        self.0.measure();
    }
}

impl HistogramFn for Faulty {
    fn record(&self, _: f64) {
        self.measure();
    }
}
