//! The room server's protocol, over real sockets.

use std::{
    process::Output,
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message, protocol::CloseFrame},
};

use crate::room_server::RoomServer;

mod room_server;

const PATIENCE: Duration = Duration::from_secs(20);

struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    /// Joins, and takes the list of peers.
    async fn join(server: &RoomServer, room: &str, peer: &str) -> Self {
        Self::join_among(server, room, peer, &[]).await
    }

    async fn join_among(server: &RoomServer, room: &str, peer: &str, others: &[&str]) -> Self {
        let mut client = Self::open(server, room, peer)
            .await
            .expect("the server takes the socket");
        let mut greeting = client.next().await;
        let peers = greeting["peers"].as_array_mut().expect("a list of peers");
        peers.sort_by_key(Value::to_string);
        assert_eq!(greeting, json!({ "type": "peers", "peers": others }));
        client
    }

    async fn open(server: &RoomServer, room: &str, peer: &str) -> Result<Self, tungstenite::Error> {
        let url = format!("ws://{}/ws/{room}?peer={peer}", server.address);
        let (socket, _) = connect_async(url).await?;
        Ok(Self { socket })
    }

    async fn say(&mut self, message: Value) {
        self.say_text(message.to_string()).await;
    }

    async fn say_text(&mut self, text: impl Into<String>) {
        self.socket
            .send(Message::text(text.into()))
            .await
            .expect("the socket is open");
    }

    /// The next message from the server.
    async fn next(&mut self) -> Value {
        loop {
            match self.frame().await {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Ping(_) => {}
                other => panic!("expected text, got {other:?}"),
            }
        }
    }

    /// Code and reason of the server's close frame.
    async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.frame().await {
                Message::Close(Some(CloseFrame { code, reason })) => return (code.into(), reason.to_string()),
                Message::Close(None) => panic!("closed without a reason"),
                _ => {}
            }
        }
    }

    async fn frame(&mut self) -> Message {
        let frame = timeout(PATIENCE, self.socket.next()).await;
        frame
            .expect("the server says something in time")
            .expect("the socket is open")
            .expect("a whole frame")
    }

    /// Asserts that nothing has come, by what the server says to a message that it must answer after all before it.
    async fn heard_nothing(&mut self) {
        self.say_text("?").await;
        let reply = self.next().await;
        assert_eq!(reply["type"], "error", "something came: {reply}");
    }

    async fn offer(&mut self, to: &str, sdp: &str) {
        self.say(json!({ "type": "offer", "to": to, "sdp": sdp })).await;
    }

    async fn answer(&mut self, to: &str) {
        self.say(json!({ "type": "answer", "to": to, "sdp": "v=0 answer" }))
            .await;
    }
}

/// An offer as browsers make them, new for each `id`.
fn sdp(id: u32) -> String {
    format!(
        "v=0\r\no=- {id} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
         m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=setup:actpass\r\n\
         a=ice-ufrag:u{id}\r\na=ice-pwd:pwdpwdpwdpwdpwdpwdpwdpwd{id}\r\na=sctp-port:5000\r\n"
    )
}

/// Alice and Bob in one room.
async fn pair(server: &RoomServer) -> (Client, Client) {
    let mut alice = Client::join(server, "r", "alice").await;
    let bob = Client::join_among(server, "r", "bob", &["alice"]).await;
    assert_eq!(alice.next().await, json!({ "type": "joined", "peer": "bob" }));
    (alice, bob)
}

/// Alice offers, Bob answers, both messages arrive.
async fn negotiate(alice: &mut Client, bob: &mut Client, sdp: &str) {
    alice.offer("bob", sdp).await;
    assert_eq!(bob.next().await["sdp"], *sdp);
    bob.answer("alice").await;
    assert_eq!(alice.next().await["type"], "answer");
}

fn ignored(message: &Value, to: &str, reason: &str) -> Option<u64> {
    assert_eq!(
        (&message["type"], &message["to"], &message["reason"]),
        (&json!("ignored"), &json!(to), &json!(reason))
    );
    message["retry_after_ms"].as_u64()
}

async fn stats(server: &RoomServer) -> Value {
    let response = get(server, "/stats").await;
    let (_, body) = response.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).expect("JSON")
}

async fn get(server: &RoomServer, path: &str) -> String {
    let mut stream = TcpStream::connect(&server.address).await.expect("the server listens");
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
        server.address
    );
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut response = String::new();
    stream.read_to_string(&mut response).await.expect("it answers");
    response
}

#[tokio::test]
async fn peers_hear_of_each_other() {
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
    alice.heard_nothing().await;
}

#[tokio::test]
async fn messages_arrive_whole_with_the_true_sender() {
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
    alice.heard_nothing().await;
}

#[tokio::test]
async fn errors_are_told_and_the_socket_stays_open() {
    let server = RoomServer::start(&[]);
    let (mut alice, mut bob) = pair(&server).await;
    let wrong = [
        ("nonsense", "expected ident"),
        ("[]", "expected an object"),
        (r#"{"to":"bob"}"#, "missing field `type`"),
        (r#"{"type":"hello","to":"bob"}"#, "unknown variant `hello`"),
        (r#"{"type":"candidate"}"#, r#"needs the peer it is for in "to""#),
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
            reply["message"].as_str().expect("text").contains(error),
            "{text}: {reply}"
        );
    }
    alice
        .socket
        .send(Message::binary(b"{}".as_slice()))
        .await
        .expect("open");
    assert_eq!(alice.next().await["message"], "messages are JSON text, not binary");

    alice.offer("nobody", &sdp(1)).await;
    assert_eq!(
        alice.next().await,
        json!({ "type": "error", "to": "nobody", "message": "no such peer in the room" })
    );
    bob.heard_nothing().await;
    negotiate(&mut alice, &mut bob, &sdp(1)).await;
}

#[tokio::test]
async fn a_message_too_large_closes_the_socket() {
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

    // Far too large, it is not even read.
    let _ = bob.socket.send(Message::binary(vec![0; 32 << 20])).await;
    while let Ok(Some(Ok(_))) = timeout(PATIENCE, bob.socket.next()).await {}
    Client::join(&server, "r", "carol").await;
}

#[tokio::test]
async fn names_are_checked_before_the_socket_opens() {
    let server = RoomServer::start(&[]);
    let long = "x".repeat(65);
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
async fn a_duplicate_in_flight_is_ignored() {
    let server = RoomServer::start(&[]);
    let (mut alice, mut bob) = pair(&server).await;
    alice.offer("bob", &sdp(1)).await;
    bob.next().await;
    alice.offer("bob", &sdp(1)).await;
    ignored(&alice.next().await, "bob", "in_flight");
    alice.offer("bob", &sdp(2)).await;
    assert!(ignored(&alice.next().await, "bob", "busy").is_some_and(|retry| retry > 0));
    bob.heard_nothing().await;

    bob.answer("alice").await;
    assert_eq!(alice.next().await["type"], "answer");
    bob.heard_nothing().await;
}

#[tokio::test]
async fn a_processed_duplicate_is_ignored_and_another_offer_cools_down() {
    let server = RoomServer::start(&["--window-ms", "60000", "--cooldown-ms", "3000"]);
    let (mut alice, mut bob) = pair(&server).await;
    negotiate(&mut alice, &mut bob, &sdp(1)).await;

    alice.offer("bob", &sdp(1)).await;
    assert_eq!(ignored(&alice.next().await, "bob", "processed"), None);
    alice.offer("bob", &sdp(2)).await;
    let retry = ignored(&alice.next().await, "bob", "cooling_down").expect("a time to retry after");
    assert!((1..=3000).contains(&retry), "{retry}");
    bob.heard_nothing().await;

    tokio::time::sleep(Duration::from_millis(retry)).await;
    negotiate(&mut alice, &mut bob, &sdp(2)).await;
    alice.offer("bob", &sdp(1)).await;
    ignored(&alice.next().await, "bob", "processed");
}

#[tokio::test]
async fn past_the_window_an_offer_is_processed_again() {
    let server = RoomServer::start(&["--window-ms", "300", "--cooldown-ms", "0"]);
    let (mut alice, mut bob) = pair(&server).await;
    let start = Instant::now();
    negotiate(&mut alice, &mut bob, &sdp(1)).await;
    loop {
        alice.offer("bob", &sdp(1)).await;
        tokio::select! {
            again = bob.next() => break assert_eq!(again["sdp"], sdp(1)),
            reply = alice.next() => ignored(&reply, "bob", "processed"),
        };
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
}

#[tokio::test]
async fn the_other_direction_and_other_targets_are_free() {
    let server = RoomServer::start(&[]);
    let (mut alice, mut bob) = pair(&server).await;
    let mut carol = Client::join_among(&server, "r", "carol", &["alice", "bob"]).await;
    alice.next().await;
    bob.next().await;

    alice.offer("bob", &sdp(1)).await;
    alice.offer("carol", &sdp(1)).await;
    bob.offer("alice", &sdp(1)).await;
    assert_eq!(bob.next().await["from"], "alice");
    assert_eq!(carol.next().await["from"], "alice");
    assert_eq!(alice.next().await["from"], "bob");
    carol.answer("alice").await;
    assert_eq!(alice.next().await["from"], "carol");
    assert_eq!(stats(&server).await["stats"]["claims"], 2);
}

#[tokio::test]
async fn a_waiting_offer_holds_up_no_candidate() {
    let server = RoomServer::start(&["--repeat", "3", "--repeat-delay-ms", "0"]);
    let (mut alice, mut bob) = pair(&server).await;
    alice.offer("bob", &sdp(1)).await;
    for n in 0..50 {
        alice
            .say(json!({ "type": "candidate", "to": "bob", "candidate": n }))
            .await;
    }
    assert_eq!(
        bob.next().await["type"],
        "offer",
        "an offer arrives before its candidates"
    );
    for n in 0..50 {
        assert_eq!(bob.next().await["candidate"], n);
    }
    bob.answer("alice").await;
    bob.say(json!({ "type": "candidate", "to": "alice", "candidate": 0 }))
        .await;
    for _ in 0..3 {
        ignored(&alice.next().await, "bob", "in_flight");
    }
    assert_eq!(
        alice.next().await["type"],
        "answer",
        "an answer arrives before its candidates"
    );
    assert_eq!(alice.next().await["type"], "candidate");
}

#[tokio::test]
async fn repeated_offers_arrive_once_with_the_layer_and_each_time_without() {
    for (flags, arrivals) in [(&["--repeat", "3"][..], 1), (&["--repeat", "3", "--no-dedup"], 4)] {
        let server = RoomServer::start(flags);
        let (mut alice, mut bob) = pair(&server).await;
        alice.offer("bob", &sdp(1)).await;
        for _ in 0..arrivals {
            assert_eq!(bob.next().await["sdp"], sdp(1));
            bob.answer("alice").await;
        }
        let mut answers = 0;
        for _ in 0..4 {
            let reply = alice.next().await;
            match reply["type"].as_str() {
                Some("answer") => answers += 1,
                _ => assert_eq!(reply["type"], "ignored"),
            }
        }
        assert_eq!(answers, arrivals, "{flags:?}");
        bob.heard_nothing().await;
        alice.heard_nothing().await;
    }
}

#[tokio::test]
async fn an_offer_without_an_answer_fails_and_may_be_retried() {
    let server = RoomServer::start(&["--answer-timeout-ms", "200"]);
    let (mut alice, mut bob) = pair(&server).await;
    for _ in 0..2 {
        alice.offer("bob", &sdp(1)).await;
        assert_eq!(bob.next().await["sdp"], sdp(1));
        let error = json!({ "type": "error", "to": "bob", "message": "the offer was not answered in time" });
        assert_eq!(alice.next().await, error);
    }
    negotiate(&mut alice, &mut bob, &sdp(1)).await;
    let stats = stats(&server).await;
    assert_eq!(
        (&stats["stats"]["failed"], &stats["stats"]["completed"]),
        (&json!(2), &json!(1))
    );
}

#[tokio::test]
async fn an_offer_to_one_who_leaves_fails_at_once() {
    let server = RoomServer::start(&[]);
    let (mut alice, mut bob) = pair(&server).await;
    alice.offer("bob", &sdp(1)).await;
    bob.next().await;
    bob.say(json!({ "type": "leave" })).await;
    let mut replies = [alice.next().await, alice.next().await];
    replies.sort_by_key(Value::to_string);
    let error = json!({ "type": "error", "to": "bob", "message": "the peer left the room" });
    assert_eq!(replies, [error, json!({ "type": "left", "peer": "bob" })]);
}

#[tokio::test]
async fn rejoining_starts_afresh() {
    let server = RoomServer::start(&["--window-ms", "60000", "--cooldown-ms", "60000"]);
    let (mut alice, mut bob) = pair(&server).await;
    // In either role: as the one who offers, and as the one who answers.
    for _ in 0..3 {
        negotiate(&mut alice, &mut bob, &sdp(1)).await;
        drop(alice);
        assert_eq!(bob.next().await["type"], "left");
        alice = Client::join_among(&server, "r", "alice", &["bob"]).await;
        assert_eq!(bob.next().await["type"], "joined");
        negotiate(&mut alice, &mut bob, &sdp(1)).await;
        drop(bob);
        assert_eq!(alice.next().await["type"], "left");
        bob = Client::join_among(&server, "r", "bob", &["alice"]).await;
        assert_eq!(alice.next().await["type"], "joined");
    }
    negotiate(&mut alice, &mut bob, &sdp(1)).await;
    // Hanging up on one peer is enough.
    alice.say(json!({ "type": "leave", "to": "bob" })).await;
    assert_eq!(bob.next().await["type"], "leave");
    negotiate(&mut alice, &mut bob, &sdp(1)).await;
}

#[tokio::test]
async fn what_is_on_its_way_is_dropped_with_its_socket() {
    let server = RoomServer::start(&["--repeat", "3", "--repeat-delay-ms", "100"]);
    let (mut alice, mut bob) = pair(&server).await;
    alice.offer("bob", &sdp(1)).await;
    bob.next().await;
    assert_eq!(stats(&server).await["stats"]["claims"], 1);
    drop(alice);
    assert_eq!(bob.next().await, json!({ "type": "left", "peer": "alice" }));
    let start = Instant::now();
    while stats(&server).await["stats"]["claims"] != 0 {
        assert!(start.elapsed() < PATIENCE);
    }
    let mut alice = Client::join_among(&server, "r", "alice", &["bob"]).await;
    bob.next().await;
    // An answer that comes late is nobody's.
    bob.answer("alice").await;
    assert_eq!(alice.next().await["type"], "answer");
    tokio::time::sleep(Duration::from_millis(400)).await;
    bob.heard_nothing().await;
    alice.heard_nothing().await;
}

#[tokio::test]
async fn the_newer_socket_of_a_name_wins() {
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
    bob.heard_nothing().await;
    new.heard_nothing().await;
}

#[tokio::test]
async fn a_slow_reader_is_sent_away() {
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
        assert!(start.elapsed() < PATIENCE);
    }
    assert_eq!(bob.closed().await, (4003, "messages were read too slowly".into()));
}

#[tokio::test]
async fn a_full_room_turns_newcomers_away() {
    let server = RoomServer::start(&[]);
    let mut seated = Vec::new();
    for n in 0..64 {
        seated.push(Client::open(&server, "r", &format!("peer-{n}")).await.expect("a seat"));
    }
    let mut late = Client::open(&server, "r", "late").await.expect("told over the socket");
    assert_eq!(late.closed().await, (4002, "the room is full".into()));
    let mut again = Client::open(&server, "r", "peer-0").await.expect("a seat of its own");
    assert_eq!(again.next().await["peers"].as_array().map(Vec::len), Some(63));
}

#[tokio::test]
async fn stats_count_what_happened() {
    let server = RoomServer::start(&["--repeat", "2"]);
    let (mut alice, mut bob) = pair(&server).await;
    alice.offer("bob", &sdp(1)).await;
    bob.next().await;
    bob.answer("alice").await;
    let mut replies = Vec::new();
    for _ in 0..3 {
        replies.push(alice.next().await["type"].clone());
    }
    replies.sort_by_key(Value::to_string);
    assert_eq!(replies, ["answer", "ignored", "ignored"]);

    let all = stats(&server).await;
    let expected = json!({ "dedup": true, "repeat": 2, "window_ms": 10_000, "cooldown_ms": 2_000 });
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(all[name], *value, "{name}");
    }
    assert_eq!((&all["offers_passed"], &all["offers_ignored"]), (&json!(1), &json!(2)));
    assert_eq!(
        (&all["stats"]["admitted"], &all["stats"]["completed"]),
        (&json!(1), &json!(1))
    );

    let bare = RoomServer::start(&["--no-dedup"]);
    let (mut alice, mut bob) = pair(&bare).await;
    negotiate(&mut alice, &mut bob, &sdp(1)).await;
    negotiate(&mut alice, &mut bob, &sdp(1)).await;
    let all = stats(&bare).await;
    assert_eq!((&all["dedup"], &all["offers_passed"]), (&json!(false), &json!(2)));
    assert_eq!(all["stats"]["admitted"], 0);
}

#[tokio::test]
async fn the_page_and_its_parts_are_served() {
    let server = RoomServer::start(&[]);
    let page = get(&server, "/").await;
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    let parts = page
        .split(['"', '\''])
        .filter(|part| part.ends_with(".js") || part.ends_with(".css"));
    for part in parts.chain(["chart.js", "mesh.js", "signaling.js", "view.js"]) {
        let response = get(&server, &format!("/{part}")).await;
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{part}: {response}");
    }
    assert!(get(&server, "/nothing").await.starts_with("HTTP/1.1 404"));
}

#[cfg(unix)]
#[tokio::test]
async fn an_interrupt_closes_every_socket_and_ends_well() {
    let mut server = RoomServer::start(&[]);
    let (mut alice, mut bob) = pair(&server).await;
    alice.offer("bob", &sdp(1)).await;
    bob.next().await;
    let interrupt = std::process::Command::new("kill")
        .args(["-INT", &server.child.id().to_string()])
        .status();
    assert!(interrupt.expect("kill runs").success());
    for client in [&mut alice, &mut bob] {
        assert_eq!(client.closed().await, (1001, "the server is shutting down".into()));
    }
    drop((alice, bob));
    assert_eq!(server.child.wait().expect("it ends").code(), Some(0));
}

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = RoomServer::command().args(args).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn wrong_flags_are_told_in_a_line() {
    let wrong: &[(&[&str], &str)] = &[
        (&["--nonsense"], "invalid option '--nonsense'"),
        (&["-x"], "invalid option '-x'"),
        (&["3000"], "unexpected argument \"3000\""),
        (&["--listen"], "missing argument for option '--listen'"),
        (
            &["--listen", "here"],
            "--listen wants ADDRESS:PORT such as 127.0.0.1:3000, not \"here\"",
        ),
        (
            &["--repeat", "many"],
            "--repeat wants a whole number up to 100, not \"many\"",
        ),
        (
            &["--repeat", "101"],
            "--repeat wants a whole number up to 100, not \"101\"",
        ),
        (
            &["--window-ms", "-1"],
            "--window-ms wants a whole number up to 3600000, not \"-1\"",
        ),
        (
            &["--cooldown-ms", "1.5"],
            "--cooldown-ms wants a whole number up to 3600000, not \"1.5\"",
        ),
        (&["--no-dedup=1"], "unexpected argument for option '--no-dedup'"),
    ];
    for (args, error) in wrong {
        let (code, stdout, stderr) = run(args);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{args:?}");
        assert!(stderr.contains(error), "{args:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
    }
}

#[test]
fn a_busy_port_is_told_in_a_line() {
    let server = RoomServer::start(&[]);
    let (code, stdout, stderr) = run(&["--listen", &server.address]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    let error = format!("room: cannot listen on {}: Address already in use", server.address);
    assert!(stderr.starts_with(&error) && stderr.lines().count() == 1, "{stderr}");
}

#[test]
fn help_lists_every_flag() {
    let (code, stdout, stderr) = run(&["--help"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let flags = [
        "--listen",
        "--no-dedup",
        "--repeat",
        "--repeat-delay-ms",
        "--window-ms",
        "--cooldown-ms",
    ];
    for flag in flags
        .into_iter()
        .chain(["--answer-timeout-ms", "RUST_LOG=tower_offer_dedup=debug"])
    {
        assert!(stdout.contains(flag), "{flag}");
    }
}
