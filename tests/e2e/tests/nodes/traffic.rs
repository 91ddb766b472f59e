//! The cost of offers, counted at the server.

use e2e::redis::{Engine, Server};

use crate::{
    faults::MODES,
    node::{Handler, nodes},
};

#[tokio::test]
async fn known_duplicates_cost_no_round_trip() {
    for (mode, settings) in MODES {
        let server = Server::start(Engine::Redis, &[]);
        let handler = Handler::ready();
        let [a, b] = nodes(&server.url(), &handler, settings).await;
        // The server does not know the scripts at first.
        a.call("bob", "f").await.expect("an answer");
        let trips = async |node: &crate::node::Node| {
            let before = server.script_calls();
            node.call("alice", "f").await.expect("an answer");
            server.script_calls() - before
        };
        let counts = [trips(&a).await, trips(&a).await, trips(&b).await, trips(&b).await];
        assert_eq!(
            counts,
            [2, 0, 1, 0],
            "new, known, processed on another node, known: {mode}"
        );
        assert_eq!(handler.calls(), 2);
    }
}
