//! One room: its peers, and the offers that wait for each of them.

use std::collections::{HashMap, VecDeque};

use axum::extract::ws::Utf8Bytes;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tower_offer_dedup::OfferDedupHandle;

use crate::{
    conditions::Conditions,
    messages::{CloseReason, Kind, Name, Notice},
    signaling::{Failure, Forward, peer_key},
};

/// Everyone sends an offer to everyone, so a larger room would not work anyway.
const MAX_PEERS: usize = 64;

pub(crate) struct Room {
    name: Name,
    peers: HashMap<Name, Peer>,
    dedup: OfferDedupHandle,
    pub(crate) conditions: Conditions,
    offers_passed: u64,
    pub(crate) offers_ignored: u64,
    /// Answers since the room loses every second one.
    answers: u64,
}

/// The state of a room, for one of its peers.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    conditions: Conditions,
    offers_passed: u64,
    offers_ignored: u64,
    /// By the other peer, since either joined.
    calls: HashMap<Name, Calls>,
}

/// Offers between two peers in both directions, each for a new connection.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Calls {
    copies: u64,
    passed: u64,
}

struct Peer {
    socket: SocketHandle,
    /// Offers passed to this peer that it has not answered, oldest first, by sender.
    unanswered: HashMap<Name, VecDeque<oneshot::Sender<()>>>,
    calls: HashMap<Name, Calls>,
}

/// A handle to one socket.
pub(crate) struct SocketHandle {
    /// Identifies the socket, so that a replaced one cannot act for its successor.
    pub(crate) id: u64,
    pub(crate) outgoing: mpsc::Sender<Utf8Bytes>,
    pub(crate) close: oneshot::Sender<CloseReason>,
    /// Fault injection: the number of answers to this socket that are still to be lost. Their offers stay unanswered.
    pub(crate) lose_answers: u32,
}

impl Room {
    pub(crate) fn new(name: Name, dedup: OfferDedupHandle, conditions: Conditions) -> Self {
        Self {
            name,
            peers: HashMap::new(),
            dedup,
            conditions,
            offers_passed: 0,
            offers_ignored: 0,
            answers: 0,
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
        let (unanswered, calls) = Default::default();
        let joined = Peer {
            socket,
            unanswered,
            calls,
        };
        self.peers.insert(peer, joined);
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
        if !self.is_member(to, message.target) {
            return Err(Failure::TargetLeft);
        }
        if let Kind::Answer = message.kind
            && self.loses_every_second()
        {
            self.answered(to, from);
            return Ok(None);
        }
        let target = self.peers.get_mut(to).ok_or(Failure::TargetLeft)?;
        if let Kind::Answer = message.kind
            && target.socket.loses_answer()
        {
            return Ok(None);
        }
        if !target.socket.send(message.text.clone()) {
            self.remove(to, CloseReason::TooSlow);
            return Err(Failure::TargetLeft);
        }
        match message.kind {
            Kind::Offer { goes_on, .. } => {
                let answer = target.expect_answer(from);
                self.offers_passed += 1;
                if !goes_on {
                    self.count(from, to, |calls| calls.passed += 1);
                }
                return Ok(Some(answer));
            }
            Kind::Answer => self.answered(to, from),
            Kind::Leave => self.hang_up(message),
            Kind::Candidate => {}
        }
        Ok(None)
    }

    pub(crate) fn report(&self, peer: &Name) -> Report {
        Report {
            conditions: self.conditions.clone(),
            offers_passed: self.offers_passed,
            offers_ignored: self.offers_ignored,
            calls: self.peers.get(peer).map(|peer| peer.calls.clone()).unwrap_or_default(),
        }
    }

    pub(crate) fn count_copy(&mut self, from: &Name, to: &Name) {
        // Only for peers in the room, so that the counters are bounded.
        if self.peers.contains_key(from) && self.peers.contains_key(to) {
            self.count(from, to, |calls| calls.copies += 1);
        }
    }

    fn count(&mut self, one: &Name, other: &Name, add: impl Fn(&mut Calls)) {
        for (one, other) in [(one, other), (other, one)] {
            if let Some(peer) = self.peers.get_mut(one) {
                add(peer.calls.entry(other.clone()).or_default());
            }
        }
    }

    fn loses_every_second(&mut self) -> bool {
        if !self.conditions.lose_answers {
            self.answers = 0;
            return false;
        }
        self.answers += 1;
        self.answers % 2 == 1
    }

    fn is_member(&self, peer: &Name, socket: u64) -> bool {
        self.socket(peer) == Some(socket)
    }

    fn remove(&mut self, peer: &Name, reason: CloseReason) {
        let Some(removed) = self.peers.remove(peer) else { return };
        for other in self.peers.values_mut() {
            other.unanswered.remove(peer);
            other.calls.remove(peer);
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
