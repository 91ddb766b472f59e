//! Two servers that share a store.

use e2e::{
    redis::{Engine, Server},
    room_server::RoomServer,
};

use crate::client::{negotiate, pair, sdp, stats};

#[tokio::test]
async fn servers_with_one_store_do_not_mix_up_sockets() {
    let store = Server::start(Engine::Redis, &[]);
    let url = store.url();
    let flags = ["--redis", &url, "--on-store-error", "closed"];
    let servers = [RoomServer::start(&flags), RoomServer::start(&flags)];
    // The sockets of both come in the same order. Numbered alike, they would be the same peers in the store.
    for server in &servers {
        let (mut alice, mut bob) = pair(server).await;
        negotiate(&mut alice, &mut bob, &sdp(1)).await;
        alice.offer("bob", &sdp(1)).await;
        let reply = alice.next().await;
        assert_eq!(reply["type"], "ignored", "{reply}");
        // Its completion may still be on the way to the store.
        let reason = reply["reason"].as_str().expect("a reason");
        assert!(["processed", "in_flight"].contains(&reason), "{reply}");
        assert_eq!(stats(server).await["stats"]["admitted"], 1);
    }
    // Keys may contain line breaks, so the server counts them.
    let count = "return #redis.call('KEYS', 'room:od1:*')";
    assert_eq!(store.cli(&["EVAL", count, "0"]), "2");
}
