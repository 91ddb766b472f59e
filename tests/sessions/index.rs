//! The index of sessions: its time and its room.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{sync::Semaphore, time::advance};
use tokio_test::{assert_pending, assert_ready, task::spawn};
use tower::{Layer, Service as _, service_fn, util::BoxCloneSyncService};
use tower_offer_dedup::{
    Fingerprint, Offer, OfferDedupLayer, Refusal,
    answer::{Answer, Duplicates, Ended, Settled},
    extract::{ExtractOffer, Found, SessionUri},
};

use crate::{
    collectors,
    server::{ALICE, BOB, Client, Server},
};

const CAROL: Client = Client {
    token: "carol",
    ..ALICE
};

#[tokio::test(start_paused = true)]
async fn sessions_expire_with_the_window() {
    let server = Server::located(|_| "/session".to_owned());
    server.post(ALICE, 1).await;
    advance(Duration::from_secs(29)).await;
    server.post(BOB, 1).await;
    // Two sessions are in question.
    server.delete(CAROL, "/session", 204).await;
    assert!(server.post(BOB, 1).await.is_replayed);
    advance(Duration::from_secs(1)).await;
    // The first one is past its window.
    server.delete(CAROL, "/session", 204).await;
    assert!(!server.post(BOB, 1).await.is_replayed);
}

#[tokio::test]
async fn expired_sessions_are_collected() {
    let builder = OfferDedupLayer::whip().window(Duration::from_millis(50));
    let server = Server::built(builder, |n| format!("/session/{n}"));
    for id in 0..10 {
        server.post(ALICE, id).await;
    }
    assert!(server.handle.stats().sessions > 0);
    collectors::end().await;
    let stats = server.handle.stats();
    assert_eq!((stats.sessions, stats.bytes, stats.evicted), (0, 0, 0), "{stats:?}");
}

#[tokio::test]
async fn room_for_sessions_is_bounded() {
    for max_memory in [0, 1000, 64 * 1024, 1024 * 1024] {
        let builder = OfferDedupLayer::whip().max_memory(max_memory);
        let server = Server::built(builder, |n| format!("/session/{n}"));
        let mut most = 0;
        for id in 0..1000 {
            server.post(ALICE, id).await;
            most = most.max(server.handle.stats().sessions);
        }
        // An eighth, at 240 bytes each.
        assert!(most <= max_memory / 8 / 240, "{max_memory}: {most}");
        assert_eq!(most > 0, max_memory > 8 * 240, "{max_memory}: {most}");
        if max_memory >= 64 * 1024 {
            // The newest is always there.
            server.delete(ALICE, "/session/999", 204).await;
            assert!(!server.post(ALICE, 999).await.is_replayed);
        }
    }
}

#[tokio::test]
async fn four_sessions_per_uri_are_kept() {
    let server = Server::located(|_| "/session".to_owned());
    let tokens = ["a", "b", "c", "d", "e"];
    let client = |token| Client { token, ..ALICE };
    for token in tokens {
        server.post(client(token), 1).await;
    }
    assert_eq!((server.handle.stats().sessions, server.handle.stats().evicted), (4, 1));
    let mut ended = Vec::new();
    for token in tokens {
        server.delete(client(token), "/session", 404).await;
        ended.push(!server.post(client(token), 1).await.is_replayed);
    }
    assert_eq!(ended, [false, true, true, true, true]);
}

#[tokio::test]
async fn failures_and_clear_leave_no_session() {
    let server = Server::whip();
    server.answer_posts_with(500);
    server.post(ALICE, 1).await;
    assert_eq!(server.handle.stats().sessions, 0);
    server.answer_posts_with(201);
    server.post(ALICE, 1).await;
    assert_eq!(server.handle.stats().sessions, 1);
    server.handle.clear();
    assert_eq!(server.handle.stats().sessions, 0);
}

/// Requests and answers without HTTP.
struct Messages;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Message {
    Offer(&'static str),
    Bye(u8),
    Session(u8),
    Refused,
}

fn uri(id: u8) -> SessionUri {
    SessionUri::new(&[id], b"", b"")
}

impl ExtractOffer<Message> for Messages {
    type Request = Message;
    type Read = Ready<Found<Message, Infallible>>;

    fn extract(&self, message: Message) -> Found<Message, Self::Read> {
        match message {
            Message::Offer(sdp) => Found::Offer(message, Offer::new("p", Fingerprint::sdp(sdp))),
            Message::Bye(id) => Found::Ending(message, uri(id)),
            Message::Session(_) | Message::Refused => Found::Pass(message),
        }
    }
}

impl Answer<Message, Infallible> for Messages {
    type Response = Message;
    type Record = Message;
    type Settle = Ready<Settled<Message, Message>>;

    fn duplicates(&self) -> Duplicates {
        Duplicates::WAIT
    }

    fn pass(&self, message: Message) -> Message {
        message
    }

    fn settle(&self, message: Message, _: &Offer) -> Self::Settle {
        let settled = Settled::success(message).recorded(message, 1);
        ready(match message {
            Message::Session(id) => settled.session(uri(id)),
            _ => settled,
        })
    }

    fn ended(&self, message: &Message) -> Ended {
        if matches!(message, Message::Bye(_)) {
            Ended::Yes
        } else {
            Ended::No
        }
    }

    fn replay(&self, record: &Message) -> Message {
        *record
    }

    fn refuse(&self, _: &Refusal) -> Result<Message, Infallible> {
        Ok(Message::Refused)
    }
}

type Service = BoxCloneSyncService<Message, Message, Infallible>;

/// A service that numbers its sessions and answers an offer once there is a permit.
fn service(permits: Arc<Semaphore>) -> Service {
    let layer = OfferDedupLayer::builder()
        .offers(Messages)
        .answer(Messages)
        .cooldown(Duration::ZERO)
        .build();
    let calls = Arc::new(AtomicU8::new(0));
    BoxCloneSyncService::new(layer.layer(service_fn(move |message| {
        let (calls, permits) = (Arc::clone(&calls), Arc::clone(&permits));
        async move {
            Ok(match message {
                Message::Offer(_) => {
                    permits.acquire().await.unwrap().forget();
                    Message::Session(1 + calls.fetch_add(1, Relaxed))
                }
                message => message,
            })
        }
    })))
}

#[tokio::test]
async fn messages_have_sessions_too() {
    let mut service = service(Arc::new(Semaphore::new(10)));
    for (message, expected) in [
        (Message::Offer("v=0"), Message::Session(1)),
        (Message::Offer("v=0"), Message::Session(1)),
        (Message::Bye(2), Message::Bye(2)),
        (Message::Offer("v=0"), Message::Session(1)),
        (Message::Bye(1), Message::Bye(1)),
        (Message::Offer("v=0"), Message::Session(2)),
    ] {
        assert_eq!(service.call(message).await, Ok(expected), "{message:?}");
    }
}

/// Ends the first session in the moment in which a follower is woken.
struct EndOnWake(Service);

impl Wake for EndOnWake {
    fn wake(self: Arc<Self>) {
        let ended = self.0.clone().call(Message::Bye(1)).now_or_never();
        assert_eq!(ended, Some(Ok(Message::Bye(1))));
    }
}

#[tokio::test]
async fn session_is_known_before_followers_wake() {
    let permits = Arc::new(Semaphore::new(0));
    let mut service = service(Arc::clone(&permits));
    let mut leader = spawn(service.call(Message::Offer("v=0")));
    assert_pending!(leader.poll());
    let waker = Waker::from(Arc::new(EndOnWake(service.clone())));
    let mut follower = service.call(Message::Offer("v=0"));
    assert_pending!(follower.as_mut().poll(&mut Context::from_waker(&waker)));

    permits.add_permits(2);
    assert_eq!(assert_ready!(leader.poll()), Ok(Message::Session(1)));
    assert_eq!(follower.await, Ok(Message::Session(1)));
    assert_eq!(service.call(Message::Offer("v=0")).await, Ok(Message::Session(2)));
}
