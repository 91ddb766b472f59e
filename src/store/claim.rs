//! The vocabulary of a store's calls.

use std::{fmt, time::Duration};

use crate::{Fingerprint, PeerKey, answer::EncodedRecord, fence::Fence};

/// Identifies one node among those that share a store. Stores make it at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeId([u8; 8]);

impl NodeId {
    /// Makes an id of 8 bytes, which must be unique among the nodes.
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes of the id.
    pub fn to_bytes(self) -> [u8; 8] {
        self.0
    }
}

/// Names a claim. The node chooses it, so that asking again with the same token gives the same claim.
///
/// It begins with the [`NodeId`], so that the store can notify the holder.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClaimToken([u8; 16]);

impl ClaimToken {
    /// Makes the token of a claim of `node`. No two claims may have the same `unique` number.
    pub fn new(node: NodeId, unique: u64) -> Self {
        let mut token = [0; 16];
        token[..8].copy_from_slice(&node.0);
        token[8..].copy_from_slice(&unique.to_be_bytes());
        Self(token)
    }

    /// Returns the token that [`to_bytes`](Self::to_bytes) gave these bytes for.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the token as bytes.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// Returns the node that made the token.
    pub fn node(self) -> NodeId {
        let mut node = [0; 8];
        node.copy_from_slice(&self.0[..8]);
        NodeId(node)
    }
}

impl fmt::Debug for ClaimToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClaimToken({:016x}…)", u64::from_be_bytes(self.node().0))
    }
}

/// The question whether an offer may be processed.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// The peer of the offer.
    pub peer: PeerKey,
    /// The identity of the offer.
    pub fingerprint: Fingerprint,
    /// The name of the claim, if it is granted.
    pub token: ClaimToken,
    /// The time for which the claim is held without a renewal.
    pub lease: Duration,
    /// `true` if the answer of the same offer is wanted: the recorded one, or the one of an offer in flight, whose claim is
    /// attended then.
    pub wants_record: bool,
    /// Set to take the claim of a different offer away, as [`WhenBusy::Supersede`](crate::WhenBusy::Supersede) does. The
    /// loser is remembered as superseded for this long.
    pub supersede: Option<Duration>,
}

impl Ask {
    /// Returns the claim that is held if this is granted.
    #[must_use]
    pub fn held(&self) -> Held {
        Held {
            peer: self.peer,
            fingerprint: self.fingerprint,
            token: self.token,
        }
    }
}

/// The answer to an [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The claim is granted, or was granted before to the same token.
    Admitted {
        /// Its number.
        fence: Fence,
        /// The claim that it took away from a different offer by [`Ask::supersede`]. That node is told, and confirms by a
        /// [`release`](super::SharedStore::release) when it has stopped. If a node takes its own claim away, and the claim
        /// that this one displaced has not been confirmed, that earlier claim is named instead. So is it if the claim that
        /// displaced it was released before the confirmation.
        displaced: Option<ClaimToken>,
    },
    /// The same offer was processed.
    Processed {
        /// The rest of its window.
        left: Duration,
        /// The number of the claim that processed it.
        fence: Fence,
        /// The recorded answer, if there is one and it is wanted.
        record: Option<EncodedRecord>,
    },
    /// The same offer was superseded by a newer one.
    Superseded {
        /// For how long that is remembered.
        left: Duration,
    },
    /// The same offer is being processed. The node gets a [`Notice::Wake`](super::Notice::Wake) when that ends.
    InFlight {
        /// The rest of the lease.
        left: Duration,
    },
    /// A different offer is being processed. The node gets a [`Notice::Wake`](super::Notice::Wake) when that ends.
    Busy {
        /// The rest of the lease.
        left: Duration,
        /// The time since its claim was granted.
        age: Duration,
    },
    /// An offer of the peer was processed a moment ago.
    CoolingDown {
        /// The rest of the cooldown.
        left: Duration,
    },
}

/// A claim that a node holds, or may hold: a lost reply leaves that open.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// The peer of the offer.
    pub peer: PeerKey,
    /// The identity of the offer.
    pub fingerprint: Fingerprint,
    /// The name of the claim.
    pub token: ClaimToken,
}

/// The end of a claim whose offer was processed.
#[derive(Clone, Debug)]
pub struct Completion {
    /// The time for which the offer is remembered.
    pub window: Duration,
    /// The time for which the peer stays closed to different offers.
    pub cooldown: Duration,
    /// The recorded answer, if there is one.
    pub record: Option<EncodedRecord>,
}

/// The result of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// The lease begins anew.
    Yes,
    /// The claim is not held any more.
    Lost,
}

/// The result of a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completed {
    /// The claim has ended as processed, by this call or an earlier one. What it remembered may have been forgotten since.
    ///
    /// A store knows only the last completion of each peer: a repetition after the next one is [`Lost`](Self::Lost).
    Done,
    /// The claim is not held any more, and this call remembers nothing.
    Lost,
}

/// The scope of a [`forget`](super::SharedStore::forget).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything of the peer.
    Peer,
    /// The memory, mark or claim of one offer. A cooldown stays.
    Offer(Fingerprint),
    /// The memory of one claim. While it is in flight, this only prevents that it is remembered.
    Claim(Fingerprint, Fence),
}
