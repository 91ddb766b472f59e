//! Records tracing events together with their spans.

use std::{
    fmt::{self, Write},
    sync::{Arc, Mutex, OnceLock},
};

use tracing::{
    Dispatch, Event, Level, Subscriber,
    field::{Field, Visit},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{
    Layer, Registry,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};

/// One event of the crate.
#[derive(Clone, Debug)]
pub struct CapturedEvent {
    pub level: Level,
    pub spans: Vec<&'static str>,
    pub message: String,
    /// One `name=value` per line.
    pub fields: String,
    /// The fields that are numbers. They are among `fields` too.
    pub numbers: Vec<(&'static str, u64)>,
}

impl CapturedEvent {
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.lines().filter_map(|field| field.split_once('='));
        fields.find(|(is, _)| *is == name).map(|(_, value)| value)
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        let mut numbers = self.numbers.iter();
        numbers.find(|(is, _)| *is == name).map(|(_, value)| *value)
    }
}

#[derive(Clone, Debug, Default)]
pub struct CapturedEvents(Arc<Mutex<Vec<CapturedEvent>>>);

impl CapturedEvents {
    /// Records the events of this thread until the guard is dropped.
    pub fn capture() -> (Self, DefaultGuard) {
        // While only one dispatcher is alive, `tracing` decides whether a callsite is enabled by the thread that reaches
        // it first, which may be another test's. A second one makes it ask all of them.
        static IDLE: OnceLock<Dispatch> = OnceLock::new();
        IDLE.get_or_init(|| Dispatch::new(Registry::default()));
        let captured = Self::default();
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(captured.clone()));
        (captured, guard)
    }

    /// Takes the events recorded since the last call.
    pub fn take(&self) -> Vec<CapturedEvent> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for CapturedEvents {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if event.metadata().target().starts_with("tower_offer_dedup") {
            let mut entry = CapturedEvent {
                level: *event.metadata().level(),
                spans: context
                    .event_scope(event)
                    .into_iter()
                    .flatten()
                    .map(|span| span.name())
                    .collect(),
                message: String::new(),
                fields: String::new(),
                numbers: Vec::new(),
            };
            event.record(&mut entry);
            self.0.lock().unwrap().push(entry);
        }
    }
}

impl Visit for CapturedEvent {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.numbers.push((field.name(), value));
        self.record_debug(field, &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            writeln!(self.fields, "{}={value:?}", field.name()).unwrap();
        }
    }
}
