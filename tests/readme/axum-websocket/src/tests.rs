use std::{io, net::SocketAddr};

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message,
};

use super::app;

const OFFER: &str = r#"{"type":"offer","to":"camera","sdp":"v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n"}"#;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn join(server: SocketAddr) -> Socket {
    let url = format!("ws://{server}/rooms/lobby");
    let (socket, _) = connect_async(url)
        .await
        .expect("the room should accept the socket");
    socket
}

/// Sends an offer and returns the answer.
async fn answer(socket: &mut Socket, offer: &str) -> String {
    let sent = socket.send(Message::text(offer)).await;
    sent.expect("the socket should be open");
    let reply = socket.next().await.expect("the socket should stay open");
    let reply = reply.expect("the reply should be a message").to_string();
    assert!(
        reply.starts_with(r#"{"type":"answer","session":"#),
        "{reply}"
    );
    reply
}

#[tokio::test]
async fn duplicate_gets_first_answer() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = listener.local_addr()?;
    tokio::spawn(async { axum::serve(listener, app()).await });

    let mut alice = join(server).await;
    let first = answer(&mut alice, OFFER).await;
    assert_eq!(answer(&mut alice, OFFER).await, first);

    let to_screen = OFFER.replace("camera", "screen");
    assert_ne!(answer(&mut alice, &to_screen).await, first);

    let mut rejoined = join(server).await;
    assert_ne!(answer(&mut rejoined, OFFER).await, first);
    Ok(())
}
