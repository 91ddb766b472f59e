//! A client of the room server, and steps that several tests share.

use std::time::Duration;

use e2e::room_server::RoomServer;
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

pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    /// Joins an empty room and reads the list of peers.
    pub(crate) async fn join(server: &RoomServer, room: &str, peer: &str) -> Self {
        Self::join_among(server, room, peer, &[]).await
    }

    pub(crate) async fn join_among(server: &RoomServer, room: &str, peer: &str, others: &[&str]) -> Self {
        let mut client = Self::open(server, room, peer)
            .await
            .expect("the server should accept the socket");
        let mut greeting = client.next().await;
        let peers = greeting["peers"]
            .as_array_mut()
            .expect("the greeting should list the peers");
        peers.sort_by_key(Value::to_string);
        assert_eq!(greeting, json!({ "type": "peers", "peers": others }));
        client
    }

    pub(crate) async fn open(server: &RoomServer, room: &str, peer: &str) -> Result<Self, tungstenite::Error> {
        let url = format!("ws://{}/ws/{room}?peer={peer}", server.address);
        let (socket, _) = connect_async(url).await?;
        Ok(Self { socket })
    }

    pub(crate) async fn say(&mut self, message: Value) {
        self.say_text(message.to_string()).await;
    }

    pub(crate) async fn say_text(&mut self, text: impl Into<String>) {
        self.socket
            .send(Message::text(text.into()))
            .await
            .expect("the socket should be open");
    }

    /// Returns the next message from the server.
    pub(crate) async fn next(&mut self) -> Value {
        match self.frame().await {
            Message::Text(text) => serde_json::from_str(&text).expect("the text should be JSON"),
            other => panic!("expected text, got {other:?}"),
        }
    }

    /// Returns code and reason of the server's close frame, and skips the frames before it.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.frame().await {
                Message::Close(Some(CloseFrame { code, reason })) => return (code.into(), reason.to_string()),
                Message::Close(None) => panic!("closed without a reason"),
                _ => {}
            }
        }
    }

    async fn frame(&mut self) -> Message {
        let frame = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Ping(_))) => {}
                    frame => break frame,
                }
            }
        };
        let frame = timeout(TIMEOUT, frame).await;
        frame
            .expect("the server should send a frame in time")
            .expect("the socket should be open")
            .expect("the frame should be valid")
    }

    /// Asserts that no message is waiting: the next one must be the error for an invalid message sent now. By then,
    /// earlier offers of this client that were answered are complete.
    pub(crate) async fn assert_no_message(&mut self) {
        self.say_text("?").await;
        let reply = self.next().await;
        assert_eq!(reply["type"], "error", "something came: {reply}");
    }

    pub(crate) async fn offer(&mut self, to: &str, sdp: &str) {
        self.say(json!({ "type": "offer", "to": to, "sdp": sdp })).await;
    }

    pub(crate) async fn answer(&mut self, to: &str) {
        self.say(json!({ "type": "answer", "to": to, "sdp": "v=0 answer" }))
            .await;
    }
}

/// An SDP offer like a browser's, different for each `id`.
pub(crate) fn sdp(id: u32) -> String {
    format!(
        "v=0\r\no=- {id} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
         m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=setup:actpass\r\n\
         a=ice-ufrag:u{id}\r\na=ice-pwd:pwdpwdpwdpwdpwdpwdpwdpwd{id}\r\na=sctp-port:5000\r\n"
    )
}

/// Alice and Bob in one room.
pub(crate) async fn pair(server: &RoomServer) -> (Client, Client) {
    let mut alice = Client::join(server, "r", "alice").await;
    let bob = Client::join_among(server, "r", "bob", &["alice"]).await;
    assert_eq!(alice.next().await, json!({ "type": "joined", "peer": "bob" }));
    (alice, bob)
}

/// Sends an offer from Alice and an answer from Bob, and checks that both arrive.
pub(crate) async fn negotiate(alice: &mut Client, bob: &mut Client, sdp: &str) {
    alice.offer("bob", sdp).await;
    assert_eq!(bob.next().await["sdp"], *sdp);
    bob.answer("alice").await;
    assert_eq!(alice.next().await["type"], "answer");
}

pub(crate) fn ignored(message: &Value, to: &str, reason: &str) -> Option<u64> {
    assert_eq!(
        (&message["type"], &message["to"], &message["reason"]),
        (&json!("ignored"), &json!(to), &json!(reason))
    );
    message["retry_after_ms"].as_u64()
}

pub(crate) async fn stats(server: &RoomServer) -> Value {
    let response = get(server, "/stats").await;
    let (_, body) = response
        .split_once("\r\n\r\n")
        .expect("the response should have a body");
    serde_json::from_str(body).expect("the text should be JSON")
}

pub(crate) async fn get(server: &RoomServer, path: &str) -> String {
    request(server, "GET", path, "").await
}

/// Sends a request with a JSON body. Returns the whole response.
pub(crate) async fn request(server: &RoomServer, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(&server.address)
        .await
        .expect("the server should listen");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        server.address,
        body.len()
    );
    stream
        .write_all(request.as_bytes())
        .await
        .expect("the server should read");
    let mut response = String::new();
    stream
        .read_to_string(&mut response)
        .await
        .expect("the server should answer");
    response
}
