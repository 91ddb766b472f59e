//! The cost of calls, counted at the server.

use e2e::redis::{Engine, Server};
use tower_offer_dedup::store::{RedisOptions, Scope, SharedStore};

use crate::support::{admitted, ask, assert_processed, complete, node};

#[tokio::test]
async fn each_call_is_one_round_trip() {
    let server = Server::start(Engine::Redis, &[]);
    let store = node(RedisOptions::new(server.url())).await;
    let trips = async |unique: u64| {
        let start = server.script_calls();
        admitted(&store, ask(&store, "alice", unique)).await;
        let claimed = server.script_calls();
        complete(&store, ask(&store, "alice", unique)).await;
        let completed = server.script_calls();
        assert_processed(&store, ask(&store, "alice", unique + 1)).await;
        let processed = server.script_calls();
        store.forget(ask(&store, "alice", 0).peer, Scope::Peer).await.unwrap();
        [claimed - start, completed - claimed, processed - completed]
    };
    // The server does not know the scripts at first.
    assert_eq!(trips(1).await, [2, 2, 1]);
    assert_eq!(trips(3).await, [1, 1, 1]);
}
