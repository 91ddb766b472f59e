//! The slot of a peer moves to another master of a cluster.

use e2e::{
    redis::{Engine, Server, move_slot, start_cluster},
    table::{Row, note},
};
use tower_offer_dedup::store::RedisOptions;

use crate::{
    faults::MODES,
    node::{HELD, Handler, Node},
    upgrade::{THIS, keys},
};

/// How often a server has redirected a call to another one.
fn redirections(server: &Server) -> usize {
    let count = server.info("errorstat_MOVED");
    count
        .strip_prefix("count=")
        .map_or(0, |count| count.parse().expect("a count"))
}

#[tokio::test]
async fn moved_slot_keeps_claim_and_answers() {
    let servers = start_cluster(Engine::Redis);
    let urls: Vec<_> = servers.iter().map(Server::url).collect();
    let masters: Vec<_> = servers
        .iter()
        .filter(|server| server.info("role") == "master")
        .collect();
    for (mode, settings) in MODES {
        let handler = Handler::ready();
        let start = || Node::start(RedisOptions::cluster(urls.clone()), &handler, settings);
        let (a, b) = (start().await, start().await);
        let peer = format!("peer, {mode}");
        a.call(&peer, "f").await.expect("an answer");
        let running = a.send(&peer, HELD);
        handler.until_called(2).await;

        let is_home = |master: &&&Server| !keys(master, THIS).is_empty();
        let home = masters.iter().find(is_home).expect("a master should have the peer");
        let other = masters.iter().find(|master| !is_home(master)).expect("another master");
        let before = redirections(home);
        move_slot(&keys(home, THIS)[0], home, other);
        assert_eq!((keys(home, THIS).len(), keys(other, THIS).len()), (0, 2));

        // The claim and the answer have moved.
        assert_eq!(b.call(&peer, "g").await, Err("busy".to_owned()));
        assert_eq!(b.call(&peer, "f").await, Ok("answer 1".to_owned()));
        handler.answer_held();
        assert_eq!(running.await.unwrap(), Ok("answer 2".to_owned()));
        assert_eq!(b.call(&peer, HELD).await, Ok("answer 2".to_owned()));
        assert!(redirections(home) >= before + 2, "each node has asked the old master");
        assert_eq!(handler.calls(), 2);
        assert_eq!(a.call(&peer, "h").await, Ok("answer 3".to_owned()));
        assert_eq!(b.call(&peer, "h").await, Ok("answer 3".to_owned()));
        assert_eq!((handler.calls(), handler.overlap()), (3, 1));
        note(Row {
            fault: "MOVED",
            mode,
            offers: 7,
            processed: 3,
            refused: 1,
            overlap: 1,
        });
        other.cli(&["FLUSHALL"]);
    }
}
