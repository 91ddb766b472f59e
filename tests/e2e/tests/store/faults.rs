//! Faults of one server, and what is left after them.

use std::time::Duration;

use e2e::redis::{Engine, Server};
use tokio::time::{Instant, sleep};
use tower_offer_dedup::{
    PeerKey,
    extract::SessionUri,
    store::{Claimed, Notice, RedisOptions, Renewed, Scope, SharedStore},
};

use crate::support::{SECRET, admitted, ask, assert_processed, claim_when_back, complete, completion, expect, node};

#[tokio::test]
async fn restarted_server_is_used_again() {
    for engine in [Engine::Redis, Engine::Valkey] {
        let mut server = Server::start(engine, &[]);
        let (first, second) = (
            node(RedisOptions::new(server.url())).await,
            node(RedisOptions::new(server.url())).await,
        );
        let mut notices = second.listen();
        let lower = admitted(&first, ask(&first, "alice", 1)).await;

        server.restart();
        expect(&mut notices, Notice::Missed).await;
        let Claimed::Admitted { fence, .. } = claim_when_back(&second, ask(&second, "alice", 1)).await else {
            panic!("a server without persistence has lost the claim");
        };
        assert!(fence > lower, "numbers rise through the loss of all data");
        // The subscriptions are back as well.
        let late = claim_when_back(&first, ask(&first, "bob", 2)).await;
        assert!(matches!(late, Claimed::Admitted { .. }), "{late:?}");
        second
            .claim(ask(&second, "bob", 2))
            .await
            .expect("the call should succeed");
        complete(&first, ask(&first, "bob", 2)).await;
        expect(&mut notices, Notice::Wake(PeerKey::from("bob"))).await;
    }
}

#[tokio::test]
async fn killed_connections_are_replaced() {
    let server = Server::start(Engine::Redis, &[]);
    let store = node(RedisOptions::new(server.url())).await;
    let mut notices = store.listen();
    for unique in 0..3 {
        server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        expect(&mut notices, Notice::Missed).await;
        let claimed = claim_when_back(&store, ask(&store, "alice", 0)).await;
        assert!(matches!(claimed, Claimed::Admitted { .. }), "{unique}: {claimed:?}");
    }
}

#[tokio::test]
async fn calls_fail_fast_while_server_is_down() {
    let mut server = Server::start(Engine::Redis, &[]);
    let options = RedisOptions::new(server.url()).secret(SECRET);
    let store = options.connect().await.expect("the server should be reached");
    server.kill();
    for unique in 0..5 {
        let start = Instant::now();
        let claimed = store.claim(ask(&store, "alice", unique)).await;
        assert!(claimed.is_err(), "{claimed:?}");
        assert!(start.elapsed() < Duration::from_millis(750), "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn stopped_server_times_out_and_recovers() {
    let server = Server::start(Engine::Redis, &[]);
    let options = RedisOptions::new(server.url()).secret(SECRET);
    let store = options.connect().await.expect("the server should be reached");
    server.signal("STOP");
    let start = Instant::now();
    let claimed = store.claim(ask(&store, "alice", 1)).await;
    assert!(claimed.is_err(), "{claimed:?}");
    assert!(start.elapsed() < Duration::from_millis(750), "{:?}", start.elapsed());
    server.signal("CONT");
    // The first call has run in the meantime. It had the same token, so it is the same claim.
    let claimed = claim_when_back(&store, ask(&store, "alice", 1)).await;
    assert!(matches!(claimed, Claimed::Admitted { .. }), "{claimed:?}");
}

#[tokio::test]
async fn lost_scripts_are_sent_again() {
    let server = Server::start(Engine::Redis, &[]);
    let store = node(RedisOptions::new(server.url())).await;
    admitted(&store, ask(&store, "alice", 1)).await;
    server.cli(&["SCRIPT", "FLUSH"]);
    complete(&store, ask(&store, "alice", 1)).await;
    server.cli(&["SCRIPT", "FLUSH"]);
    assert_processed(&store, ask(&store, "alice", 2)).await;
}

#[tokio::test]
async fn lost_data_keeps_numbers_rising() {
    let server = Server::start(Engine::Redis, &[]);
    let store = node(RedisOptions::new(server.url())).await;
    let lower = admitted(&store, ask(&store, "alice", 1)).await;
    server.cli(&["FLUSHALL"]);
    let renewed = store
        .renew(ask(&store, "alice", 1).held(), Duration::from_secs(10), false)
        .await;
    assert_eq!(renewed.expect("the call should succeed"), Renewed::Lost);
    let higher = admitted(&store, ask(&store, "alice", 2)).await;
    assert!(higher > lower);
}

/// Makes the server use more memory than it may.
fn fill(server: &Server) {
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let refusal = server.cli(&["SET", "x", "y"]);
    assert!(refusal.contains("OOM"), "{refusal}");
}

#[tokio::test]
async fn full_memory_lets_running_work_end() {
    for engine in [Engine::Redis, Engine::Valkey] {
        let server = Server::start(engine, &[]);
        let (first, second) = (
            node(RedisOptions::new(server.url())).await,
            node(RedisOptions::new(server.url())).await,
        );
        let mut notices = second.listen();
        for peer in ["alice", "bob", "carol"] {
            admitted(&first, ask(&first, peer, 1)).await;
        }
        fill(&server);

        let refused = first.claim(ask(&first, "dave", 2)).await;
        assert!(refused.is_err(), "a new claim needs memory: {refused:?}");
        let waiting = second.claim(ask(&second, "alice", 1)).await;
        assert!(matches!(waiting, Ok(Claimed::InFlight { .. })), "{waiting:?}");
        let renewed = first
            .renew(ask(&first, "alice", 1).held(), Duration::from_secs(10), true)
            .await;
        assert_eq!(renewed.expect("a renewal needs no memory"), Renewed::Yes);
        complete(&first, ask(&first, "alice", 1)).await;
        expect(&mut notices, Notice::Wake(PeerKey::from("alice"))).await;
        assert_processed(&second, ask(&second, "alice", 2)).await;
        first
            .release(ask(&first, "bob", 1).held())
            .await
            .expect("a release needs no memory");
        let forgotten = first.forget(PeerKey::from("carol"), Scope::Peer).await;
        assert!(forgotten.expect("a forget needs no memory"));
        first.clear().await.expect("a clear should work when memory is full");
        expect(&mut notices, Notice::Cleared).await;
    }
}

#[tokio::test]
async fn master_turned_replica_is_left() {
    let server = Server::start(Engine::Redis, &[]);
    let other = Server::start(Engine::Redis, &["--repl-diskless-sync-delay", "0"]);
    let store = node(RedisOptions::new(server.url())).await;
    let mut notices = store.listen();
    admitted(&store, ask(&store, "alice", 1)).await;
    server.cli(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]);
    let refused = store.claim(ask(&store, "bob", 2)).await;
    assert!(refused.is_err(), "a replica takes no claims: {refused:?}");
    server.cli(&["REPLICAOF", "NO", "ONE"]);
    // The connection has been replaced.
    expect(&mut notices, Notice::Missed).await;
    let claimed = claim_when_back(&store, ask(&store, "bob", 2)).await;
    assert!(matches!(claimed, Claimed::Admitted { .. }), "{claimed:?}");
}

#[tokio::test]
async fn everything_stored_expires() {
    let server = Server::start(Engine::Redis, &[]);
    let store = node(RedisOptions::new(server.url())).await;
    let lease = Duration::from_millis(200);
    for (peer, is_completed) in [("alice", false), ("bob", true)] {
        let mut ask = ask(&store, peer, 1);
        ask.lease = lease;
        admitted(&store, ask).await;
        if is_completed {
            let mut completion = completion();
            completion.window = lease;
            store
                .complete(ask.held(), completion)
                .await
                .expect("the call should succeed");
        }
    }
    let keys = server.cli(&["--no-raw", "KEYS", "*"]);
    assert_eq!(keys.lines().count(), 3, "two peers and an answer: {keys}");
    sleep(lease * 3).await;
    server.until("everything has expired", |server| server.cli(&["DBSIZE"]) == "0");
    store.clear().await.expect("the call should succeed");
    let unlimited = "local n = 0; for _, key in ipairs(redis.call('KEYS', '*')) do \
                     if redis.call('PTTL', key) < 0 then n = n + 1 end end; return n";
    assert_eq!(server.cli(&["EVAL", unlimited, "0"]), "0");
    assert_eq!(server.cli(&["DBSIZE"]), "4096");
}

/// Escapes bytes as `redis-cli` does.
fn escaped(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| match byte {
            b'\\' | b'"' => format!("\\{}", char::from(*byte)),
            b'\n' => "\\n".to_owned(),
            b'\r' => "\\r".to_owned(),
            b'\t' => "\\t".to_owned(),
            7 => "\\a".to_owned(),
            8 => "\\b".to_owned(),
            b' '..=b'~' => char::from(*byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        })
        .collect()
}

#[tokio::test]
async fn nothing_secret_reaches_server() {
    let server = Server::start(Engine::Redis, &[]);
    let (first, second) = (
        node(RedisOptions::new(server.url())).await,
        node(RedisOptions::new(server.url())).await,
    );
    let monitor = server.monitor();
    let ask = ask(&first, "alice", 1);
    let uri = SessionUri::new(b"/session/7", b"example.com", b"Bearer s3cret");
    admitted(&first, ask).await;
    second
        .claim(crate::support::ask(&second, "alice", 1))
        .await
        .expect("the call should succeed");
    complete(&first, ask).await;
    first.announce(uri).await.expect("the call should succeed");
    first
        .forget(ask.peer, Scope::Peer)
        .await
        .expect("the call should succeed");

    server.until("everything is printed", |_| {
        monitor.text().matches("\"PUBLISH\"").count() == 3
    });
    let text = monitor.text();
    let fingerprint = ask.fingerprint.to_bytes();
    assert!(
        text.contains(&escaped(&fingerprint)),
        "fingerprints are stored as they are: {text}"
    );
    assert!(!text.contains(&escaped(&ask.peer.to_bytes())), "{text}");
    assert!(!text.contains("ice-pwd"), "{text}");
    for part in uri.to_bytes().chunks(16) {
        assert!(!text.contains(&escaped(part)), "{text}");
    }
}
