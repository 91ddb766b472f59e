//! Encryption of what others must not read: recorded answers, which hold ICE credentials, and the peers in notices.

use std::fmt;

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};

use super::super::StoreError;
use crate::{Fingerprint, answer::EncodedRecord};

/// The length of a nonce. At 192 bits, random nonces do not repeat.
const NONCE: usize = 24;

/// The first byte of the associated data: the version of this format.
const VERSION: u8 = 1;

/// The purpose of a sealed text. It is part of the associated data, so that none can stand for another.
#[derive(Clone, Copy)]
pub(super) enum Purpose<'a> {
    /// The recorded answer of an offer of the peer with this keyed digest.
    Record(&'a [u8; 16], Fingerprint),
    /// A notice of this kind.
    Notice(u8),
}

/// Seals with its first key and opens with all.
pub(super) struct Seal(Vec<XChaCha20Poly1305>);

impl Seal {
    /// Makes a seal. There must be a key.
    pub(super) fn new(keys: &[[u8; 32]]) -> Self {
        Self(keys.iter().map(|key| XChaCha20Poly1305::new(key.into())).collect())
    }

    /// Returns a random nonce and the encrypted text.
    pub(super) fn seal(&self, text: &[u8], purpose: Purpose<'_>) -> Result<Vec<u8>, StoreError> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce)
            .map_err(|error| StoreError::new("the system has no randomness").with_source(error))?;
        let payload = Payload {
            msg: text,
            aad: &purpose.associated_data(),
        };
        let sealed = self.0[0].encrypt(&XNonce::from(nonce), payload);
        // It fails for texts of more than 256 GiB only.
        let sealed = sealed.map_err(|_| StoreError::new("the answer is too large to be sealed"))?;
        Ok([&nonce[..], &sealed].concat())
    }

    /// Returns the text, or `None` if no key fits or the text was changed.
    pub(super) fn open(&self, sealed: &[u8], purpose: Purpose<'_>) -> Option<Vec<u8>> {
        let (nonce, encrypted) = sealed.split_first_chunk::<NONCE>()?;
        let (nonce, data) = (XNonce::from(*nonce), purpose.associated_data());
        self.0.iter().find_map(|cipher| {
            let payload = Payload {
                msg: encrypted,
                aad: &data,
            };
            cipher.decrypt(&nonce, payload).ok()
        })
    }

    pub(super) fn seal_record(
        &self,
        record: &EncodedRecord,
        digest: &[u8; 16],
        fingerprint: Fingerprint,
    ) -> Result<Vec<u8>, StoreError> {
        let text = [&record.tag().to_be_bytes(), record.bytes()].concat();
        self.seal(&text, Purpose::Record(digest, fingerprint))
    }

    pub(super) fn open_record(
        &self,
        sealed: &[u8],
        digest: &[u8; 16],
        fingerprint: Fingerprint,
    ) -> Option<EncodedRecord> {
        let text = self.open(sealed, Purpose::Record(digest, fingerprint))?;
        let (tag, bytes) = text.split_first_chunk()?;
        Some(EncodedRecord::new(u32::from_be_bytes(*tag), bytes.to_vec()))
    }
}

impl Purpose<'_> {
    /// The parts of each kind have fixed lengths, so no two purposes have the same data.
    fn associated_data(self) -> Vec<u8> {
        match self {
            Self::Record(digest, fingerprint) => [&[VERSION, b'r'], &digest[..], &fingerprint.to_bytes()].concat(),
            Self::Notice(kind) => vec![VERSION, b'n', kind],
        }
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").field("keys", &self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: [u8; 16] = [7; 16];

    fn record() -> (EncodedRecord, Fingerprint) {
        (
            EncodedRecord::new(9, b"a=ice-pwd:secret".to_vec()),
            Fingerprint::exact(b"f"),
        )
    }

    #[test]
    fn sealed_record_opens_in_its_place_only() {
        let seal = Seal::new(&[[1; 32]]);
        let (record, fingerprint) = record();
        let sealed = seal.seal_record(&record, &DIGEST, fingerprint).unwrap();
        assert!(!sealed.windows(7).any(|bytes| bytes == b"ice-pwd"));

        assert_eq!(seal.open_record(&sealed, &DIGEST, fingerprint), Some(record));
        assert_eq!(
            seal.open_record(&sealed, &[8; 16], fingerprint),
            None,
            "of another peer"
        );
        let other = Fingerprint::exact(b"g");
        assert_eq!(seal.open_record(&sealed, &DIGEST, other), None, "of another offer");
        assert_eq!(seal.open(&sealed, Purpose::Notice(b'w')), None, "as a notice");
    }

    #[test]
    fn changed_text_does_not_open() {
        let seal = Seal::new(&[[1; 32]]);
        let (record, fingerprint) = record();
        let sealed = seal.seal_record(&record, &DIGEST, fingerprint).unwrap();
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert_eq!(seal.open_record(&changed, &DIGEST, fingerprint), None, "at {place}");
            assert_eq!(
                seal.open_record(&sealed[..place], &DIGEST, fingerprint),
                None,
                "cut at {place}"
            );
        }
    }

    #[test]
    fn keys_rotate_in_two_steps() {
        let (record, fingerprint) = record();
        let (old, new) = ([1; 32], [2; 32]);
        let [before, appended, promoted] = [&[old][..], &[old, new], &[new, old]].map(Seal::new);
        let sealed = |seal: &Seal| seal.seal_record(&record, &DIGEST, fingerprint).unwrap();
        let opens = |seal: &Seal, sealed: &[u8]| seal.open_record(sealed, &DIGEST, fingerprint).is_some();
        assert!(opens(&appended, &sealed(&before)) && opens(&before, &sealed(&appended)));
        assert!(opens(&promoted, &sealed(&appended)) && opens(&appended, &sealed(&promoted)));
        assert!(!opens(&before, &sealed(&promoted)));
    }

    #[test]
    fn equal_texts_are_sealed_differently() {
        let seal = Seal::new(&[[1; 32]]);
        let sealed = || seal.seal(b"alice", Purpose::Notice(b'w')).unwrap();
        assert_ne!(sealed(), sealed());
    }
}
