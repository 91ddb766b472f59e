//! A rolling upgrade: nodes of two format versions on one server.

use std::{net::SocketAddr, time::Duration};

use e2e::redis::{Engine, Server};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tower_offer_dedup::{
    PeerKey,
    store::{RedisOptions, Scope, SharedStore},
};

use crate::node::{CLOSED, HELD, Handler, Node, SECRET};

/// The version that this build speaks, and the one after it.
pub(crate) const THIS: &[u8] = b"od1:";
const NEXT: &[u8] = b"od2:";

/// Starts a proxy that renames the keys and channels of a node to those of the next version. For the server and for other
/// nodes, it is then a node of that version. Returns the URL for the node.
async fn next_version(server: u16) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port should be free");
    let port = listener.local_addr().expect("it is bound").port();
    let server = SocketAddr::from(([127, 0, 0, 1], server));
    tokio::spawn(async move {
        while let Ok((node, _)) = listener.accept().await {
            let server = TcpStream::connect(server).await.expect("the server should be reached");
            let ((node_in, node_out), (server_in, server_out)) = (node.into_split(), server.into_split());
            tokio::spawn(rename(node_in, server_out, THIS, NEXT));
            tokio::spawn(rename(server_in, node_out, NEXT, THIS));
        }
    });
    format!("redis://127.0.0.1:{port}")
}

async fn rename(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, old: &[u8], new: &[u8]) {
    let (mut text, mut bytes) = (Vec::new(), vec![0; 16 * 1024]);
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        text.extend_from_slice(&bytes[..length]);
        for at in 0..text.len().saturating_sub(old.len() - 1) {
            if text[at..].starts_with(old) {
                text[at..at + old.len()].copy_from_slice(new);
            }
        }
        // A name may be cut by the end of what was read. Every message ends with a line break, so the rest is on its way.
        let cut = (1..old.len()).rev().find(|length| text.ends_with(&old[..*length]));
        let whole = text.len() - cut.unwrap_or(0);
        if to.write_all(&text[..whole]).await.is_err() {
            return;
        }
        text.drain(..whole);
    }
}

/// Returns the keys of a version, escaped.
pub(crate) fn keys(server: &Server, version: &[u8]) -> Vec<String> {
    let pattern = format!("{}*", String::from_utf8_lossy(version));
    let text = server.cli(&["--no-raw", "KEYS", &pattern]);
    let keys = text
        .lines()
        .filter_map(|line| Some(line.split_once(") ")?.1.to_owned()));
    let mut keys: Vec<_> = keys.collect();
    keys.sort_unstable();
    keys
}

/// Has a node forget a peer, and then everything.
async fn forget_all(url: &str) {
    // Each of the many calls of `clear` goes through the proxy.
    let options = RedisOptions::new(url)
        .secret(SECRET)
        .call_timeout(Duration::from_secs(2));
    let store = options.connect().await.expect("the server should be reached");
    let was_known = store.forget(PeerKey::from("bob"), Scope::Peer).await;
    assert!(was_known.expect("the call should succeed"));
    store.clear().await.expect("the call should succeed");
}

#[tokio::test]
async fn versions_keep_apart_and_roll_back() {
    let server = Server::start(Engine::Redis, &[]);
    let (this, next) = (server.url(), next_version(server.port()).await);
    let handler = Handler::ready();
    let start = async |url: &str| Node::start(RedisOptions::new(url), &handler, CLOSED).await;
    let (old, new) = (
        [start(&this).await, start(&this).await],
        [start(&next).await, start(&next).await],
    );

    // Each version processes an offer once, on whichever of its nodes it arrives.
    let mut answers = Vec::new();
    for nodes in [&old, &new] {
        let answer = nodes[0].call_until_back("alice", "f").await.expect("an answer");
        assert_eq!(nodes[1].call_until_back("alice", "f").await, Ok(answer.clone()));
        answers.push(answer);
    }
    assert_eq!(handler.calls(), 2, "the versions do not share what they remember");
    let (of_this, of_next) = (keys(&server, THIS), keys(&server, NEXT));
    assert_eq!(
        (of_this.len(), of_next.len()),
        (2, 2),
        "a peer and its answers: {of_this:?}, {of_next:?}"
    );
    assert_eq!(server.cli(&["DBSIZE"]), "4");

    // A claim holds off the nodes of its version only.
    let running = old[0].send("bob", HELD);
    handler.until_called(3).await;
    assert_eq!(old[1].call_until_back("bob", "g").await, Err("busy".to_owned()));
    assert!(new[0].call_until_back("bob", "g").await.is_ok());
    handler.answer_held();
    running.await.expect("a reply").expect("an answer");

    // The new version forgets, and the old one keeps everything.
    let before = keys(&server, THIS);
    forget_all(&next).await;
    assert!(keys(&server, THIS) == before, "the keys of this version are as before");
    let upgraded = start(&next).await;
    let newest = upgraded.call_until_back("alice", "f").await;
    assert!(
        newest.is_ok() && newest != Ok(answers[1].clone()),
        "the new version has forgotten it: {newest:?}"
    );

    // Rolled back, the nodes find what the old version remembers.
    drop((new, upgraded));
    let calls = handler.calls();
    let back = start(&this).await;
    assert_eq!(back.call_until_back("alice", "f").await, Ok(answers[0].clone()));
    assert_eq!(handler.calls(), calls);

    // The old version forgets, and what the new one remembers waits for the next attempt.
    let before = keys(&server, NEXT);
    forget_all(&this).await;
    assert!(
        keys(&server, NEXT) == before,
        "the keys of the next version are as before"
    );
    let again = start(&next).await;
    assert_eq!(again.call_until_back("alice", "f").await, newest);
    assert_eq!(handler.calls(), calls);
    let fresh = start(&this).await;
    assert!(fresh.call_until_back("alice", "f").await.is_ok());
    assert_eq!(handler.calls(), calls + 1, "the old version has forgotten it");
}
