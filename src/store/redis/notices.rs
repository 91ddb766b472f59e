//! Notices as they are published, and their delivery to the listeners of a node.
//!
//! | first byte | after it | channel |
//! |---|---|---|
//! | `w` | the sealed peer | a node's |
//! | `l` | cause (`s` superseded, `t` taken over), token | a node's |
//! | `s` | token | a node's |
//! | `f` | origin, number, colon, sealed peer and scope | all |
//! | `e` | origin, sealed URI | all |
//! | `c` | origin | all |
//!
//! The origin is the node that published it. That node ignores it.

use std::sync::{Mutex, PoisonError};

use super::{
    super::{ClaimToken, Fence, Lost, NodeId, Notice, Notices, Notifier, Scope, StoreError, notices},
    seal::{Purpose, Seal},
};
use crate::{Fingerprint, PeerKey, extract::SessionUri};

/// The listeners of a node.
#[derive(Debug, Default)]
pub(super) struct Listeners(Mutex<Vec<Notifier>>);

impl Listeners {
    pub(super) fn listen(&self) -> Notices {
        let (notifier, notices) = notices();
        self.lock().push(notifier);
        notices
    }

    pub(super) fn notify(&self, notice: Notice) {
        self.lock().retain(|notifier| notifier.notify(notice));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Notifier>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seals a peer for `w`.
pub(super) fn sealed_peer(seal: &Seal, peer: PeerKey) -> Result<Vec<u8>, StoreError> {
    seal.seal(&peer.to_bytes(), Purpose::Notice(b'w'))
}

/// Returns the parts of an `f` before and after the number.
pub(super) fn forgotten(
    seal: &Seal,
    origin: NodeId,
    peer: PeerKey,
    scope: Scope,
) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
    let mut text = peer.to_bytes().to_vec();
    match scope {
        Scope::Peer => {}
        Scope::Offer(fingerprint) => text.extend(fingerprint.to_bytes()),
        Scope::Claim(fingerprint, fence) => {
            text.extend(fingerprint.to_bytes());
            text.extend(fence.get().to_be_bytes());
        }
    }
    let sealed = seal.seal(&text, Purpose::Notice(b'f'))?;
    Ok((with_origin(b'f', origin), [&b":"[..], &sealed].concat()))
}

pub(super) fn ended(seal: &Seal, origin: NodeId, uri: SessionUri) -> Result<Vec<u8>, StoreError> {
    let sealed = seal.seal(&uri.to_bytes(), Purpose::Notice(b'e'))?;
    Ok([with_origin(b'e', origin), sealed].concat())
}

pub(super) fn cleared(origin: NodeId) -> Vec<u8> {
    with_origin(b'c', origin)
}

fn with_origin(kind: u8, origin: NodeId) -> Vec<u8> {
    [&[kind], &origin.to_bytes()[..]].concat()
}

/// Reads a notice. Returns `None` if `node` published it, or if it is not one that this version knows.
pub(super) fn read(seal: &Seal, node: NodeId, message: &[u8]) -> Option<Notice> {
    let (&kind, rest) = message.split_first()?;
    match kind {
        b'w' => Some(Notice::Wake(peer(&seal.open(rest, Purpose::Notice(kind))?)?)),
        b'l' => {
            let (cause, token) = rest.split_first()?;
            let cause = match cause {
                b's' => Lost::Superseded,
                _ => Lost::TakenOver,
            };
            Some(Notice::Lost(ClaimToken::from_bytes(token.try_into().ok()?), cause))
        }
        b's' => Some(Notice::Stopped(ClaimToken::from_bytes(rest.try_into().ok()?))),
        _ => {
            let (origin, rest) = rest.split_first_chunk()?;
            if NodeId::from_bytes(*origin) == node {
                return None;
            }
            match kind {
                b'f' => read_forgotten(seal, rest),
                b'e' => {
                    let uri = seal.open(rest, Purpose::Notice(kind))?;
                    Some(Notice::Ended(SessionUri::from_bytes(uri.as_slice().try_into().ok()?)))
                }
                b'c' => Some(Notice::Cleared),
                _ => None,
            }
        }
    }
}

fn read_forgotten(seal: &Seal, rest: &[u8]) -> Option<Notice> {
    let colon = rest.iter().position(|byte| *byte == b':')?;
    let number = str::from_utf8(&rest[..colon]).ok()?.parse().ok()?;
    let text = seal.open(&rest[colon + 1..], Purpose::Notice(b'f'))?;
    let (peer_bytes, scope) = text.split_at_checked(16)?;
    let scope = match scope.len() {
        0 => Scope::Peer,
        16 => Scope::Offer(fingerprint(scope)?),
        24 => {
            let (offer, fence) = scope.split_at(16);
            let fence = u64::from_be_bytes(fence.try_into().ok()?);
            Scope::Claim(fingerprint(offer)?, Fence::new(fence))
        }
        _ => return None,
    };
    Some(Notice::Forgotten(peer(peer_bytes)?, scope, Fence::new(number)))
}

fn peer(bytes: &[u8]) -> Option<PeerKey> {
    Some(PeerKey::from_bytes(bytes.try_into().ok()?))
}

fn fingerprint(bytes: &[u8]) -> Option<Fingerprint> {
    Some(Fingerprint::from_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> NodeId {
        NodeId::from_bytes([1; 8])
    }

    fn there() -> NodeId {
        NodeId::from_bytes([2; 8])
    }

    fn seal() -> Seal {
        Seal::new(&[[1; 32]])
    }

    fn published(scope: Scope) -> Vec<u8> {
        let (start, end) = forgotten(&seal(), there(), PeerKey::from("alice"), scope).unwrap();
        [&start, &b"1732600000000000"[..], &end].concat()
    }

    #[test]
    fn forgotten_scopes_travel_intact() {
        let offer = Fingerprint::exact(b"f");
        for scope in [
            Scope::Peer,
            Scope::Offer(offer),
            Scope::Claim(offer, Fence::new(u64::MAX)),
        ] {
            let notice = read(&seal(), here(), &published(scope));
            let fence = Fence::new(1_732_600_000_000_000);
            assert_eq!(notice, Some(Notice::Forgotten(PeerKey::from("alice"), scope, fence)));
            assert_eq!(read(&seal(), there(), &published(scope)), None, "at its origin");
        }
    }

    #[test]
    fn malformed_messages_are_ignored() {
        let messages = [
            published(Scope::Peer),
            [&b"w"[..], &sealed_peer(&seal(), PeerKey::from("alice")).unwrap()].concat(),
            b"ls0123456789abcdef".to_vec(),
            b"s0123456789abcdef".to_vec(),
            ended(&seal(), there(), SessionUri::new(b"/", b"", b"")).unwrap(),
            cleared(there()),
        ];
        for message in messages {
            assert!(read(&seal(), here(), &message).is_some());
            for end in 0..message.len() {
                assert_eq!(read(&seal(), here(), &message[..end]), None, "{message:?} cut at {end}");
            }
        }
        assert_eq!(read(&seal(), here(), b"z12345678"), None);
    }
}
