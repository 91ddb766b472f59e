//! Joining, leaving, and the messages of a socket.

use std::time::{Duration, Instant};

use e2e::room_server::RoomServer;
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::client::{Client, TIMEOUT, negotiate, pair, sdp};

#[tokio::test]
async fn peers_learn_of_each_other() {
    let server = RoomServer::start(&[]);
    let (mut alice, mut bob) = pair(&server).await;
    let carol = Client::join_among(&server, "r", "carol", &["alice", "bob"]).await;
    let joined = json!({ "type": "joined", "peer": "carol" });
    assert_eq!((alice.next().await, bob.next().await), (joined.clone(), joined));
    Client::join(&server, "elsewhere", "carol").await;

    drop(carol);
    let left = json!({ "type": "left", "peer": "carol" });
    assert_eq!((alice.next().await, bob.next().await), (left.clone(), left));

    bob.say(json!({ "type": "leave" })).await;
    assert_eq!(bob.closed().await, (1000, "left the room".into()));
    assert_eq!(alice.next().await, json!({ "type": "left", "peer": "bob" }));
    alice.assert_no_message().await;
}

#[tokio::test]
async fn messages_arrive_whole_with_true_sender() {
    let server = RoomServer::start(&[]);
    let (mut alice, mut bob) = pair(&server).await;

    let sdp = sdp(1);
    alice
        .say(json!({ "type": "offer", "to": "bob", "from": "mallory", "sdp": sdp, "extra": [1, null] }))
        .await;
    let offer = json!({ "type": "offer", "from": "alice", "sdp": sdp, "extra": [1, null] });
    assert_eq!(bob.next().await, offer);
    bob.say(json!({ "type": "answer", "to": "alice", "sdp": "a" })).await;
    assert_eq!(
        alice.next().await,
        json!({ "type": "answer", "from": "bob", "sdp": "a" })
    );
    let candidate = json!({ "candidate": "candidate:1 1 udp 1 10.0.0.1 9 typ host", "sdpMid": "0" });
    bob.say(json!({ "type": "candidate", "to": "alice", "candidate": candidate }))
        .await;
    assert_eq!(
        alice.next().await,
        json!({ "type": "candidate", "from": "bob", "candidate": candidate })
    );
    alice.say(json!({ "type": "leave", "to": "bob" })).await;
    assert_eq!(bob.next().await, json!({ "type": "leave", "from": "alice" }));
    alice.assert_no_message().await;
}

#[tokio::test]
async fn errors_leave_the_socket_open() {
    let server = RoomServer::start(&[]);
    let (mut alice, mut bob) = pair(&server).await;
    let wrong = [
        ("nonsense", "expected ident"),
        ("[]", "expected an object"),
        (r#"{"to":"bob"}"#, "missing field `type`"),
        (r#"{"type":"hello","to":"bob"}"#, "unknown variant `hello`"),
        (r#"{"type":"candidate"}"#, r#"needs its target peer in "to""#),
        (r#"{"type":"candidate","to":7}"#, "expected a string"),
        (r#"{"type":"candidate","to":""}"#, "a name cannot be empty"),
        (r#"{"type":"offer","to":"bob"}"#, r#"needs its SDP as text in "sdp""#),
        (r#"{"type":"answer","to":"bob","sdp":{}}"#, "expected"),
        (
            r#"{"type":"offer","type":"offer","to":"bob"}"#,
            "duplicate field `type`",
        ),
    ];
    for (text, error) in wrong {
        alice.say_text(text).await;
        let reply = alice.next().await;
        assert_eq!(reply["type"], "error", "{text}");
        assert!(
            reply["message"]
                .as_str()
                .expect("the message should be text")
                .contains(error),
            "{text}: {reply}"
        );
    }
    alice
        .socket
        .send(Message::binary(b"{}".as_slice()))
        .await
        .expect("the socket should be open");
    assert_eq!(alice.next().await["message"], "messages are JSON text, not binary");

    alice.offer("nobody", &sdp(1)).await;
    assert_eq!(
        alice.next().await,
        json!({ "type": "error", "to": "nobody", "message": "no such peer in the room" })
    );
    bob.assert_no_message().await;
    negotiate(&mut alice, &mut bob, &sdp(1)).await;
}

#[tokio::test]
async fn oversized_message_closes_the_socket() {
    let server = RoomServer::start(&[]);
    let (mut alice, mut bob) = pair(&server).await;
    let candidate = |bytes: usize| {
        let frame = json!({ "type": "candidate", "to": "bob", "candidate": "" })
            .to_string()
            .len();
        json!({ "type": "candidate", "to": "bob", "candidate": "x".repeat(bytes - frame) }).to_string()
    };
    alice.say_text(candidate(65_536)).await;
    assert_eq!(bob.next().await["type"], "candidate");
    alice.say_text(candidate(65_537)).await;
    assert_eq!(
        alice.next().await,
        json!({ "type": "error", "message": "a message has at most 65536 bytes" })
    );
    assert_eq!(alice.closed().await, (1009, "message too large".into()));
    assert_eq!(bob.next().await, json!({ "type": "left", "peer": "alice" }));

    // A far larger message is not even read.
    let _ = bob.socket.send(Message::binary(vec![0; 32 << 20])).await;
    while let Ok(Some(Ok(_))) = timeout(TIMEOUT, bob.socket.next()).await {}
    Client::join(&server, "r", "carol").await;
}

#[tokio::test]
async fn names_are_checked_before_upgrade() {
    let server = RoomServer::start(&[]);
    let long = "x".repeat(129);
    for (room, peer) in [
        ("r", ""),
        ("r", "%20"),
        ("r", "a%0Ab"),
        ("r", &long),
        (&long, "alice"),
        ("%07", "alice"),
    ] {
        match Client::open(&server, room, peer).await {
            Err(tungstenite::Error::Http(response)) => assert_eq!(response.status(), 400, "{room:?} {peer:?}"),
            other => panic!("{room:?} {peer:?}: {:?}", other.map(|_| ())),
        }
    }
    Client::join(&server, &long[1..], "%C3%A4%20%26").await;
}

#[tokio::test]
async fn newer_socket_of_a_name_wins() {
    let server = RoomServer::start(&["--window-ms", "60000", "--cooldown-ms", "60000"]);
    let (mut old, mut bob) = pair(&server).await;
    negotiate(&mut old, &mut bob, &sdp(1)).await;
    old.offer("bob", &sdp(2)).await;
    old.next().await;

    let mut new = Client::join_among(&server, "r", "alice", &["bob"]).await;
    assert_eq!(
        old.closed().await,
        (4001, "the same name joined from another place".into())
    );
    assert_eq!(bob.next().await, json!({ "type": "left", "peer": "alice" }));
    assert_eq!(bob.next().await, json!({ "type": "joined", "peer": "alice" }));
    negotiate(&mut new, &mut bob, &sdp(1)).await;
    drop(old);
    bob.assert_no_message().await;
    new.assert_no_message().await;
}

#[tokio::test]
async fn slow_reader_is_disconnected() {
    let server = RoomServer::start(&[]);
    let (mut alice, mut bob) = pair(&server).await;
    let large = "x".repeat(60_000);
    let start = Instant::now();
    // Bob reads nothing: the kernel's buffers fill first, then his queue.
    loop {
        alice
            .say(json!({ "type": "candidate", "to": "bob", "candidate": large }))
            .await;
        if let Ok(message) = timeout(Duration::from_millis(1), alice.next()).await {
            let gone = json!({ "type": "left", "peer": "bob" });
            let failed = json!({ "type": "error", "to": "bob", "message": "the peer left the room" });
            assert!(message == gone || message == failed, "{message}");
            break;
        }
        assert!(start.elapsed() < TIMEOUT);
    }
    assert_eq!(bob.closed().await, (4003, "messages were read too slowly".into()));
}

#[tokio::test]
async fn full_room_rejects_newcomers() {
    let server = RoomServer::start(&[]);
    let mut members = Vec::new();
    for n in 0..64 {
        let mut peer = Client::open(&server, "r", &format!("peer-{n}"))
            .await
            .expect("the socket should open");
        // The socket opens before its peer joins the room. The list of peers shows that it has joined.
        assert_eq!(peer.next().await["peers"].as_array().map(Vec::len), Some(n));
        members.push(peer);
    }
    let mut late = Client::open(&server, "r", "late")
        .await
        .expect("the socket should open");
    assert_eq!(late.closed().await, (4002, "the room is full".into()));
    let mut again = Client::open(&server, "r", "peer-0")
        .await
        .expect("the socket should open");
    assert_eq!(again.next().await["peers"].as_array().map(Vec::len), Some(63));
}
