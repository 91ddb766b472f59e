//! The collector: one thread for the process that frees what has expired, off the callers' path.
//!
//! It holds what it collects for weakly, and ends when nothing is left to collect.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{
            AtomicBool,
            Ordering::{AcqRel, Relaxed, Release},
        },
    },
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use crate::quiet::quietly;

/// moka does its maintenance in a caller's call when twice as many changes are pending.
const CHANGES: u32 = 32;

const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// State that expires and has to be collected.
pub(crate) trait Collect: Send + Sync {
    /// Frees what has expired.
    fn collect(&self);

    /// Reports what is held to the metrics.
    fn report(&self);

    /// Returns whether nothing is left to collect.
    fn is_empty(&self) -> bool;

    /// Returns the flag that says whether this is registered.
    fn flag(&self) -> &Flag;

    /// Returns how many changes there have been.
    fn changes(&self) -> u64;
}

/// Says whether a state is registered with the collector.
#[derive(Debug, Default)]
pub(crate) struct Flag(pub(super) AtomicBool);

impl Flag {
    /// Registers `state`, to which this flag belongs, unless it is registered. Call it after each change that leaves
    /// something to collect.
    pub(crate) fn register<T: Collect + 'static>(&self, state: &Arc<T>) {
        // Most calls find the flag set, and are spared the write. AcqRel pairs with `clear_if`: who finds the flag set
        // has made its change before the collector checks for work.
        if !self.0.load(Relaxed) && !self.0.swap(true, AcqRel) {
            let state: Weak<T> = Arc::downgrade(state);
            register(state);
        }
    }

    /// Clears the flag if `is_empty` holds. Returns `false` if the collector must go on.
    pub(super) fn clear_if(&self, is_empty: impl Fn() -> bool) -> bool {
        if !is_empty() {
            return false;
        }
        // Cleared first, checked again after it: a change in between either finds the flag cleared and registers, or is
        // seen by this check.
        self.clear();
        is_empty() || self.0.swap(true, AcqRel)
    }

    /// Clears the flag unconditionally: the next change registers again.
    fn clear(&self) {
        self.0.store(false, Release);
    }
}

/// The states that are collected, and whether a thread runs.
struct Collector {
    subjects: Vec<Subject>,
    is_running: bool,
}

struct Subject {
    state: Weak<dyn Collect>,
    /// The runtime whose clock was paused when this was registered. Its time is the one to go by.
    paused: Option<Handle>,
    due: Instant,
    last: Instant,
    changes: u64,
}

static COLLECTOR: Mutex<Collector> = Mutex::new(Collector {
    subjects: Vec::new(),
    is_running: false,
});

fn with<T>(act: impl FnOnce(&mut Collector) -> T) -> T {
    // Poisoning is ignored: user code runs outside this mutex.
    act(&mut COLLECTOR.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Registers `state` to be collected for as long as it has something to collect, and starts the thread if none runs.
fn register(state: Weak<dyn Collect>) {
    let now = Instant::now();
    let subject = Subject {
        state,
        paused: paused_runtime(),
        due: now + SHORTEST_PAUSE,
        last: now,
        changes: 0,
    };
    let must_start = with(|collector| {
        collector.subjects.push(subject);
        !std::mem::replace(&mut collector.is_running, true)
    });
    if must_start
        && thread::Builder::new()
            .name("offer-dedup".to_owned())
            .spawn(run)
            .is_err()
    {
        // moka then does its maintenance in its callers' calls, and the next change tries again.
        let subjects = with(|collector| {
            collector.is_running = false;
            std::mem::take(&mut collector.subjects)
        });
        for subject in subjects {
            if let Some(state) = subject.state.upgrade() {
                state.flag().clear();
            }
        }
    }
}

/// Returns the current runtime if its clock is paused: its time then lies outside two readings of std's clock.
fn paused_runtime() -> Option<Handle> {
    let before = Instant::now();
    let tokio = tokio::time::Instant::now().into_std();
    let after = Instant::now();
    if before <= tokio && tokio <= after {
        return None;
    }
    Handle::try_current().ok()
}

fn run() {
    loop {
        let (due, pause) = with(|collector| {
            let now = Instant::now();
            let (due, later): (Vec<_>, Vec<_>) = collector.subjects.drain(..).partition(|subject| subject.due <= now);
            collector.subjects = later;
            // Under the mutex, so that nobody registers with a thread that is about to end.
            if due.is_empty() && collector.subjects.is_empty() {
                collector.is_running = false;
                return (due, None);
            }
            let next = collector.subjects.iter().map(|subject| subject.due).min();
            let pause = next.map_or(SHORTEST_PAUSE, |next| next.saturating_duration_since(now));
            (due, Some(pause.clamp(SHORTEST_PAUSE, LONGEST_PAUSE)))
        });
        let Some(pause) = pause else { return };
        let has_collected = !due.is_empty();
        for subject in due {
            if let Some(subject) = subject.collect() {
                with(|collector| collector.subjects.push(subject));
            }
        }
        if !has_collected {
            thread::sleep(pause);
        }
    }
}

impl Subject {
    /// Collects once. Returns the subject with its next due time, or `None` if nothing is left to collect.
    fn collect(self) -> Option<Self> {
        let state = self.state.upgrade()?;
        let next = self.collect_from(&*state);
        // It may be the last reference, and what drops with it may panic.
        quietly(|| drop(state));
        next
    }

    fn collect_from(mut self, state: &dyn Collect) -> Option<Self> {
        let start = Instant::now();
        let collect = || {
            let _context = self.paused.as_ref().map(Handle::enter);
            state.collect();
        };
        collect();
        let has_stopped = state.flag().clear_if(|| state.is_empty());
        if has_stopped {
            // moka drops what it has removed two calls later.
            collect();
            collect();
        }
        // After the check, so that the last report is the one of an empty state. A metrics recorder may panic.
        quietly(|| state.report());
        if has_stopped {
            return None;
        }
        let (now, changes) = (Instant::now(), state.changes());
        let pause = if now - start > LONGEST_PAUSE {
            // moka gives up after a while, with more to collect.
            SHORTEST_PAUSE
        } else {
            until_more(now - self.last, changes.saturating_sub(self.changes))
        };
        (self.due, self.last, self.changes) = (now + pause, now, changes);
        Some(self)
    }
}

/// Returns how long it takes until there is more to collect, at the rate of `new` changes in `time`.
pub(super) fn until_more(time: Duration, new: u64) -> Duration {
    let new = u32::try_from(new).unwrap_or(u32::MAX).max(1);
    (time.saturating_mul(CHANGES) / new).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}
