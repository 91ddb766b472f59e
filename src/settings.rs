//! The settings that the gate works by.

use std::time::Duration;

use crate::outcome::Outcome;

/// The treatment of a different offer while its peer is busy or cooling down.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_offer_dedup::{OfferDedupLayer, WhenBusy};
///
/// let when_busy = WhenBusy::Queue { depth: 4, timeout: Duration::from_secs(5) };
/// let builder = OfferDedupLayer::builder().when_busy(when_busy);
/// assert_eq!(WhenBusy::default(), WhenBusy::Refuse);
/// # let _ = builder;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenBusy {
    /// The offer is refused at once, as [`Busy`](crate::Reason::Busy) or
    /// [`CoolingDown`](crate::Reason::CoolingDown).
    #[default]
    Refuse,
    /// The offer waits for its turn, first in, first out. A newcomer never overtakes the queue.
    ///
    /// Refusing a different offer loses its sender's work, so this suits senders that cannot try again.
    Queue {
        /// The number of different offers of one peer that may wait. Further ones are refused as
        /// [`QueueFull`](crate::Reason::QueueFull).
        depth: usize,
        /// The longest time that an offer may wait. After that it is refused as [`TimedOut`](crate::Reason::TimedOut).
        timeout: Duration,
    },
    /// The newest offer wins, as it does between WebRTC endpoints.
    ///
    /// The offer in flight is ended and refused as [`Superseded`](crate::Reason::Superseded), with its followers. The
    /// newcomer is admitted when the processing of the old offer has been dropped, 100 ms later at the latest. At most
    /// one offer waits: a still newer one takes its place. A retransmission of a superseded offer is
    /// refused for the length of the window.
    ///
    /// "Newest" means the last to arrive for the first time: reordering on the way cannot be detected. The
    /// [cooldown](crate::OfferDedupBuilder::cooldown) has no effect in this mode.
    Supersede,
}

/// The settings that the gate works by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) window: Duration,
    pub(crate) cooldown: Duration,
    pub(crate) when_busy: WhenBusy,
    pub(crate) lease: Duration,
    pub(crate) max_memory: u64,
    pub(crate) remember_failures: bool,
    /// `true` if a store that several nodes share decides too.
    pub(crate) is_shared: bool,
}

impl Settings {
    /// Resolves settings that switch others off.
    pub(crate) fn effective(mut self) -> Self {
        if self.when_busy == WhenBusy::Supersede || self.max_memory == 0 {
            self.cooldown = Duration::ZERO;
        }
        self
    }

    /// Returns whether an offer that ended so is remembered.
    pub(crate) fn counts(&self, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Success => true,
            Outcome::Failure | Outcome::Broken => self.remember_failures,
            Outcome::Abandoned | Outcome::Superseded => false,
        }
    }

    /// Returns the time for which the shared store remembers an offer.
    pub(crate) fn shared_window(&self) -> Duration {
        if self.remembers() { self.window } else { Duration::ZERO }
    }

    /// Returns whether processed offers are remembered at all.
    pub(crate) fn remembers(&self) -> bool {
        !self.window.is_zero() && self.max_memory > 0
    }

    /// The bytes that cooling peers may take: a quarter of the memory, or nothing without a cooldown.
    pub(crate) fn cooldown_bytes(&self) -> u64 {
        if self.cooldown.is_zero() {
            0
        } else {
            self.max_memory / 4
        }
    }

    /// The bytes that the index of sessions may take: an eighth of the memory.
    pub(crate) fn session_bytes(&self) -> u64 {
        self.max_memory / 8
    }

    /// The bytes that the memories may take: what the cooldowns and the sessions leave.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.max_memory - self.cooldown_bytes() - self.session_bytes()
    }
}
