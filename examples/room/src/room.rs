//! One room: its peers, and the offers that wait for each of them.

use std::collections::{HashMap, VecDeque};

use axum::extract::ws::Utf8Bytes;
use tokio::sync::{mpsc, oneshot};
use tower_offer_dedup::OfferDedupHandle;

use crate::{
    messages::{CloseReason, Kind, Name, Notice},
    signaling::{Failure, Forward, peer_key},
};

/// Everyone sends an offer to everyone, so a larger room would not work anyway.
const MAX_PEERS: usize = 64;

pub(crate) struct Room {
    name: Name,
    peers: HashMap<Name, Peer>,
    dedup: OfferDedupHandle,
}

struct Peer {
    socket: SocketHandle,
    /// Offers passed to this peer that it has not answered, oldest first, by sender.
    unanswered: HashMap<Name, VecDeque<oneshot::Sender<()>>>,
}

/// A handle to one socket.
pub(crate) struct SocketHandle {
    /// Identifies the socket, so that a replaced one cannot act for its successor.
    pub(crate) id: u64,
    pub(crate) outgoing: mpsc::Sender<Utf8Bytes>,
    pub(crate) close: oneshot::Sender<CloseReason>,
    /// Fault injection: the number of answers to this socket that are still to be lost.
    pub(crate) lose_answers: u32,
}

impl Room {
    pub(crate) fn new(name: Name, dedup: OfferDedupHandle) -> Self {
        Self {
            name,
            peers: HashMap::new(),
            dedup,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// Adds a peer. A peer of the same name is disconnected first, even if the room is full then.
    pub(crate) fn enter(&mut self, peer: Name, socket: SocketHandle) -> Result<(), CloseReason> {
        self.remove(&peer, CloseReason::Replaced);
        if self.peers.len() >= MAX_PEERS {
            return Err(CloseReason::RoomFull);
        }
        let peers = self.peers.keys().collect();
        socket.send(Notice::Peers { peers }.text());
        self.broadcast(&Notice::Joined { peer: &peer }.text());
        let unanswered = HashMap::new();
        self.peers.insert(peer, Peer { socket, unanswered });
        Ok(())
    }

    pub(crate) fn leave(&mut self, peer: &Name, socket: u64) {
        if self.is_member(peer, socket) {
            self.remove(peer, CloseReason::Left);
        }
    }

    /// The socket of a peer.
    pub(crate) fn socket(&self, peer: &Name) -> Option<u64> {
        self.peers.get(peer).map(|peer| peer.socket.id)
    }

    /// Queues a message for its target. For an offer, the returned receiver resolves when the target's answer has
    /// passed, and fails when there will be none.
    pub(crate) fn pass(&mut self, message: &Forward) -> Result<Option<oneshot::Receiver<()>>, Failure> {
        let Forward { from, to, .. } = message;
        if !self.is_member(from, message.socket) {
            return Err(Failure::NotInRoom);
        }
        let target = self.peers.get_mut(to).ok_or(Failure::TargetLeft)?;
        if target.socket.id != message.target {
            return Err(Failure::TargetLeft);
        }
        if matches!(message.kind, Kind::Answer) && target.socket.loses_answer() {
            return Ok(None);
        }
        if !target.socket.send(message.text.clone()) {
            self.remove(to, CloseReason::TooSlow);
            return Err(Failure::TargetLeft);
        }
        match message.kind {
            Kind::Offer { .. } => return Ok(Some(target.expect_answer(from))),
            Kind::Answer => self.answered(to, from),
            Kind::Leave => self.hang_up(message),
            Kind::Candidate => {}
        }
        Ok(None)
    }

    fn is_member(&self, peer: &Name, socket: u64) -> bool {
        self.socket(peer) == Some(socket)
    }

    fn remove(&mut self, peer: &Name, reason: CloseReason) {
        let Some(removed) = self.peers.remove(peer) else { return };
        for other in self.peers.values_mut() {
            other.unanswered.remove(peer);
        }
        // A socket that ended by itself no longer listens.
        let _ = removed.socket.close.send(reason);
        self.broadcast(&Notice::Left { peer }.text());
    }

    fn broadcast(&mut self, text: &Utf8Bytes) {
        let slow: Vec<Name> = self
            .peers
            .iter()
            .filter(|(_, peer)| !peer.socket.send(text.clone()))
            .map(|(name, _)| name.clone())
            .collect();
        for peer in slow {
            self.remove(&peer, CloseReason::TooSlow);
        }
    }

    /// Resolves one offer: the oldest whose sender still waits.
    fn answered(&mut self, offerer: &Name, answerer: &Name) {
        let offers = self
            .peers
            .get_mut(answerer)
            .and_then(|peer| peer.unanswered.get_mut(offerer));
        if let Some(offers) = offers {
            while offers.pop_front().is_some_and(|offer| offer.send(()).is_err()) {}
        }
    }

    /// Ends the call between two peers. No offer waits any more, and the next offer of either passes: both keep their
    /// sockets, thus their keys.
    fn hang_up(&mut self, message: &Forward) {
        let sender = (&message.from, message.socket);
        let target = (&message.to, message.target);
        for ((from, from_socket), (to, to_socket)) in [(sender, target), (target, sender)] {
            if let Some(peer) = self.peers.get_mut(to) {
                peer.unanswered.remove(from);
            }
            self.dedup.forget(peer_key(&self.name, from_socket, to_socket));
        }
    }
}

impl Peer {
    fn expect_answer(&mut self, offerer: &Name) -> oneshot::Receiver<()> {
        let (answered, answer) = oneshot::channel();
        let offers = self.unanswered.entry(offerer.clone()).or_default();
        offers.retain(|offer| !offer.is_closed());
        offers.push_back(answered);
        answer
    }
}

impl SocketHandle {
    /// Returns `false` if the socket's queue is full.
    fn send(&self, text: Utf8Bytes) -> bool {
        self.outgoing.try_send(text).is_ok()
    }

    fn loses_answer(&mut self) -> bool {
        let loses = self.lose_answers > 0;
        self.lose_answers = self.lose_answers.saturating_sub(1);
        loses
    }
}
