//! The promises of the nodes while everything works.

use std::time::{Duration, Instant};

use e2e::{
    http::Message,
    whip_server::{OFFER, TIMEOUT},
};
use futures_util::{StreamExt, future::join_all, stream};
use tokio::time::sleep;

use crate::{
    balancer::{Balancer, Habits},
    fleet::{Fleet, identity, offer},
};

const CLOSED: &[&str] = &["--on-store-error", "closed"];
const SDP: &[(&str, &str)] = &[("Content-Type", "application/sdp")];

/// Publishes through a balancer. A slow machine may fail a call to the store: then the client tries again.
async fn publish(balancer: &Balancer, path: &str, offer: &str) -> Message {
    let start = Instant::now();
    loop {
        let request = Message::request("POST", path, SDP, offer);
        let answer = request.exchange(&balancer.address).await.expect("an answer");
        if answer.status() != 503 {
            return answer;
        }
        assert!(start.elapsed() < TIMEOUT, "{}", answer.text());
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn storm_is_processed_once() {
    const PEERS: usize = 200;
    let fleet = Fleet::start(&[CLOSED; 3]);
    let balancer = Balancer::start(fleet.addresses(), Habits::default()).await;
    let balancer = &balancer;
    // Few peers at a time, so that none waits for its answers longer than its session for a connection.
    let peers = stream::iter(0..PEERS).map(async |peer| {
        let path = format!("/whip/peer-{peer}");
        let answers = join_all((0..16).map(|_| publish(balancer, &path, OFFER))).await;
        assert_eq!(answers[0].status(), 201, "{}", answers[0].text());
        for answer in &answers {
            assert_eq!(identity(answer), identity(&answers[0]), "peer {peer}");
        }
    });
    peers.buffer_unordered(8).collect::<()>().await;

    let reached = |node| balancer.posts().iter().filter(|post| post.node == node).count();
    assert!((0..3).all(|node| reached(node) >= PEERS * 16 / 3));
    assert_eq!(fleet.created().await, 200);
    assert_eq!(fleet.sum(|stats| &stats["offers"]["admitted"]).await, 200);
    for node in &fleet.nodes {
        let metrics = node.request("GET", "/metrics", &[], "").await;
        let line = format!(
            "offer_dedup_offers_total{{layer=\"whip\",outcome=\"admitted\"}} {}",
            node.stats().await["offers"]["admitted"]
        );
        assert!(metrics.text().lines().any(|found| found == line), "{line}");
    }
}

#[tokio::test]
async fn rejoin_on_another_node_waits_for_its_turn() {
    let slow = [CLOSED, &["--answer-delay-ms", "1500"]].concat();
    let fleet = Fleet::start(&[&slow, &slow]);
    let [a, b] = &fleet.nodes[..] else { unreachable!() };
    let first = async {
        let answer = a.publish("/whip/stage", OFFER).await;
        (answer, Instant::now())
    };
    let second = async {
        a.until("the first offer in process", |stats| stats["held"]["claims"] == 1)
            .await;
        let answer = b.publish("/whip/stage", &offer(2)).await;
        (answer, Instant::now())
    };
    let ((first, before), (second, after)) = tokio::join!(first, second);
    assert_eq!((first.status(), second.status()), (201, 201), "{}", second.text());
    assert_ne!(first.field("location"), second.field("location"));
    // Each takes 1.5 s. At once, they would end at nearly the same time.
    let apart = after.saturating_duration_since(before);
    assert!(apart > Duration::from_secs(1), "{apart:?}");
    assert_eq!(fleet.created().await, 2);
}

#[tokio::test]
async fn delete_is_seen_by_other_nodes() {
    let fleet = Fleet::start(&[CLOSED; 3]);
    let [a, b, c] = &fleet.nodes[..] else { unreachable!() };
    let first = a.publish("/whip/stage", OFFER).await;
    for other in [b, c] {
        let answer = other.publish("/whip/stage", OFFER).await;
        assert_eq!(answer.field("offer-replayed"), Some("true"));
        assert_eq!(identity(&answer), identity(&first));
    }
    let location = first.field("location").expect("the answer should have a Location");
    assert!(location.starts_with("/whip/stage/a-"), "{location}");
    assert_eq!(a.request("DELETE", location, &[], "").await.status(), 200);

    // The other nodes learn of it by a notice.
    let start = Instant::now();
    let second = loop {
        let answer = b.publish("/whip/stage", OFFER).await;
        if identity(&answer) != identity(&first) {
            break answer;
        }
        assert!(start.elapsed() < TIMEOUT, "the other node should forget");
        sleep(Duration::from_millis(20)).await;
    };
    assert_eq!((second.status(), second.field("offer-replayed")), (201, None));
    for node in [a, c] {
        assert_eq!(identity(&node.publish("/whip/stage", OFFER).await), identity(&second));
    }
    assert_eq!(fleet.created().await, 2);
}

/// Two copies of an offer through a balancer that rewrites hosts.
async fn sessions_behind_rewritten_hosts(flags: &[&str]) -> u64 {
    let flags = [CLOSED, flags].concat();
    let fleet = Fleet::start(&[&flags, &flags]);
    let habits = Habits {
        rewrites_host: true,
        ..Habits::default()
    };
    let balancer = Balancer::start(fleet.addresses(), habits).await;
    for _ in 0..2 {
        assert_eq!(publish(&balancer, "/whip/stage", OFFER).await.status(), 201);
    }
    let nodes: Vec<_> = balancer.posts().iter().map(|post| post.node).collect();
    assert_eq!(nodes, [0, 1]);
    fleet.created().await
}

#[tokio::test]
async fn rewritten_hosts_need_key_without_host() {
    assert_eq!(sessions_behind_rewritten_hosts(&[]).await, 2);
    assert_eq!(sessions_behind_rewritten_hosts(&["--ignore-host"]).await, 1);
}

#[tokio::test]
async fn sealing_keys_are_replaced_node_by_node() {
    let [digest, old, new] = [1, 2, 3].map(|byte| format!("{byte:02x}").repeat(32));
    let secrets = [
        format!("digest={digest} sealing={old}"),
        format!("digest={digest} sealing={old} sealing={new}"),
        format!("digest={digest} sealing={new} sealing={old}"),
    ];
    let fleet = Fleet::start_with_secrets(&[
        (CLOSED, secrets[0].as_str()),
        (CLOSED, &secrets[1]),
        (CLOSED, &secrets[2]),
    ]);
    let [before, appended, promoted] = &fleet.nodes[..] else {
        unreachable!()
    };
    let steps = [
        (before, appended),
        (appended, before),
        (appended, promoted),
        (promoted, appended),
    ];
    for (step, (one, other)) in steps.into_iter().enumerate() {
        let path = format!("/whip/step-{step}");
        let first = one.publish(&path, OFFER).await;
        assert_eq!(first.status(), 201, "{}", first.text());
        let second = other.publish(&path, OFFER).await;
        assert_eq!(identity(&second), identity(&first), "step {step}");
        assert_eq!(second.field("offer-replayed"), Some("true"));
    }
    // A node without the key knows of the offer, but not the answer.
    assert_eq!(promoted.publish("/whip/too-early", OFFER).await.status(), 201);
    assert_eq!(before.publish("/whip/too-early", OFFER).await.status(), 409);
    assert_eq!(fleet.created().await, 5);
}
