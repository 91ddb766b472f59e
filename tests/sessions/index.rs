//! The index of sessions: its time and its room.

use std::{convert::Infallible, time::Duration};

use tokio::time::advance;
use tower::{Layer, Service, service_fn};
use tower_offer_dedup::{
    Fingerprint, Offer, OfferDedupLayer, Refusal,
    answer::{Answer, Ended, Settled},
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
    type Read = std::future::Ready<Found<Message, Infallible>>;

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
    type Record = Infallible;
    type Settle = std::future::Ready<Settled<Message, Infallible>>;

    fn pass(&self, message: Message) -> Message {
        message
    }

    fn settle(&self, message: Message, _: &Offer) -> Self::Settle {
        let settled = Settled::success(message);
        std::future::ready(match message {
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

    fn replay(&self, record: &Infallible) -> Message {
        match *record {}
    }

    fn refuse(&self, _: &Refusal) -> Result<Message, Infallible> {
        Ok(Message::Refused)
    }
}

#[tokio::test]
async fn messages_have_sessions_too() {
    let layer = OfferDedupLayer::builder()
        .offers(Messages)
        .answer(Messages)
        .cooldown(Duration::ZERO)
        .build();
    let mut calls = 0;
    let mut service = layer.layer(service_fn(move |message| {
        let answer = match message {
            Message::Offer(_) => {
                calls += 1;
                Message::Session(calls)
            }
            message => message,
        };
        std::future::ready(Ok::<_, Infallible>(answer))
    }));
    for (message, expected) in [
        (Message::Offer("v=0"), Message::Session(1)),
        (Message::Offer("v=0"), Message::Refused),
        (Message::Bye(2), Message::Bye(2)),
        (Message::Offer("v=0"), Message::Refused),
        (Message::Bye(1), Message::Bye(1)),
        (Message::Offer("v=0"), Message::Session(2)),
    ] {
        assert_eq!(service.call(message).await, Ok(expected), "{message:?}");
    }
}
