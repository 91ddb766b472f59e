//! The encoding of peer parts: [`Digest`] hashes it, [`BoundParts`] keeps it.

#[cfg(feature = "json")]
use std::{fmt, sync::Arc};

use super::PeerKey;
#[cfg(feature = "json")]
use super::PeerParts;

/// Collects parts, each behind its kind and its length, so that two different lists of parts never read the same.
#[derive(Clone, Default)]
#[allow(
    unnameable_types,
    missing_debug_implementations,
    reason = "it is public to the sealed `Feed` alone"
)]
pub struct Digest<S = blake3::Hasher>(S);

impl<S: Sink> Digest<S> {
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.part(b'b', bytes);
    }

    /// Adds an integer in the shortest of its forms. Each value has one form, whatever type it came in.
    pub(crate) fn unsigned(&mut self, number: u128) {
        match u64::try_from(number) {
            Ok(number) => self.part(b'n', &number.to_le_bytes()),
            Err(_) => self.part(b'n', &number.to_le_bytes()),
        }
    }

    pub(crate) fn signed(&mut self, number: i128) {
        match (u128::try_from(number), i64::try_from(number)) {
            (Ok(number), _) => self.unsigned(number),
            (Err(_), Ok(negative)) => self.part(b'm', &negative.to_le_bytes()),
            (Err(_), Err(_)) => self.part(b'm', &number.to_le_bytes()),
        }
    }

    /// Adds the part that stands for a missing one. It differs from every value.
    #[cfg(any(feature = "http", feature = "json"))]
    pub(crate) fn absent(&mut self) {
        self.part(b'-', &[]);
    }

    pub(crate) fn key(&mut self, key: PeerKey) {
        self.part(b'k', &key.0);
    }

    fn part(&mut self, kind: u8, bytes: &[u8]) {
        let [a, b, c, d, e, f, g, h] = (bytes.len() as u64).to_le_bytes();
        self.0.write(&[kind, a, b, c, d, e, f, g, h]);
        self.0.write(bytes);
    }
}

impl Digest {
    pub(crate) fn finish(&self) -> PeerKey {
        let mut key = [0; 16];
        key.copy_from_slice(&self.0.finalize().as_bytes()[..16]);
        PeerKey(key)
    }
}

/// The parts of a key that are known before the others. They are encoded once; a clone shares them.
#[cfg(feature = "json")]
#[derive(Clone)]
pub(crate) struct BoundParts {
    /// The key of these parts alone.
    key: PeerKey,
    encoded: Arc<[u8]>,
}

#[cfg(feature = "json")]
impl BoundParts {
    pub(crate) fn new(parts: &impl PeerParts) -> Self {
        let mut encoded = Digest(Vec::new());
        parts.feed(&mut encoded);
        Self {
            key: parts.key(),
            encoded: encoded.0.into(),
        }
    }

    pub(crate) fn key(&self) -> PeerKey {
        self.key
    }

    /// Starts a key with these parts.
    pub(crate) fn digest(&self) -> Digest {
        let mut digest: Digest = Digest::default();
        digest.0.write(&self.encoded);
        digest
    }
}

/// Shows the key alone. The parts may be secret.
#[cfg(feature = "json")]
impl fmt::Debug for BoundParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

/// Takes the encoded parts: the hash, or a buffer that keeps them.
#[allow(unnameable_types, reason = "it is public to the sealed `Feed` alone")]
pub trait Sink {
    fn write(&mut self, bytes: &[u8]);
}

impl Sink for blake3::Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }
}

impl Sink for Vec<u8> {
    fn write(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}
