//! One room: its peers, and what waits for each of them.

use std::collections::{HashMap, VecDeque};

use axum::extract::ws::Utf8Bytes;
use tokio::sync::{mpsc, oneshot};
use tower_offer_dedup::OfferDedupHandle;

use crate::{
    messages::{Goodbye, Kind, Name, Notice},
    signaling::{Failure, Forward},
};

/// Everyone offers to everyone, so a larger room would not work anyway.
const MAX_PEERS: usize = 64;

pub(crate) struct Room {
    name: Name,
    peers: HashMap<Name, Peer>,
    dedup: OfferDedupHandle,
}

struct Peer {
    line: Line,
    /// Offers passed to this peer that it has not answered, oldest first, by their sender.
    unanswered: HashMap<Name, VecDeque<oneshot::Sender<()>>>,
}

/// The way to one socket.
pub(crate) struct Line {
    /// Tells sockets apart, so that a replaced one does not speak or leave for its successor.
    pub(crate) socket: u64,
    pub(crate) outgoing: mpsc::Sender<Utf8Bytes>,
    pub(crate) goodbye: oneshot::Sender<Goodbye>,
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

    /// Lets a peer in. Whoever had its name is sent away first, whatever the room then has for the newcomer.
    pub(crate) fn enter(&mut self, peer: Name, line: Line) -> Result<(), Goodbye> {
        self.remove(&peer, Goodbye::Replaced);
        if self.peers.len() >= MAX_PEERS {
            return Err(Goodbye::RoomFull);
        }
        let peers = self.peers.keys().collect();
        line.send(Notice::Peers { peers }.text());
        self.tell_all(&Notice::Joined { peer: &peer }.text());
        let unanswered = HashMap::new();
        self.peers.insert(peer, Peer { line, unanswered });
        Ok(())
    }

    pub(crate) fn leave(&mut self, peer: &Name, socket: u64) {
        if self.is_seated(peer, socket) {
            self.remove(peer, Goodbye::Left);
        }
    }

    /// Puts a message into its target's queue. For an offer, what comes back resolves when the target's answer has
    /// passed, and fails when there will be none.
    pub(crate) fn pass(&mut self, message: &Forward) -> Result<Option<oneshot::Receiver<()>>, Failure> {
        let Forward { from, to, socket, .. } = message;
        if !self.is_seated(from, *socket) {
            return Err(Failure::NotInRoom);
        }
        let target = self.peers.get_mut(to).ok_or(Failure::NoSuchPeer)?;
        if !target.line.send(message.text.clone()) {
            self.remove(to, Goodbye::TooSlow);
            return Err(Failure::TargetLeft);
        }
        match message.kind {
            Kind::Offer { .. } => return Ok(Some(target.awaits_answer(from))),
            Kind::Answer => self.answered(to, from),
            Kind::Leave => self.part(from, to),
            Kind::Candidate => {}
        }
        Ok(None)
    }

    fn is_seated(&self, peer: &Name, socket: u64) -> bool {
        self.peers.get(peer).is_some_and(|peer| peer.line.socket == socket)
    }

    fn remove(&mut self, peer: &Name, goodbye: Goodbye) {
        let Some(gone) = self.peers.remove(peer) else { return };
        let others: Vec<Name> = self.peers.keys().cloned().collect();
        for other in &others {
            self.part(peer, other);
        }
        // A socket that ended by itself listens no more.
        let _ = gone.line.goodbye.send(goodbye);
        self.tell_all(&Notice::Left { peer }.text());
    }

    fn tell_all(&mut self, text: &Utf8Bytes) {
        let slow: Vec<Name> = self
            .peers
            .iter()
            .filter(|(_, peer)| !peer.line.send(text.clone()))
            .map(|(name, _)| name.clone())
            .collect();
        for peer in slow {
            self.remove(&peer, Goodbye::TooSlow);
        }
    }

    /// One answer settles one offer: the oldest whose sender still waits.
    fn answered(&mut self, offerer: &Name, answerer: &Name) {
        let offers = self
            .peers
            .get_mut(answerer)
            .and_then(|peer| peer.unanswered.get_mut(offerer));
        if let Some(offers) = offers {
            while offers.pop_front().is_some_and(|offer| offer.send(()).is_err()) {}
        }
    }

    /// Ends what is between two peers: no offer waits any more, and the next one passes whoever makes it.
    fn part(&mut self, one: &Name, other: &Name) {
        for (from, to) in [(one, other), (other, one)] {
            self.dedup.forget((self.name.as_str(), from.as_str(), to.as_str()));
            if let Some(target) = self.peers.get_mut(to) {
                target.unanswered.remove(from);
            }
        }
    }
}

impl Peer {
    fn awaits_answer(&mut self, offerer: &Name) -> oneshot::Receiver<()> {
        let (answered, answer) = oneshot::channel();
        let offers = self.unanswered.entry(offerer.clone()).or_default();
        offers.retain(|offer| !offer.is_closed());
        offers.push_back(answered);
        answer
    }
}

impl Line {
    /// Whether there was space in the socket's queue.
    fn send(&self, text: Utf8Bytes) -> bool {
        self.outgoing.try_send(text).is_ok()
    }
}
