//! Chromium, which publishes through the balancer and repeats what got lost.

use std::collections::BTreeSet;

use e2e::chromium::Chromium;

use crate::{
    balancer::{Balancer, Habits},
    fleet::{Fleet, identity},
};

#[tokio::test]
async fn browser_publishes_while_answers_are_lost() {
    let fleet = Fleet::start(&[[].as_slice(); 3]);
    let habits = Habits {
        lost_answers: 1,
        ..Habits::default()
    };
    let balancer = Balancer::start(fleet.addresses(), habits).await;
    let chromium = Chromium::start().await;
    let page = chromium.page().await;
    // Another origin than the endpoint's: a preflight opens the connection that the `POST` then loses.
    let (_, port) = fleet.nodes[0].address.split_once(':').expect("a port");
    page.goto(&format!("http://localhost:{port}/stats")).await;
    let script = include_str!("../whip/publisher.js");
    page.value(&format!("(() => {{ {script} }})()")).await;
    let publish = format!("publish('http://{}/whip/chromium')", balancer.address);
    page.value(&format!("(() => {{ {publish} }})()")).await;
    page.until("window.pc?.iceConnectionState === 'connected'").await;
    // The session's later requests find the node that has it.
    page.until("window.trickled === 204").await;

    let posts = balancer.posts();
    assert!(posts.len() >= 2, "the browser should repeat its post: {posts:#?}");
    let nodes: BTreeSet<_> = posts.iter().map(|post| post.node).collect();
    assert!(nodes.len() >= 2, "{nodes:?}");
    for post in &posts[1..] {
        assert_eq!(post.request.body, posts[0].request.body);
        assert_eq!(identity(&post.answer), identity(&posts[0].answer));
        assert_eq!(post.answer.field("offer-replayed"), Some("true"));
    }
    let owner = &fleet.nodes[posts[0].node];
    owner.receives(&[("opus", 50), ("VP8", 25)]).await;
    assert_eq!(fleet.created().await, 1);

    page.value("(() => stop())()").await;
    owner.until("the end", |stats| stats["live"] == 0).await;
    chromium.quit([page]).await;
}
