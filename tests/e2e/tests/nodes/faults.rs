//! The promise under faults, in both modes.

use std::time::Duration;

use e2e::{
    redis::{Engine, Server},
    table::{Row, note},
};

use crate::{
    link::Link,
    node::{CLOSED, Handler, Mode, Node, OPEN, assert_answered_or_aborted, nodes, until},
};

pub(crate) const MODES: [(&str, Mode); 2] = [("closed", CLOSED), ("open", OPEN)];

/// Sends one new offer to each of two nodes. Returns how many were refused for want of the store.
async fn try_both(nodes: &[Node; 2], peer: &str, text: &str) -> usize {
    let mut refused = 0;
    for node in nodes {
        match node.call(peer, text).await {
            Ok(_) => {}
            Err(reason) => {
                assert_eq!(reason, "store_unavailable");
                refused += 1;
            }
        }
    }
    refused
}

/// A fault that no call gets through. New offers are refused in one mode, and decided by each node alone in the other.
/// Duplicates that a node knows are answered in both.
async fn unreachable(fault: &'static str, strike: impl Fn(&mut Server, &Link), mend: impl Fn(&mut Server, &Link)) {
    for (mode, settings) in MODES {
        let mut server = Server::start(Engine::Redis, &[]);
        let (link, url) = Link::to(server.port()).await;
        let handler = Handler::ready();
        let nodes: [Node; 2] = nodes(&url, &handler, settings).await;
        for node in &nodes {
            node.call("alice", "before").await.expect("an answer");
        }
        assert_eq!(handler.calls(), 1);

        strike(&mut server, &link);
        let refused = try_both(&nodes, "bob", "during").await;
        let processed = handler.calls() - 1;
        let expected = if mode == "closed" { (2, 0) } else { (0, 2) };
        assert_eq!((refused, processed), expected, "{fault}, {mode}");
        for node in &nodes {
            node.call("alice", "before").await.expect("the node knows this offer");
        }
        note(Row {
            fault,
            mode,
            offers: 2,
            processed,
            refused,
            overlap: handler.overlap(),
        });

        mend(&mut server, &link);
        let start = std::time::Instant::now();
        for n in 0.. {
            let before = handler.calls();
            let peer = format!("carol {n}");
            if try_both(&nodes, &peer, "after").await == 0 && handler.calls() == before + 1 {
                break;
            }
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "the nodes should share again"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test]
async fn killed_server_is_survived() {
    unreachable(
        "server killed, then restarted",
        |server, _| server.kill(),
        |server, _| server.restart(),
    )
    .await;
}

#[tokio::test]
async fn stopped_server_is_survived() {
    let stop = |server: &mut Server, _: &Link| server.signal("STOP");
    unreachable("server stopped past the time-out", stop, |server, _| {
        server.signal("CONT")
    })
    .await;
}

#[tokio::test]
async fn slow_link_is_survived() {
    let slow = |_: &mut Server, link: &Link| link.delay(Duration::from_millis(400));
    unreachable("slow link", slow, |_, link| link.delay(Duration::ZERO)).await;
}

#[tokio::test]
async fn partition_is_survived() {
    let partition = |_: &mut Server, link: &Link| link.partition(true);
    let mend = |_: &mut Server, link: &Link| {
        link.partition(false);
        link.cut();
    };
    unreachable("partition", partition, mend).await;
}

#[tokio::test]
async fn full_memory_is_survived() {
    let fill = |server: &mut Server, _: &Link| {
        server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    };
    let mend = |server: &mut Server, _: &Link| {
        server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    };
    unreachable("memory full", fill, mend).await;
}

#[tokio::test]
async fn read_only_replica_is_survived() {
    let master = Server::start(Engine::Redis, &["--repl-diskless-sync-delay", "0"]);
    let port = master.port().to_string();
    let demote = move |server: &mut Server, _: &Link| {
        server.cli(&["REPLICAOF", "127.0.0.1", &port]);
    };
    let promote = |server: &mut Server, _: &Link| {
        server.cli(&["REPLICAOF", "NO", "ONE"]);
    };
    unreachable("read-only replica", demote, promote).await;
}

/// Faults that lose data: an offer may run again on a node that does not know it, with a higher number.
async fn forgetful(fault: &'static str, breaks_connections: bool, strike: impl Fn(&mut Server)) {
    for (mode, settings) in MODES {
        let mut server = Server::start(Engine::Redis, &[]);
        let handler = Handler::ready();
        let [a, b] = nodes(&server.url(), &handler, settings).await;
        let first = a.call("alice", "f").await;
        assert_eq!(first, Ok("answer 1".to_owned()));
        strike(&mut server);
        a.until_back().await;
        b.until_back().await;
        let second = b.call("alice", "f").await;
        assert_eq!(second, Ok("answer 2".to_owned()), "{fault}, {mode}");
        let fences = handler.fences();
        assert!(
            fences[0].is_some() && fences[0] < fences[1],
            "{fault}, {mode}: {fences:?}"
        );
        // A node gives up what it remembers when its connection breaks.
        let known = if breaks_connections { &second } else { &first };
        assert_eq!(a.call("alice", "f").await, *known, "{fault}, {mode}");
        assert_eq!(handler.calls(), 2, "{fault}, {mode}");
        note(Row {
            fault,
            mode,
            offers: 3,
            processed: 2,
            refused: 0,
            overlap: handler.overlap(),
        });
    }
}

#[tokio::test]
async fn flushed_server_has_forgotten() {
    forgetful("FLUSHALL", false, |server| {
        server.cli(&["FLUSHALL"]);
    })
    .await;
}

#[tokio::test]
async fn restarted_server_has_forgotten() {
    forgetful("restart without persistence", true, Server::restart).await;
}

/// Faults that cost nothing but time.
#[tokio::test]
async fn flushed_scripts_are_not_noticed() {
    for (mode, settings) in MODES {
        let server = Server::start(Engine::Redis, &[]);
        let handler = Handler::ready();
        let [a, b] = nodes(&server.url(), &handler, settings).await;
        a.call("alice", "f").await.expect("an answer");
        server.cli(&["SCRIPT", "FLUSH"]);
        b.call("alice", "f").await.expect("an answer");
        server.cli(&["SCRIPT", "FLUSH"]);
        b.call("bob", "f").await.expect("an answer");
        assert_eq!(handler.calls(), 2);
        note(Row {
            fault: "SCRIPT FLUSH",
            mode,
            offers: 3,
            processed: 2,
            refused: 0,
            overlap: handler.overlap(),
        });
    }
}

/// Connections are cut while offers are sent. A client tries again what was refused. Failing closed, nothing runs twice.
#[tokio::test]
async fn cut_connections_never_run_twice_when_closed() {
    const PEERS: usize = 60;
    for (mode, settings) in MODES {
        let server = Server::start(Engine::Redis, &[]);
        let (link, url) = Link::to(server.port()).await;
        let handler = Handler::ready();
        let nodes: [Node; 2] = nodes(&url, &handler, settings).await;
        let failures = || nodes.iter().map(|node| node.stats().store_failures).sum::<u64>();
        let (mut refused, mut hit) = (0, 0);
        for number in 0..PEERS {
            let peer = format!("peer {number}");
            let is_cut = number % 6 == 0;
            if is_cut {
                tokio::join!(nodes[0].until_back(), nodes[1].until_back());
            }
            let before = failures();
            let sent = [nodes[0].send(&peer, "f"), nodes[1].send(&peer, "f")];
            if is_cut {
                // Somewhere in the middle of the calls.
                tokio::time::sleep(Duration::from_micros(100 * number as u64)).await;
                link.cut();
            }
            for (reply, node) in sent.into_iter().zip(&nodes) {
                refused += node.until_answered(reply, &peer, "f").await.1;
            }
            if is_cut {
                hit += failures() - before;
            }
        }
        assert!(hit > 0, "a cut should hit a call");
        let processed = handler.calls();
        if mode == "closed" {
            assert_eq!((processed, handler.overlap()), (PEERS, 1));
        }
        assert!((PEERS..=2 * PEERS).contains(&processed), "{processed}");
        note(Row {
            fault: "connections cut",
            mode,
            offers: 2 * PEERS,
            processed,
            refused,
            overlap: handler.overlap(),
        });
    }
}

/// A node that is paused past its lease: two may run, and the late completion counts for nothing.
#[tokio::test]
async fn paused_node_is_overtaken() {
    for (mode, settings) in MODES {
        let server = Server::start(Engine::Redis, &[]);
        let handler = Handler::held();
        let [a, b] = nodes(&server.url(), &handler, settings).await;
        let first = a.send("alice", "first");
        handler.until_called(1).await;
        a.pause(Duration::from_secs(14));
        let mut busy = 0;
        let second = loop {
            let sent = b.send("alice", "second");
            tokio::time::sleep(Duration::from_millis(500)).await;
            if handler.calls() == 2 {
                break sent;
            }
            assert_eq!(sent.await.unwrap(), Err("busy".to_owned()));
            busy += 1;
        };
        assert!(busy > 0, "the lease should hold the second offer off");
        assert_eq!(handler.overlap(), 2, "a lease is not mutual exclusion");
        let fences = handler.fences();
        assert!(fences[0] < fences[1], "{fences:?}");
        handler.answer(1000);
        assert_eq!(second.await.unwrap(), Ok("answer 2".to_owned()));
        assert_answered_or_aborted(&first.await.unwrap(), "answer 1");
        until("the late completion is settled", || a.stats().claims == 0).await;
        // Nothing of the first offer is remembered.
        a.call("alice", "first").await.expect("an answer");
        assert_eq!(handler.calls(), 3);
        note(Row {
            fault: "node paused past its lease",
            mode,
            offers: 2,
            processed: 2,
            refused: busy,
            overlap: 2,
        });
    }
}
