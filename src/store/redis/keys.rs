//! Names of keys and channels.

use std::fmt;

use super::super::NodeId;
use crate::PeerKey;

/// The version of all that is stored and published. Nodes with different versions do not see each other's keys.
const FORMAT: &str = "od1:";

/// The number of buckets that the peers of one store are spread over: a power of 16.
const BUCKETS: u16 = 4096;

/// Names the keys and channels of one store.
pub(super) struct Keys {
    prefix: String,
    secret: [u8; 32],
    inboxes: Vec<u8>,
    all: Vec<u8>,
}

/// The keys of one peer, all in one slot of a cluster.
pub(super) struct PeerKeys {
    /// A keyed digest of the peer. Without the secret, nobody can try a guess of the peer.
    pub(super) digest: [u8; 16],
    pub(super) peer: Vec<u8>,
    pub(super) answers: Vec<u8>,
    pub(super) floor: Vec<u8>,
}

impl Keys {
    /// Channels carry the number of the database, because those of a server share its channels.
    pub(super) fn new(prefix: &str, database: i64, secret: [u8; 32]) -> Self {
        let prefix = format!("{prefix}{FORMAT}");
        Self {
            inboxes: format!("{prefix}{database}:node:").into_bytes(),
            all: format!("{prefix}{database}:all").into_bytes(),
            prefix,
            secret,
        }
    }

    pub(super) fn of(&self, peer: PeerKey) -> PeerKeys {
        let hash = blake3::keyed_hash(&self.secret, &peer.to_bytes());
        let mut digest = [0; 16];
        digest.copy_from_slice(&hash.as_bytes()[..16]);
        let bucket = u16::from_be_bytes([digest[0], digest[1]]) / (u16::MAX / BUCKETS + 1);
        let floor = self.floor(bucket);
        let peer = [&floor, &digest[..]].concat();
        let answers = [&peer, &b"a"[..]].concat();
        PeerKeys {
            digest,
            peer,
            answers,
            floor,
        }
    }

    /// Returns the key of each bucket's floor.
    pub(super) fn floors(&self) -> impl Iterator<Item = Vec<u8>> {
        (0..BUCKETS).map(|bucket| self.floor(bucket))
    }

    /// The braces make a cluster place all keys of a bucket in one slot.
    fn floor(&self, bucket: u16) -> Vec<u8> {
        format!("{}{{{bucket:03x}}}", self.prefix).into_bytes()
    }

    /// Returns what the names of all nodes' channels begin with.
    pub(super) fn inboxes(&self) -> &[u8] {
        &self.inboxes
    }

    /// Returns the channel of one node.
    pub(super) fn inbox(&self, node: NodeId) -> Vec<u8> {
        [&self.inboxes[..], &node.to_bytes()].concat()
    }

    /// Returns the channel of all nodes.
    pub(super) fn all(&self) -> &[u8] {
        &self.all
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(secret: u8) -> Keys {
        Keys::new("app:", 3, [secret; 32])
    }

    #[test]
    fn keys_of_peer_share_one_tag() {
        let keys = keys(1);
        let of = keys.of(PeerKey::from("alice"));
        let tag = format!("app:od1:{{{}}}", &hex(&of.digest)[..3]);
        assert_eq!(of.floor, tag.as_bytes());
        assert_eq!(of.peer, [tag.as_bytes(), &of.digest].concat());
        assert_eq!(of.answers, [&of.peer[..], b"a"].concat());
        assert!(keys.floors().any(|floor| floor == of.floor));
    }

    #[test]
    fn digests_depend_on_secret() {
        let peer = PeerKey::from("alice");
        assert_ne!(keys(1).of(peer).digest, keys(2).of(peer).digest);
        let text = hex(&keys(1).of(peer).peer);
        assert!(
            !text.contains(&hex(&peer.to_bytes())),
            "the peer itself is not in its keys"
        );
    }

    #[test]
    fn every_bucket_has_one_floor() {
        let floors: std::collections::HashSet<_> = keys(1).floors().collect();
        assert_eq!(floors.len(), usize::from(BUCKETS));
    }

    #[test]
    fn channels_name_database_and_node() {
        let node = NodeId::from_bytes(*b"12345678");
        assert_eq!(keys(1).inbox(node), b"app:od1:3:node:12345678");
        assert_eq!(keys(1).all(), b"app:od1:3:all");
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
