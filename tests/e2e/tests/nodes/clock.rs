//! Steps of the server's clock, which alone decides about leases and windows.

use std::time::Duration;

use e2e::{
    redis::Server,
    table::{Row, note},
};
use tokio::sync::oneshot;

use crate::{
    faults::MODES,
    node::{Handler, Mode, Node, Reply, assert_answered_or_aborted, nodes, until},
};

const HOUR: i32 = 3600;

/// Starts two nodes. The first one has processed an offer of Alice, and is processing one of Bob.
async fn start(mode: Mode) -> (Server, Handler, [Node; 2], oneshot::Receiver<Reply>) {
    let server = Server::start_with_clock();
    let handler = Handler::held();
    let nodes: [Node; 2] = nodes(&server.url(), &handler, mode).await;
    handler.answer(1);
    nodes[0].call("alice", "f").await.expect("an answer");
    let held = nodes[0].send("bob", "f");
    handler.until_called(2).await;
    (server, handler, nodes, held)
}

#[tokio::test]
async fn clock_step_back_runs_nothing_twice() {
    for (mode, settings) in MODES {
        let (server, handler, [a, b], held) = start(settings).await;

        let before = server.cli(&["TIME"]);
        server.set_clock(-HOUR);
        assert!(server.cli(&["TIME"]) < before, "the clock should have moved");
        assert_eq!(b.call("alice", "f").await, Ok("answer 1".to_owned()));
        assert_eq!(b.call("bob", "g").await, Err("busy".to_owned()));
        handler.answer(1);
        assert_eq!(held.await.unwrap(), Ok("answer 2".to_owned()));
        assert_eq!(b.call("bob", "f").await, Ok("answer 2".to_owned()));

        // Numbers rise all the same.
        handler.answer(1);
        b.call("alice", "g").await.expect("an answer");
        let fences = handler.fences();
        assert!(fences[0] < fences[2], "{fences:?}");
        assert_eq!((handler.calls(), handler.overlap()), (3, 1));

        // `clear` takes its number from the clock: what is numbered ahead stays in the store.
        a.handle().clear();
        a.handle().drain().await;
        until("the other node forgets", || b.stats().memories == 0).await;
        assert_eq!(b.call("alice", "f").await, Ok("answer 1".to_owned()));
        note(Row {
            fault: "server's clock steps back",
            mode,
            offers: 7,
            processed: 3,
            refused: 1,
            overlap: 1,
        });
    }
}

#[tokio::test]
async fn clock_step_forward_ends_leases_and_windows() {
    for (mode, settings) in MODES {
        let (server, handler, [a, b], held) = start(settings).await;

        // The node does not renew its lease in time.
        a.pause(Duration::from_secs(3));
        server.set_clock(HOUR);
        let overtaking = b.send("bob", "g");
        handler.until_called(3).await;
        assert_eq!(handler.overlap(), 2, "the lease is over");
        let fences = handler.fences();
        assert!(fences[1] < fences[2], "{fences:?}");
        handler.answer(1_000);
        assert_eq!(overtaking.await.unwrap(), Ok("answer 3".to_owned()));
        assert_answered_or_aborted(&held.await.unwrap(), "answer 2");
        // The store's window is over, the node's own is not.
        assert_eq!(a.call("alice", "f").await, Ok("answer 1".to_owned()));
        assert_eq!(b.call("alice", "f").await, Ok("answer 4".to_owned()));
        note(Row {
            fault: "server's clock steps forward",
            mode,
            offers: 5,
            processed: 4,
            refused: 0,
            overlap: 2,
        });
    }
}
