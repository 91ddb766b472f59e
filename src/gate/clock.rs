//! The one place that reads the time: tokio's clock, so that tests can pause and advance it.

use std::time::Duration;

use super::sync::Instant;

/// Longer than anything takes, and short enough for every platform's clock.
pub(super) const YEAR: Duration = Duration::from_secs(31_536_000);

/// Nanoseconds since a year before the gate was made: what another node has processed may be older than this gate. Half
/// the size of an [`Instant`], which counts in state that is kept per peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tick(u64);

impl Tick {
    pub(crate) const NEVER: Self = Self(u64::MAX);

    pub(crate) fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    pub(crate) fn as_nanos(self) -> u64 {
        self.0
    }

    pub(crate) fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(nanos(time)))
    }

    /// Returns the oldest tick that is still inside a `window` ending now.
    pub(crate) fn window_start(self, window: Duration) -> Self {
        Self(self.0.saturating_add(1).saturating_sub(nanos(window)))
    }

    /// Returns the tick `time` ago.
    pub(crate) fn before(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(time)))
    }

    /// Returns the time from `earlier` to this tick, or zero if `earlier` is later.
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
        Tick(nanos(Instant::now().saturating_duration_since(self.start))).after(YEAR)
    }

    /// Returns when a timer for `tick` fires. A tick beyond the range of the platform's clock is a year away.
    pub(crate) fn instant(&self, tick: Tick) -> Instant {
        let after_start = tick.since(Tick::default().after(YEAR));
        self.start
            .checked_add(after_start)
            .filter(|_| tick != Tick::NEVER)
            .unwrap_or_else(|| Instant::now() + YEAR)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
