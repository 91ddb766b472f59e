//! The one place that tells the time, on tokio's clock, so that tests pause and advance it.

use std::time::Duration;

use super::sync::Instant;

/// Longer than anything takes, and short enough for any clock.
pub(super) const YEAR: Duration = Duration::from_secs(31_536_000);

/// Nanoseconds since the gate was made: half the size of an [`Instant`] in state that is kept per peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(u64);

impl Tick {
    pub(crate) const NEVER: Self = Self(u64::MAX);

    pub(crate) fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(nanos(time)))
    }

    /// The first tick of which less than `time` has gone by at this one.
    pub(crate) fn less_than(self, time: Duration) -> Self {
        Self(self.0.saturating_add(1).saturating_sub(nanos(time)))
    }

    /// How long after `earlier` this is; zero if it is before.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Tick {
        Tick(nanos(Instant::now().saturating_duration_since(self.start)))
    }

    /// When a timer for `tick` fires. A tick beyond what the platform's clock can say is a year away.
    pub(crate) fn instant(&self, tick: Tick) -> Instant {
        let after_start = Duration::from_nanos(tick.0);
        self.start
            .checked_add(after_start)
            .filter(|_| tick != Tick::NEVER)
            .unwrap_or_else(|| Instant::now() + YEAR)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
