use std::time::Duration;

/// The treatment of a duplicate while the same offer is being processed.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_offer_dedup::answer::Duplicates;
///
/// let expected = Duplicates::Wait {
///     max_waiters: 64,
///     wait_timeout: Duration::from_secs(10),
/// };
/// assert_eq!(Duplicates::WAIT, expected);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicates {
    /// It is refused at once, as [`InFlight`](crate::Reason::InFlight).
    Refuse,
    /// It waits and gets the same answer.
    Wait {
        /// The number of duplicates of one peer that may wait. Further ones are refused as
        /// [`QueueFull`](crate::Reason::QueueFull).
        max_waiters: usize,
        /// The longest time that a duplicate may wait. After that it is refused as
        /// [`TimedOut`](crate::Reason::TimedOut).
        wait_timeout: Duration,
    },
}

impl Duplicates {
    /// At most 64 duplicates of one peer wait, for at most 10 s.
    pub const WAIT: Self = Self::Wait {
        max_waiters: Self::MAX_WAITERS,
        wait_timeout: Self::WAIT_TIMEOUT,
    };

    pub(crate) const MAX_WAITERS: usize = 64;
    pub(crate) const WAIT_TIMEOUT: Duration = Duration::from_secs(10);
}
