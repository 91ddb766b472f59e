//! A server that evicts: the promise is void, and the numbers of claims still rise.

use std::{fs, sync::Mutex};

use e2e::{
    redis::{Engine, Folder, Server},
    table::{Row, note},
};
use tower_offer_dedup::store::RedisOptions;

use crate::{
    faults::MODES,
    node::{HELD, Handler, SECRET, assert_answered_or_aborted, nodes},
};

/// The peers whose offers are processed before the server evicts.
const PEERS: usize = 20;

/// Connects, and returns what was logged.
async fn logged(url: String) -> String {
    let folder = Folder::new();
    let path = folder.path().join("log");
    let file = fs::File::create(&path).expect("the file should be writable");
    let subscriber = tracing_subscriber::fmt()
        .with_writer(Mutex::new(file))
        .with_ansi(false)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let store = RedisOptions::new(url).secret(SECRET).connect().await;
    store.expect("the server should be taken");
    fs::read_to_string(path).expect("the log should be text")
}

/// Stores other data, as a cache on the same server would, until nothing of the nodes is left.
fn evict_all(server: &Server) {
    let used: u64 = server.info("used_memory").parse().expect("a number of bytes");
    server.cli(&["CONFIG", "SET", "maxmemory", &(used + 500_000).to_string()]);
    let fill = "for _ = 1, 200 do \
                redis.call('SET', 'cache' .. redis.call('INCR', 'cached'), string.rep('x', 1000)) end; \
                return #redis.call('KEYS', 'od1:*')";
    server.until("everything of the nodes is evicted", |server| {
        server.cli(&["EVAL", fill, "0"]) == "0"
    });
    assert_ne!(server.info("evicted_keys"), "0");
}

#[tokio::test]
async fn evicted_offers_run_again_with_higher_numbers() {
    for (mode, settings) in MODES {
        let server = Server::start(Engine::Redis, &["--maxmemory-policy", "allkeys-lru"]);
        let warning = logged(server.url()).await;
        assert!(warning.contains("WARN") && warning.contains("allkeys-lru"), "{warning}");
        let handler = Handler::ready();
        let [a, b] = nodes(&server.url(), &handler, settings).await;
        let peers: Vec<_> = (0..PEERS).map(|peer| format!("peer {peer}")).collect();
        for peer in &peers {
            a.call(peer, "f").await.expect("an answer");
        }
        let running = a.send("alice", HELD);
        handler.until_called(PEERS + 1).await;
        evict_all(&server);

        for peer in &peers {
            b.call(peer, "f").await.expect("an answer");
        }
        let second = b.send("alice", HELD);
        handler.until_called(2 * (PEERS + 1)).await;
        assert_eq!(handler.overlap(), 2, "the claim is lost as well");
        handler.answer_held();
        second.await.unwrap().expect("an answer");
        assert_answered_or_aborted(&running.await.unwrap(), &format!("answer {}", PEERS + 1));

        let offers = peers.iter().map(|peer| (peer.as_str(), "f"));
        for (peer, text) in offers.chain([("alice", HELD)]) {
            let fences = handler.fences_of(peer, text);
            assert_eq!(fences.len(), 2, "{peer}");
            assert!(fences[0].is_some() && fences[0] < fences[1], "{peer}: {fences:?}");
        }
        note(Row {
            fault: "evicting policy",
            mode,
            offers: 2 * (PEERS + 1),
            processed: handler.calls(),
            refused: 0,
            overlap: 2,
        });
    }
}
