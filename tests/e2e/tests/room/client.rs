//! A client of the room server, and what tests do with it again and again.

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

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    /// Joins, and takes the list of peers.
    pub(crate) async fn join(server: &RoomServer, room: &str, peer: &str) -> Self {
        Self::join_among(server, room, peer, &[]).await
    }

    pub(crate) async fn join_among(server: &RoomServer, room: &str, peer: &str, others: &[&str]) -> Self {
        let mut client = Self::open(server, room, peer)
            .await
            .expect("the server takes the socket");
        let mut greeting = client.next().await;
        let peers = greeting["peers"].as_array_mut().expect("a list of peers");
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
            .expect("the socket is open");
    }

    /// The next message from the server.
    pub(crate) async fn next(&mut self) -> Value {
        match self.frame().await {
            Message::Text(text) => serde_json::from_str(&text).expect("JSON"),
            other => panic!("expected text, got {other:?}"),
        }
    }

    /// Code and reason of the server's close frame, whatever comes before it.
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
        let frame = timeout(PATIENCE, frame).await;
        frame
            .expect("the server says something in time")
            .expect("the socket is open")
            .expect("a whole frame")
    }

    /// Asserts that nothing has come, by what the server says to a message that it must answer after all before it.
    /// Offers of this client that were answered are done by then.
    pub(crate) async fn heard_nothing(&mut self) {
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

/// An offer as browsers make them, new for each `id`.
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

/// Alice offers, Bob answers, both messages arrive.
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
    let (_, body) = response.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).expect("JSON")
}

pub(crate) async fn get(server: &RoomServer, path: &str) -> String {
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
