//! The promises of nodes while their server works.

use std::time::Duration;

use e2e::redis::{Engine, Server};
use futures_util::future::join_all;
use tower_offer_dedup::{Fingerprint, WhenBusy};

use crate::node::{CLOSED, Handler, Mode, Node, OPEN, nodes, until};

/// 200 peers send 16 equal offers each, to three nodes in turn. On a slow machine calls may time out; then they repeat.
async fn storm(engine: Engine) {
    let server = Server::start(engine, &[]);
    let handler = Handler::ready();
    let nodes: [Node; 3] = nodes(&server.url(), &handler, CLOSED).await;
    let peers: Vec<_> = (0..200).map(|peer| format!("peer {peer}")).collect();
    let sent: Vec<_> = peers
        .iter()
        .map(|peer| {
            (0..16)
                .map(|copy| nodes[copy % 3].send(peer, "an offer"))
                .collect::<Vec<_>>()
        })
        .collect();
    for (copies, peer) in sent.into_iter().zip(&peers) {
        let replies = copies
            .into_iter()
            .enumerate()
            .map(|(copy, reply)| nodes[copy % 3].until_answered(reply, peer, "an offer"));
        let replies = join_all(replies).await;
        assert!(replies[0].0.is_ok(), "{replies:?}");
        assert!(replies.iter().all(|(reply, _)| *reply == replies[0].0), "{replies:?}");
    }
    assert_eq!((handler.calls(), handler.overlap()), (200, 1));
    let admitted: u64 = nodes.iter().map(|node| node.stats().admitted).sum();
    assert_eq!(
        admitted, 200,
        "an offer answered from another node does not count as admitted"
    );
    for node in &nodes {
        node.handle().drain().await;
        let stats = node.stats();
        assert_eq!((stats.claims, stats.waiters, stats.store_messages), (0, 0, 0));
    }
}

#[tokio::test]
async fn storm_is_processed_once_on_redis() {
    storm(Engine::Redis).await;
}

#[tokio::test]
async fn storm_is_processed_once_on_valkey() {
    storm(Engine::Valkey).await;
}

#[tokio::test]
async fn rejoin_on_another_node_waits_for_its_turn() {
    let server = Server::start(Engine::Redis, &[]);
    let handler = Handler::held();
    let queue = Mode {
        when_busy: WhenBusy::Queue {
            depth: 8,
            timeout: Duration::from_secs(60),
        },
        ..CLOSED
    };
    let [a, b] = nodes(&server.url(), &handler, queue).await;
    let first = a.send("alice", "first");
    handler.until_called(1).await;
    let second = b.send("alice", "second");
    until("the other node waits", || b.stats().claims == 1).await;
    handler.answer(1);
    assert_eq!(first.await.unwrap(), Ok("answer 1".to_owned()));
    handler.answer(1);
    assert_eq!(second.await.unwrap(), Ok("answer 2".to_owned()));
    assert_eq!(handler.overlap(), 1);
    let fences = handler.fences();
    assert!(fences[0] < fences[1], "{fences:?}");
}

#[tokio::test]
async fn newest_offer_wins_across_nodes() {
    let server = Server::start(Engine::Redis, &[]);
    let handler = Handler::held();
    let newest = Mode {
        when_busy: WhenBusy::Supersede,
        ..CLOSED
    };
    let [a, b] = nodes(&server.url(), &handler, newest).await;
    let loser = a.send("alice", "first");
    handler.until_called(1).await;
    let winner = b.send("alice", "second");
    assert_eq!(loser.await.unwrap(), Err("superseded".to_owned()));
    handler.until_called(2).await;
    handler.answer(1);
    assert_eq!(winner.await.unwrap(), Ok("answer 2".to_owned()));
    assert_eq!(a.call("alice", "first").await, Err("superseded".to_owned()));
}

#[tokio::test]
async fn forget_reaches_other_nodes() {
    let server = Server::start(Engine::Valkey, &[]);
    let handler = Handler::ready();
    let [a, b] = nodes(&server.url(), &handler, OPEN).await;
    a.call("alice", "first").await.expect("an answer");
    a.call("alice", "second").await.expect("an answer");
    b.call("alice", "first").await.expect("an answer");
    assert_eq!(handler.calls(), 2);

    b.handle().forget_offer("alice", Fingerprint::exact(b"first"));
    b.call("alice", "first").await.expect("an answer");
    a.call("alice", "second").await.expect("an answer");
    assert_eq!(handler.calls(), 3);

    a.handle().forget("alice");
    a.call("alice", "second").await.expect("an answer");
    assert_eq!(handler.calls(), 4);
    a.handle().clear();
    a.handle().drain().await;
    // The other node learns of it by a notice.
    until("the other node forgets", || {
        b.stats().memories == 0 || b.stats().store_failures > 0
    })
    .await;
    b.call("alice", "second").await.expect("an answer");
    assert_eq!(handler.calls(), 5);
}
