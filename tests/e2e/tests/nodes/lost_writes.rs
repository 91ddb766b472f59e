//! Counts what is left of the promise when a replica takes over without the last writes of its master.

use std::time::Duration;

use e2e::{
    redis::{Engine, Server, start_cluster},
    table::{Row, note},
};
use tokio::time::{Instant, sleep};
use tower_offer_dedup::store::{OnStoreError, RedisOptions};

use crate::{
    faults::MODES,
    node::{HELD, Handler, Mode, Node, PATIENCE},
};

const SENTINEL: [&str; 3] = [
    "failover by Sentinel: replicated",
    "failover by Sentinel: last writes lost",
    "failover by Sentinel: meanwhile",
];
const CLUSTER: [&str; 3] = [
    "failover in a cluster: replicated",
    "failover in a cluster: last writes lost",
    "failover in a cluster: meanwhile",
];

/// The offers that were processed while the replicas were in sync.
const KEPT: usize = 12;

/// Sends offers to two nodes until both get the same answer, as they do when the store is back.
async fn until_shared(nodes: [&Node; 2], peer: &str) {
    let start = Instant::now();
    for probe in 0.. {
        let text = format!("probe {probe}");
        let [one, other] = [nodes[0].call(peer, &text).await, nodes[1].call(peer, &text).await];
        if one.is_ok() && one == other {
            return;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "the nodes should share again: {one:?}, {other:?}"
        );
        sleep(Duration::from_millis(100)).await;
    }
}

/// Plays a failover that loses a completion and a claim of one peer. `servers` are all masters and replicas.
async fn failover(
    faults: [&'static str; 3],
    servers: &mut [Server],
    options: impl Fn() -> RedisOptions,
    (mode, settings): (&'static str, Mode),
) {
    let handler = Handler::ready();
    let (a, b, c) = (
        Node::start(options(), &handler, settings).await,
        Node::start(options(), &handler, settings).await,
        Node::start(options(), &handler, settings).await,
    );
    let mut kept = Vec::new();
    for peer in 0..KEPT {
        kept.push(
            a.call_until_back(&format!("kept {peer}"), "f")
                .await
                .expect("an answer"),
        );
    }
    assert_eq!(handler.calls(), KEPT);
    let is_master = |&server: &usize| servers[server].info("role") == "master";
    let (masters, replicas): (Vec<_>, Vec<_>) = (0..servers.len()).partition(is_master);
    for &master in &masters {
        servers[master].until("its replica has everything", |master| {
            let offset = format!("offset={},", master.info("master_repl_offset"));
            master.info("slave0").contains(&offset)
        });
    }

    // From here on nothing reaches the replicas, and masters acknowledge all the same.
    replicas.iter().for_each(|&replica| servers[replica].signal("STOP"));
    let size = |master: usize| servers[master].cli(&["DBSIZE"]);
    let sizes: Vec<_> = masters.iter().map(|&master| size(master)).collect();
    for &master in &masters {
        servers[master].cli(&["CLIENT", "KILL", "TYPE", "replica"]);
    }
    let completed = a.call("alice", "f").await.expect("an answer");
    let running = a.send("alice", HELD);
    handler.until_called(KEPT + 2).await;
    let mut grown = masters
        .iter()
        .zip(&sizes)
        .filter(|(master, before)| size(**master) != **before);
    let (&victim, _) = grown.next().expect("alice's master should hold her keys");
    servers[victim].kill();

    // New offers are refused, or decided by the node alone.
    let before = handler.calls();
    let during = b.call("alice", "during").await;
    let refused = usize::from(during.is_err());
    match settings.on_store_error {
        OnStoreError::FailClosed => assert_eq!(during, Err("store_unavailable".to_owned())),
        OnStoreError::FailOpen => assert!(during.is_ok(), "{during:?}"),
    }
    assert_eq!(handler.calls() - before, 1 - refused);
    assert_eq!(
        a.call("alice", "f").await,
        Ok(completed.clone()),
        "a node keeps what it knows"
    );
    replicas.iter().for_each(|&replica| servers[replica].signal("CONT"));
    until_shared([&b, &c], "alice").await;

    // Lost with the master: the memory, and the claim of the offer that runs.
    let before = handler.calls();
    let again = b.call_until_back("alice", "f").await.expect("an answer");
    assert_ne!(again, completed);
    let second = b.send("alice", HELD);
    handler.until_called(before + 2).await;
    for text in ["f", HELD] {
        let fences = handler.fences_of("alice", text);
        assert_eq!(fences.len(), 2, "{text} runs twice");
        assert!(fences[0].is_some() && fences[0] < fences[1], "numbers rise: {fences:?}");
    }
    handler.answer_held();
    let second = second.await.expect("a reply").expect("an answer");
    let late = running.await.expect("a reply");
    assert!(late.is_ok() || late == Err("aborted".to_owned()), "{late:?}");
    assert_eq!(
        c.call_until_back("alice", HELD).await,
        Ok(second),
        "the late completion counts for nothing"
    );

    // Kept by the replica: all that it had.
    for (peer, answer) in kept.into_iter().enumerate() {
        let peer = format!("kept {peer}");
        assert_eq!(c.call_until_back(&peer, "f").await, Ok(answer), "{peer}");
        assert_eq!(handler.fences_of(&peer, "f").len(), 1, "{peer}");
    }
    let [replicated, lost, meanwhile] = faults;
    let row = |fault, offers, processed, refused, overlap| Row {
        fault,
        mode,
        offers,
        processed,
        refused,
        overlap,
    };
    note(row(replicated, KEPT, KEPT, 0, 1));
    note(row(lost, 2, 4, 0, handler.overlap()));
    note(row(meanwhile, 1, 1 - refused, refused, 1));
}

#[tokio::test]
async fn sentinel_failover_repeats_lost_writes_only() {
    for mode in MODES {
        let master = Server::start(Engine::Redis, &["--repl-diskless-sync-delay", "0"]);
        let replica = Server::start(Engine::Redis, &["--replicaof", "127.0.0.1", &master.port().to_string()]);
        replica.until("it is in sync", |replica| replica.info("master_link_status") == "up");
        let sentinel = Server::watch(&master, "signaling", &[]);
        sentinel.until("the replica is known", |sentinel| {
            let replicas = sentinel.cli(&["SENTINEL", "REPLICAS", "signaling"]);
            replicas.contains("127.0.0.1")
        });
        let options = || RedisOptions::sentinel([sentinel.url()], "signaling");
        failover(SENTINEL, &mut [master, replica], options, mode).await;
    }
}

#[tokio::test]
async fn cluster_failover_repeats_lost_writes_only() {
    for mode in MODES {
        let mut servers = start_cluster(Engine::Redis);
        let urls: Vec<_> = servers.iter().map(Server::url).collect();
        failover(CLUSTER, &mut servers, || RedisOptions::cluster(urls.clone()), mode).await;
    }
}
