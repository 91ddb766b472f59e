//! A master is killed, and its replica takes over. With `--nocapture` the tests print how long that took.

use std::time::Instant;

use e2e::redis::{Engine, Server, start_cluster};
use tower_offer_dedup::store::{Claimed, Notice, RedisOptions, SharedStore};

use crate::support::{admitted, ask, assert_processed, claim_when_back, complete, expect, node};

#[tokio::test]
async fn sentinel_failover_keeps_answers() {
    let mut master = Server::start(Engine::Redis, &["--repl-diskless-sync-delay", "0"]);
    let replica = Server::start(Engine::Redis, &["--replicaof", "127.0.0.1", &master.port().to_string()]);
    replica.until("it is in sync", |replica| replica.info("master_link_status") == "up");
    let sentinel = Server::watch(&master, "signaling", &[]);
    sentinel.until("the replica is known", |sentinel| {
        sentinel
            .cli(&["SENTINEL", "REPLICAS", "signaling"])
            .contains("127.0.0.1")
    });
    let store = node(RedisOptions::sentinel([sentinel.url()], "signaling")).await;
    let mut notices = store.listen();
    admitted(&store, ask(&store, "alice", 1)).await;
    complete(&store, ask(&store, "alice", 1)).await;
    master.cli(&["WAIT", "1", "5000"]);
    replica.until("it has the answer", |replica| replica.cli(&["DBSIZE"]) == "2");

    master.kill();
    let killed = Instant::now();
    expect(&mut notices, Notice::Missed).await;
    assert_processed(&store, ask(&store, "alice", 2)).await;
    let claimed = claim_when_back(&store, ask(&store, "bob", 3)).await;
    println!("Sentinel: {:?}", killed.elapsed());
    assert!(matches!(claimed, Claimed::Admitted { .. }), "{claimed:?}");
    assert_eq!(replica.info("role"), "master");
}

#[tokio::test]
async fn cluster_failover_keeps_answers() {
    let mut servers = start_cluster(Engine::Redis);
    let urls: Vec<_> = servers.iter().map(Server::url).collect();
    let store = node(RedisOptions::cluster(urls)).await;
    for peer in 0..30 {
        let ask = ask(&store, &format!("peer {peer}"), peer);
        admitted(&store, ask).await;
        complete(&store, ask).await;
    }
    for server in &servers {
        server.until("its replica is in sync", |server| {
            server.info("role") == "slave" || server.info("slave0").ends_with("lag=0")
        });
    }
    let victim = servers.iter_mut().find(|server| server.info("role") == "master");
    victim.expect("there should be a master").kill();
    let killed = Instant::now();

    for peer in 0..30 {
        let ask = ask(&store, &format!("peer {peer}"), 1000 + peer);
        let claimed = claim_when_back(&store, ask).await;
        assert!(matches!(claimed, Claimed::Processed { .. }), "{peer}: {claimed:?}");
    }
    println!("cluster: {:?}", killed.elapsed());
    let claimed = claim_when_back(&store, ask(&store, "somebody new", 2000)).await;
    assert!(matches!(claimed, Claimed::Admitted { .. }), "{claimed:?}");
}
