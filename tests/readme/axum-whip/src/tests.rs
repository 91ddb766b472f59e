#[path = "../../http_client.rs"]
mod http_client;

use std::{io, net::SocketAddr};

use tokio::net::TcpListener;

use super::app;
use http_client::send;

const OFFER: &str =
    include_str!("../../../data/corpus/offers/chromium-whip-first.sdp");
/// The same offer, read back after its candidates were gathered.
const GATHERED: &str =
    include_str!("../../../data/corpus/offers/chromium-whip-gathered.sdp");

async fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async { axum::serve(listener, app()).await });
    Ok(address)
}

/// Publishes and returns the response: its head in lower case, and its body.
fn publish(server: SocketAddr, offer: &str) -> io::Result<(String, String)> {
    let response = send(server, "POST /whip/camera", "application/sdp", offer)?;
    let (head, body) = response
        .split_once("\r\n\r\n")
        .expect("a response should have a head and a body");
    assert!(head.starts_with("HTTP/1.1 201 "), "{head}");
    Ok((head.to_lowercase(), body.to_owned()))
}

fn location(head: &str) -> &str {
    head.lines()
        .find_map(|line| line.strip_prefix("location: "))
        .expect("an answer should have a location")
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicate_gets_first_answer() -> io::Result<()> {
    let server = start().await?;
    let (first, answer) = publish(server, OFFER)?;
    assert!(!first.contains("offer-replayed"), "{first}");
    assert!(answer.contains("a=recvonly"), "{answer}");
    for copy in [OFFER, GATHERED] {
        let (head, body) = publish(server, copy)?;
        assert!(head.contains("offer-replayed: true"), "{head}");
        assert_eq!(location(&head), location(&first));
        assert_eq!(body, answer);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_allows_new_session() -> io::Result<()> {
    let server = start().await?;
    let (first, _) = publish(server, OFFER)?;
    let end = format!("DELETE {}", location(&first));
    let response = send(server, &end, "application/sdp", "")?;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    let (next, _) = publish(server, OFFER)?;
    assert!(!next.contains("offer-replayed"), "{next}");
    assert_ne!(location(&next), location(&first));
    Ok(())
}
