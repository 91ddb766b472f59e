//! The cost of calls, counted at the server.

use e2e::redis::{Engine, Server};
use tower_offer_dedup::store::{RedisOptions, Scope, SharedStore};

use crate::support::{admitted, ask, assert_processed, complete, node};

/// Returns how many calls have come from clients so far. Commands inside of scripts do not count, as nothing publishes.
fn commands(server: &Server) -> u64 {
    ["evalsha", "eval", "script|load"]
        .iter()
        .map(|name| {
            let line = server.info(&format!("cmdstat_{name}"));
            let calls = line.split(',').find_map(|part| part.strip_prefix("calls="));
            calls.map_or(0, |calls| calls.parse().expect("a count is a number"))
        })
        .sum()
}

#[tokio::test]
async fn each_call_is_one_round_trip() {
    let server = Server::start(Engine::Redis, &[]);
    let store = node(RedisOptions::new(server.url())).await;
    let trips = async |unique: u64| {
        let start = commands(&server);
        admitted(&store, ask(&store, "alice", unique)).await;
        let claimed = commands(&server);
        complete(&store, ask(&store, "alice", unique)).await;
        let completed = commands(&server);
        assert_processed(&store, ask(&store, "alice", unique + 1)).await;
        let processed = commands(&server);
        store.forget(ask(&store, "alice", 0).peer, Scope::Peer).await.unwrap();
        [claimed - start, completed - claimed, processed - completed]
    };
    // The server does not know the scripts at first.
    assert_eq!(trips(1).await, [2, 2, 1]);
    assert_eq!(trips(3).await, [1, 1, 1]);
}
