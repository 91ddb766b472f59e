//! The service that passes messages between peers, and the layer that lets each offer through once.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::extract::ws::Utf8Bytes;
use tokio::{sync::oneshot, time::timeout};
use tower::{Layer, Service, ServiceExt, util::BoxCloneSyncService};
use tower_offer_dedup::{Fingerprint, Offer, OfferDedupLayer, PeerKey, Reason, Refuse, WhenBusy};

use crate::{
    args::Settings,
    chance::Chance,
    messages::{Kind, Name},
    rooms::Rooms,
};

type Handler = BoxCloneSyncService<Forward, Outcome, Failure>;

/// Handles messages from one peer to another.
#[derive(Clone)]
pub(crate) struct Signaling {
    with_layer: Handler,
    without: Handler,
    rooms: Arc<Rooms>,
    chance: Chance,
}

const QUEUE: WhenBusy = WhenBusy::Queue {
    depth: 8,
    timeout: Duration::from_secs(10),
};

#[derive(Clone, Debug)]
pub(crate) struct Forward {
    pub(crate) room: Name,
    pub(crate) from: Name,
    pub(crate) to: Name,
    /// The sender's socket.
    pub(crate) socket: u64,
    /// The target's socket at the time when the message was sent.
    pub(crate) target: u64,
    pub(crate) kind: Kind,
    /// The text for the target.
    pub(crate) text: Utf8Bytes,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    /// The target has the message. If it was an offer, the target has answered it.
    Passed,
    /// The offer was ignored.
    Ignored {
        reason: Reason,
        retry_after: Option<Duration>,
    },
}

/// The reason why a message failed. An offer may be sent again at once.
#[derive(Debug)]
pub(crate) enum Failure {
    NotInRoom,
    NoSuchPeer,
    TargetLeft,
    CallEnded,
    NotAnswered,
}

/// One layer for the whole server. The key distinguishes pairs of sockets.
pub(crate) async fn signaling(settings: &Settings) -> Result<(Signaling, Arc<Rooms>), String> {
    let builder = if settings.newest_wins {
        OfferDedupLayer::room()
    } else {
        OfferDedupLayer::builder()
            .cooldown(settings.cooldown)
            .when_busy(if settings.queue { QUEUE } else { WhenBusy::Refuse })
    };
    let builder = settings.sharing.share(builder, "room:").await?;
    let once = builder
        .offers(offer)
        .window(settings.window)
        // Longer than any offer waits, so the answer time-out always comes first.
        .lease(settings.answer_timeout + Duration::from_secs(5))
        .answer(Refuse::with(|refusal| Outcome::Ignored {
            reason: refusal.reason(),
            retry_after: refusal.retry_after(),
        }))
        .build();

    let rooms = Arc::new(Rooms::new(once.handle(), settings.lose_answers, settings.conditions()));
    let forwarder = Forwarder {
        rooms: Arc::clone(&rooms),
        answer_timeout: settings.answer_timeout,
    };
    let signaling = Signaling {
        with_layer: BoxCloneSyncService::new(once.layer(forwarder.clone())),
        without: BoxCloneSyncService::new(forwarder),
        rooms: Arc::clone(&rooms),
        chance: Chance::new(settings.repeat_seed.unwrap_or_else(Chance::random_seed)),
    };
    Ok((signaling, rooms))
}

impl Signaling {
    /// The delays after which the room's network repeats a message.
    pub(crate) fn repetitions(&self, message: &Forward) -> Vec<Duration> {
        match message.kind {
            Kind::Offer { .. } => self.rooms.conditions(&message.room).delays(&self.chance),
            Kind::Answer | Kind::Candidate | Kind::Leave => Vec::new(),
        }
    }

    /// Handles one copy of a message, behind the layer if the room has it.
    pub(crate) async fn handle(self, message: Forward) -> Result<Outcome, Failure> {
        if let Kind::Offer { goes_on: false, .. } = message.kind {
            self.rooms.count_copy(&message);
        }
        let room = message.room.clone();
        let handler = if self.rooms.conditions(&room).layer {
            self.with_layer
        } else {
            self.without
        };
        let outcome = handler.oneshot(message).await;
        if let Ok(Outcome::Ignored { .. }) = outcome {
            self.rooms.count_ignored(&room);
        }
        outcome
    }
}

fn offer(message: &Forward) -> Option<Offer> {
    let Forward { room, from, to, .. } = message;
    let Kind::Offer { sdp, .. } = &message.kind else {
        return None;
    };
    let key = peer_key(room, message.socket, message.target);
    Some(Offer::new(key, Fingerprint::sdp(sdp)).label(format!("{from} to {to} in {room}")))
}

/// The key of one direction of a call. A peer that joins again has a new socket, so its calls have new keys: offers to
/// it and from it neither wait for those of its old socket nor count as their duplicates.
pub(crate) fn peer_key(room: &Name, from: u64, to: u64) -> PeerKey {
    (room.as_str(), from, to).into()
}

#[derive(Clone)]
struct Forwarder {
    rooms: Arc<Rooms>,
    answer_timeout: Duration,
}

impl Service<Forward> for Forwarder {
    type Response = Outcome;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Outcome, Failure>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, message: Forward) -> Self::Future {
        // Passes the message here and not in the future, so that messages keep the order of the calls.
        let passed = self.rooms.pass(&message);
        let answer_timeout = self.answer_timeout;
        Box::pin(async move {
            if let Some(answer) = passed? {
                answered(answer, answer_timeout).await?;
            }
            Ok(Outcome::Passed)
        })
    }
}

async fn answered(answer: oneshot::Receiver<()>, within: Duration) -> Result<(), Failure> {
    match timeout(within, answer).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Failure::CallEnded),
        Err(_) => Err(Failure::NotAnswered),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotInRoom => "you are not in the room any more",
            Self::NoSuchPeer => "no such peer in the room",
            Self::TargetLeft => "the peer left the room",
            Self::CallEnded => "the call ended before the offer was answered",
            Self::NotAnswered => "the offer was not answered in time",
        })
    }
}
