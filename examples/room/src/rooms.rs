//! All rooms, and the sockets' memberships in them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::extract::ws::Utf8Bytes;
use tokio::sync::{mpsc, oneshot};
use tower_offer_dedup::OfferDedupHandle;

use crate::{
    chance::Chance,
    conditions::Conditions,
    messages::{CloseReason, Kind, Name},
    room::{Report, Room, SocketHandle},
    signaling::{Failure, Forward},
};

/// Messages that may wait for one socket. A client that lets more pile up is disconnected.
const MAX_WAITING: usize = 128;

pub(crate) struct Rooms {
    rooms: Mutex<HashMap<Name, Room>>,
    dedup: OfferDedupHandle,
    /// The number of answers to each socket that are lost.
    lose_answers: u32,
    /// The conditions of a new room.
    conditions: Conditions,
    sockets: AtomicU64,
    offers_passed: AtomicU64,
}

/// A socket's membership in a room. Dropping it leaves the room.
#[must_use]
pub(crate) struct Member {
    rooms: Arc<Rooms>,
    pub(crate) room: Name,
    pub(crate) peer: Name,
    socket: u64,
    /// The server's own replies to this socket.
    pub(crate) replies: mpsc::Sender<Utf8Bytes>,
}

/// The room's messages for a socket.
pub(crate) struct Inbox {
    pub(crate) outgoing: mpsc::Receiver<Utf8Bytes>,
    pub(crate) closed: oneshot::Receiver<CloseReason>,
}

impl Rooms {
    /// Creates the list without any room. `dedup` forgets the offers of a call that ends while its peers stay.
    pub(crate) fn new(dedup: OfferDedupHandle, lose_answers: u32, conditions: Conditions) -> Self {
        Self {
            rooms: Mutex::default(),
            dedup,
            lose_answers,
            conditions,
            // Random, so that no two nodes that share a store number their sockets alike.
            sockets: AtomicU64::new(u64::from(Chance::random_seed()) << 32),
            offers_passed: AtomicU64::new(0),
        }
    }

    pub(crate) fn dedup(&self) -> &OfferDedupHandle {
        &self.dedup
    }

    pub(crate) fn offers_passed(&self) -> u64 {
        self.offers_passed.load(Ordering::Relaxed)
    }

    /// Joins a room. A peer of the same name loses its membership.
    pub(crate) fn join(self: &Arc<Self>, room: Name, peer: Name) -> Result<(Member, Inbox), CloseReason> {
        let socket = self.sockets.fetch_add(1, Ordering::Relaxed);
        let (replies, outgoing) = mpsc::channel(MAX_WAITING);
        let (close, closed) = oneshot::channel();
        let handle = SocketHandle {
            id: socket,
            outgoing: replies.clone(),
            close,
            lose_answers: self.lose_answers,
        };
        self.lock()
            .entry(room.clone())
            .or_insert_with(|| Room::new(room.clone(), self.dedup.clone(), self.conditions.clone()))
            .enter(peer.clone(), handle)?;
        let member = Member {
            rooms: Arc::clone(self),
            room,
            peer,
            socket,
            replies,
        };
        Ok((member, Inbox { outgoing, closed }))
    }

    /// Passes a message to its target, as [`Room::pass`] does.
    pub(crate) fn pass(&self, message: &Forward) -> Result<Option<oneshot::Receiver<()>>, Failure> {
        let mut rooms = self.lock();
        let room = rooms.get_mut(&message.room).ok_or(Failure::NotInRoom)?;
        let answer = room.pass(message)?;
        if let Kind::Offer { .. } = message.kind {
            self.offers_passed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(answer)
    }

    /// The conditions of a room, or those of a new one if it is empty.
    pub(crate) fn conditions(&self, room: &Name) -> Conditions {
        let rooms = self.lock();
        rooms
            .get(room)
            .map_or(&self.conditions, |room| &room.conditions)
            .clone()
    }

    /// Changes a room. Returns `false` if nobody is in it.
    pub(crate) fn set_conditions(&self, room: &Name, conditions: Conditions) -> bool {
        match self.lock().get_mut(room) {
            Some(room) => {
                room.conditions = conditions;
                true
            }
            None => false,
        }
    }

    /// Returns what `peer` may know of a room, or `None` if nobody is in it.
    pub(crate) fn report(&self, room: &Name, peer: &Name) -> Option<Report> {
        self.lock().get(room).map(|room| room.report(peer))
    }

    pub(crate) fn count_copy(&self, offer: &Forward) {
        if let Some(room) = self.lock().get_mut(&offer.room) {
            room.count_copy(&offer.from, &offer.to);
        }
    }

    pub(crate) fn count_ignored(&self, room: &Name) {
        if let Some(room) = self.lock().get_mut(room) {
            room.offers_ignored += 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Room>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    /// A message from this peer to the socket that `to` has now.
    pub(crate) fn forward(&self, to: Name, kind: Kind, text: Utf8Bytes) -> Result<Forward, Failure> {
        let rooms = self.rooms.lock();
        let room = rooms.get(&self.room).ok_or(Failure::NotInRoom)?;
        let target = room.socket(&to).ok_or(Failure::NoSuchPeer)?;
        Ok(Forward {
            room: self.room.clone(),
            from: self.peer.clone(),
            to,
            socket: self.socket,
            target,
            kind,
            text,
        })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut rooms = self.rooms.lock();
        let Some(room) = rooms.get_mut(&self.room) else { return };
        room.leave(&self.peer, self.socket);
        if room.is_empty() {
            rooms.remove(&self.room);
        }
    }
}
