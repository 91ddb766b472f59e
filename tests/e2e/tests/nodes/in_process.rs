//! Faults while an offer is being processed: its answer goes out, and its completion is kept.

use std::time::{Duration, Instant};

use e2e::{
    redis::{Engine, Server},
    table::{Row, note},
};
use tokio::time::sleep;
use tower_offer_dedup::store::RedisOptions;

use crate::{
    faults::MODES,
    link::Link,
    node::{HELD, Handler, Mode, Node, nodes, until},
};

/// Returns whether the server holds a claim inside its lease.
fn has_live_claim(server: &Server) -> bool {
    let script = "local time = redis.call('TIME'); local now = time[1] * 1000 + time[2] / 1000; \
                  for _, key in ipairs(redis.call('KEYS', '*')) do \
                  if redis.call('TYPE', key).ok == 'hash' and tonumber(redis.call('HGET', key, 'l') or 0) > now \
                  then return 1 end end; return 0";
    server.cli(&["EVAL", script, "0"]) == "1"
}

/// Waits until the store has acknowledged everything that a node has sent.
async fn until_acknowledged(node: &Node) {
    until("the completion is acknowledged", || node.stats().store_messages == 0).await;
    assert_eq!(node.stats().store_messages_dropped, 0);
}

async fn stop_past_lease((mode, settings): (&'static str, Mode)) {
    let server = Server::start(Engine::Redis, &[]);
    let handler = Handler::held();
    let [a, b] = nodes(&server.url(), &handler, settings).await;
    let first = a.send("alice", "f");
    handler.until_called(1).await;
    let second = a.send("bob", HELD);
    handler.until_called(2).await;

    server.signal("STOP");
    sleep(Duration::from_secs(11)).await;
    handler.answer(1_000);
    assert_eq!(first.await.unwrap(), Ok("answer 1".to_owned()), "the server is stopped");
    assert_eq!(a.stats().store_messages, 1, "its completion waits");
    server.signal("CONT");

    // Nobody could overtake, so both claims go on.
    until_acknowledged(&a).await;
    server.until("the other claim is renewed", has_live_claim);
    b.until_back().await;
    assert_eq!(b.call("alice", "f").await, Ok("answer 1".to_owned()));
    assert_eq!(b.call("bob", "g").await, Err("busy".to_owned()));
    handler.answer_held();
    assert_eq!(second.await.unwrap(), Ok("answer 2".to_owned()));
    assert_eq!(b.call("bob", HELD).await, Ok("answer 2".to_owned()));
    assert_eq!((handler.calls(), handler.overlap()), (2, 1));
    note(Row {
        fault: "server stopped past the lease",
        mode,
        offers: 5,
        processed: 2,
        refused: 1,
        overlap: 1,
    });
}

#[tokio::test]
async fn server_stopped_past_lease_keeps_claims() {
    let [closed, open] = MODES;
    tokio::join!(stop_past_lease(closed), stop_past_lease(open));
}

#[tokio::test]
async fn unacknowledged_completion_is_repeated() {
    for (mode, settings) in MODES {
        let server = Server::start(Engine::Redis, &[]);
        let (link, url) = Link::to(server.port()).await;
        let handler = Handler::held();
        let a = Node::start(RedisOptions::new(url), &handler, settings).await;
        let b = Node::start(RedisOptions::new(server.url()), &handler, settings).await;
        let running = a.send("alice", "f");
        handler.until_called(1).await;

        link.partition(true);
        handler.answer(1);
        let start = Instant::now();
        assert_eq!(running.await.unwrap(), Ok("answer 1".to_owned()));
        let took = start.elapsed();
        assert!(took < Duration::from_secs(5), "the answer does not wait: {took:?}");
        assert_eq!(a.stats().store_messages, 1, "the completion waits");
        assert_eq!(a.call("alice", "f").await, Ok("answer 1".to_owned()));
        assert_eq!(b.call("alice", "g").await, Err("busy".to_owned()));

        link.partition(false);
        link.cut();
        until_acknowledged(&a).await;
        assert_eq!(b.call("alice", "f").await, Ok("answer 1".to_owned()));
        assert_eq!(handler.calls(), 1);
        note(Row {
            fault: "completion not acknowledged",
            mode,
            offers: 4,
            processed: 1,
            refused: 1,
            overlap: handler.overlap(),
        });
    }
}

#[tokio::test]
async fn full_memory_keeps_running_completion() {
    for (mode, settings) in MODES {
        let server = Server::start(Engine::Redis, &[]);
        let handler = Handler::ready();
        let [a, b] = nodes(&server.url(), &handler, settings).await;
        let running = a.send("alice", HELD);
        handler.until_called(1).await;
        server.cli(&["CONFIG", "SET", "maxmemory", "1"]);

        let new = b.call("bob", "f").await;
        let refused = usize::from(new.is_err());
        assert_eq!(refused == 1, mode == "closed", "{new:?}");
        handler.answer_held();
        assert_eq!(running.await.unwrap(), Ok("answer 1".to_owned()));
        let stats = a.stats();
        assert_eq!(
            (stats.store_failures, stats.store_messages),
            (0, 0),
            "it is acknowledged"
        );
        assert_eq!(b.call("alice", HELD).await, Ok("answer 1".to_owned()));
        let processed = handler.calls();
        assert_eq!(processed, 2 - refused);
        note(Row {
            fault: "memory full while processing",
            mode,
            offers: 3,
            processed,
            refused,
            overlap: handler.overlap(),
        });
    }
}
