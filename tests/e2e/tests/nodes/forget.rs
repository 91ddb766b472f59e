//! A peer is forgotten while a node is cut off.

use e2e::{
    redis::{Engine, Server},
    table::{Row, note},
};
use tower_offer_dedup::store::RedisOptions;

use crate::{
    faults::MODES,
    link::Link,
    node::{HELD, Handler, Node, until},
};

#[tokio::test]
async fn missed_forget_takes_effect_on_reconnect() {
    for (mode, settings) in MODES {
        let server = Server::start(Engine::Redis, &[]);
        let (link, url) = Link::to(server.port()).await;
        let handler = Handler::ready();
        let a = Node::start(RedisOptions::new(server.url()), &handler, settings).await;
        let b = Node::start(RedisOptions::new(url), &handler, settings).await;
        let before = Ok("answer 1".to_owned());
        assert_eq!(a.call("alice", "f").await, before);
        assert_eq!(b.call("alice", "f").await, before);
        let running = b.send("bob", HELD);
        handler.until_called(2).await;

        link.partition(true);
        a.handle().forget("alice");
        until("the store has forgotten", || a.stats().store_messages == 0).await;
        assert_eq!(a.stats().store_messages_dropped, 0);
        assert_eq!(b.call("alice", "f").await, before, "the node cannot know of it");
        assert_eq!(handler.calls(), 2);

        link.partition(false);
        link.cut();
        b.until_back().await;
        let again = b.call("alice", "f").await;
        assert_eq!(again, Ok("answer 3".to_owned()));
        assert_eq!(a.call("alice", "f").await, again);
        let fences = handler.fences_of("alice", "f");
        assert!(fences[0].is_some() && fences[0] < fences[1], "{fences:?}");

        // The claim is kept: in the store, and by the node.
        assert_eq!(a.call("bob", "g").await, Err("busy".to_owned()));
        handler.answer_held();
        assert_eq!(running.await.unwrap(), Ok("answer 2".to_owned()));
        assert_eq!(a.call("bob", HELD).await, Ok("answer 2".to_owned()));
        assert_eq!((handler.calls(), handler.overlap()), (3, 1));
        note(Row {
            fault: "forget while partitioned",
            mode,
            offers: 8,
            processed: 3,
            refused: 1,
            overlap: 1,
        });
    }
}
