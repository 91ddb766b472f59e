use std::{fmt, time::Duration};

/// The reason why a request was not passed to the inner service, and when to try again.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_offer_dedup::{Reason, Refusal};
///
/// let refusal = Refusal::new(Reason::Busy);
/// assert_eq!(refusal.retry_after(), Some(Duration::from_secs(1)));
/// let text = "another offer of this peer is being processed";
/// assert_eq!(refusal.to_string(), text);
///
/// // A retry of a processed offer would create a second session.
/// assert_eq!(Refusal::new(Reason::Processed).retry_after(), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    reason: Reason,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// Makes a refusal. It hints to retry after 1 s where retrying helps.
    pub fn new(reason: Reason) -> Self {
        Self {
            reason,
            retry_after: reason.is_temporary().then_some(Duration::from_secs(1)),
        }
    }

    /// Makes a refusal that hints to retry after `retry_after`.
    pub fn with_retry_after(reason: Reason, retry_after: Duration) -> Self {
        Self {
            reason,
            retry_after: Some(retry_after),
        }
    }

    /// Returns the reason.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Returns how long to wait before a retry, or `None` where a retry does not help.
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
        /// The reason of a refusal.
        ///
        /// # Examples
        ///
        /// ```
        /// use tower_offer_dedup::Reason;
        ///
        /// assert_eq!(Reason::CoolingDown.as_str(), "cooling_down");
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Returns a name for machines, such as `"in_flight"`. It never changes.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $id,)*
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
    /// The same offer was processed, and its answer was not kept: it was too large, vetoed or evicted.
    NotRecorded = "not_recorded", "the same offer was processed and its answer was not kept";
    /// A newer offer of the peer arrived, under [`WhenBusy::Supersede`](crate::WhenBusy::Supersede).
    Superseded = "superseded", "a newer offer of this peer arrived";
    /// Another offer of the peer is being processed.
    Busy = "busy", "another offer of this peer is being processed";
    /// An offer of the peer was processed less than a cooldown ago.
    CoolingDown = "cooling_down", "the peer's last offer was processed a moment ago";
    /// Too many offers of the peer, or too many duplicates, are waiting already.
    QueueFull = "queue_full", "too many offers of this peer wait already";
    /// The offer waited too long, or its processing outlived the lease and was ended.
    TimedOut = "timed_out", "the offer took too long";
    /// Processing was ended from outside: its runtime shut down, or its claim was lost.
    Aborted = "aborted", "processing of the offer was aborted";
    /// The body of the request is larger than the cap.
    BodyTooLarge = "body_too_large", "the body is too large";
    /// The body of the request did not arrive in time.
    BodyTimedOut = "body_timed_out", "the body did not arrive in time";
    /// The request names no peer, and one is required.
    PeerMissing = "peer_missing", "the request names no peer";
    /// The [store](crate::store) that nodes share cannot be reached, under
    /// [`FailClosed`](crate::store::OnStoreError::FailClosed).
    StoreUnavailable = "store_unavailable", "the shared store cannot be reached";
}

impl Reason {
    /// Returns whether the same request may be handled if it is sent again later.
    fn is_temporary(self) -> bool {
        match self {
            Self::InFlight
            | Self::Busy
            | Self::CoolingDown
            | Self::QueueFull
            | Self::TimedOut
            | Self::Aborted
            | Self::StoreUnavailable => true,
            Self::Processed
            | Self::NotRecorded
            | Self::Superseded
            | Self::BodyTooLarge
            | Self::BodyTimedOut
            | Self::PeerMissing => false,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
