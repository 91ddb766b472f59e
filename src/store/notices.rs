//! [`Notices`]: the messages of a store to a node.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::sync::mpsc::{self, error::TrySendError};

use super::{ClaimToken, Fence, Scope};
use crate::{PeerKey, extract::SessionUri};

/// A message from a store to one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A claim of the peer has ended or was abandoned. Requests that wait for it ask again.
    Wake(PeerKey),
    /// A claim of this node was taken away.
    Lost(ClaimToken, Lost),
    /// The processing of a claim that this node displaced has stopped.
    Stopped(ClaimToken),
    /// Another node forgot this: claims and memories up to that number.
    Forgotten(PeerKey, Scope, Fence),
    /// The session at this URI has ended on another node.
    Ended(SessionUri),
    /// Another node cleared the store.
    Cleared,
    /// Notices may have been missed: the connection broke, or the node was too slow. The layer drops the memories of its
    /// node and asks again for requests that wait. It keeps its claims: one that was taken away meanwhile is found lost by
    /// its next renewal, a third of a lease later at most.
    Missed,
}

/// The cause for which a claim was taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// A newer offer superseded it.
    Superseded,
    /// It was past its lease, abandoned or forgotten.
    TakenOver,
}

/// The limit of notices that wait for a slow node. Past that they are dropped and replaced by [`Notice::Missed`].
const CAPACITY: usize = 4096;

/// Makes the two ends of a channel of notices.
///
/// # Examples
///
/// ```
/// use tower_offer_dedup::store::{Notice, notices};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (notifier, mut notices) = notices();
/// notifier.notify(Notice::Cleared);
/// assert_eq!(notices.next().await, Some(Notice::Cleared));
/// # }
/// ```
pub fn notices() -> (Notifier, Notices) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    let missed = Arc::new(AtomicBool::new(false));
    let notifier = Notifier {
        sender,
        missed: Arc::clone(&missed),
    };
    (notifier, Notices { receiver, missed })
}

/// The sending end of [`notices`].
#[derive(Clone)]
pub struct Notifier {
    sender: mpsc::Sender<Notice>,
    missed: Arc<AtomicBool>,
}

impl Notifier {
    /// Sends a notice. Returns `false` if nobody listens any more.
    pub fn notify(&self, notice: Notice) -> bool {
        match self.sender.try_send(notice) {
            Ok(()) => true,
            Err(TrySendError::Full(notice)) => {
                // Relaxed: the receiver has thousands of notices to read first, and finds the flag before each.
                self.missed.store(true, Relaxed);
                // Or it has read all of them just now, and must be woken.
                let _ = self.sender.try_send(notice);
                true
            }
            Err(TrySendError::Closed(_)) => false,
        }
    }
}

/// The notices for one node, in order.
pub struct Notices {
    receiver: mpsc::Receiver<Notice>,
    missed: Arc<AtomicBool>,
}

impl Notices {
    /// Returns the next notice, or `None` when the store is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has taken no notice.
    pub async fn next(&mut self) -> Option<Notice> {
        if self.missed.swap(false, Relaxed) {
            return Some(Notice::Missed);
        }
        self.receiver.recv().await
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifier").finish_non_exhaustive()
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notices").finish_non_exhaustive()
    }
}
