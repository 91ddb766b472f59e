#[path = "../../http_client.rs"]
mod http_client;

use std::{io, net::SocketAddr};

use tokio::net::TcpListener;

use super::serve;
use http_client::send;

/// Posts an offer and returns whether its answer is a recorded one.
fn is_replayed(server: SocketAddr, from: &str) -> io::Result<bool> {
    let offer = format!(
        r#"{{"type":"offer","sdp":"v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n","from":"{from}"}}"#
    );
    let response =
        send(server, "POST /", "application/json", &offer)?.to_lowercase();
    assert!(response.starts_with("http/1.1 200 "), "{response}");
    let answer = format!(
        "\r\n\r\n{{\"type\":\"answer\",\"to_bytes\":{}}}",
        offer.len()
    );
    assert!(response.ends_with(&answer), "{response}");
    Ok(response.contains("offer-replayed: true"))
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicate_gets_first_answer() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = listener.local_addr()?;
    tokio::spawn(serve(listener));
    assert!(!is_replayed(server, "alice")?);
    assert!(is_replayed(server, "alice")?);
    assert!(
        !is_replayed(server, "bob")?,
        "another peer's offer is another offer"
    );
    Ok(())
}
