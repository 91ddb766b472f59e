use std::{fmt, time::Duration};

use crate::metrics;

/// Why a request was not handed to the inner service, and when to try again.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_offer_dedup::{Reason, Refusal};
///
/// let refusal = Refusal::new(Reason::Busy);
/// assert_eq!(refusal.retry_after(), Some(Duration::from_secs(1)));
/// assert_eq!(refusal.to_string(), "another offer of this peer is being processed");
///
/// // A second try of what was processed would be a second session.
/// assert_eq!(Refusal::new(Reason::Processed).retry_after(), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    reason: Reason,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal for `reason`, with a hint to retry in 1 s where retrying helps.
    pub fn new(reason: Reason) -> Self {
        Self {
            reason,
            retry_after: reason.is_temporary().then_some(Duration::from_secs(1)),
        }
    }

    /// Hints to retry after `time`.
    #[must_use]
    pub fn retry_in(self, time: Duration) -> Self {
        Self {
            retry_after: Some(time),
            ..self
        }
    }

    /// Why.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// How long to wait before a retry; `None` where a retry helps nothing.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.text())
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $text:literal;)*) => {
        /// Why a request was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];

            /// A name for machines: `"in_flight"`, `"cooling_down"` and so on.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $id,)*
                }
            }

            /// Counts a refusal in the metrics.
            pub(crate) fn measure(self) {
                match self {
                    $(Self::$name => metrics::count!("offer_dedup_offers_total", $id),)*
                }
            }

            pub(crate) fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

reasons! {
    /// The same offer is being processed, or is queued.
    InFlight = "in_flight", "the same offer is being processed";
    /// The same offer was processed.
    Processed = "processed", "the same offer was processed";
    /// The same offer was processed, and there is no answer to give again: it was too large, vetoed or dropped.
    NotRecorded = "not_recorded", "the same offer was processed and its answer was not kept";
    /// Another offer of the peer is being processed.
    Busy = "busy", "another offer of this peer is being processed";
    /// The peer's last offer was processed less than a cooldown ago.
    CoolingDown = "cooling_down", "the peer's last offer was processed a moment ago";
    /// Too many offers of the peer, or duplicates of them, wait already.
    QueueFull = "queue_full", "too many offers of this peer wait already";
    /// The wait was too long, or the processing outlived its lease and was aborted.
    TimedOut = "timed_out", "the offer took too long";
    /// The request's body is larger than the cap.
    BodyTooLarge = "body_too_large", "the body is too large";
    /// The request's body could not be read to its end.
    BodyBroken = "body_broken", "the body could not be read";
    /// The request names no peer, and one is required.
    PeerMissing = "peer_missing", "the request names no peer";
    /// A store that is shared between servers cannot be reached. The layer has none of its own: it is there for an
    /// [`ExtractOffer`](crate::ExtractOffer) that asks one.
    StoreUnavailable = "store_unavailable", "the shared store cannot be reached";
}

impl Reason {
    /// Whether the same request may be handled when it is sent again later.
    fn is_temporary(self) -> bool {
        match self {
            Self::InFlight
            | Self::Busy
            | Self::CoolingDown
            | Self::QueueFull
            | Self::TimedOut
            | Self::StoreUnavailable => true,
            Self::Processed | Self::NotRecorded | Self::BodyTooLarge | Self::BodyBroken | Self::PeerMissing => false,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
