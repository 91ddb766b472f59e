//! Nodes that are killed or stopped while they process an offer.

use std::time::{Duration, Instant};

use e2e::{
    http::Message,
    redis::Server,
    table::{Row, note},
    whip_server::{OFFER, TIMEOUT, WhipServer},
};
use tokio::time::sleep;

use crate::fleet::{Fleet, identity, offer};

const MODES: [&[&str]; 2] = [&["--on-store-error", "open"], &["--on-store-error", "closed"]];

/// Milliseconds of the server's clock.
fn time(store: &Server) -> u64 {
    let reply = store.cli(&["TIME"]);
    let mut parts = reply.lines().map(|part| part.parse::<u64>().expect("a number"));
    let (seconds, micros) = (parts.next().expect("seconds"), parts.next().expect("microseconds"));
    seconds * 1000 + micros / 1000
}

/// The end of the lease of the only claim, by the server's clock.
fn lease_end(store: &Server) -> Option<u64> {
    let script = "for _, key in ipairs(redis.call('KEYS', 'whip:*')) do \
                  local l = redis.call('HGET', key, 'l'); if l then return l end end";
    store.cli(&["EVAL", script, "0"]).parse().ok()
}

/// The number of claims in the store.
fn claims(store: &Server) -> usize {
    let script = "local claims = 0; for _, key in ipairs(redis.call('KEYS', 'whip:*')) do \
                  if redis.call('TYPE', key).ok == 'hash' and redis.call('HGET', key, 'l') then \
                  claims = claims + 1 end end; return claims";
    store.cli(&["EVAL", script, "0"]).parse().expect("a number")
}

fn signal(node: &WhipServer, name: &str) {
    let id = node.child.id().to_string();
    let sent = std::process::Command::new("kill").args([name, &id]).status();
    assert!(sent.expect("kill should run").success());
}

/// Waits until the first node processes so many offers, and their claims are stored, a moment later.
async fn until_stored(fleet: &Fleet, count: usize) {
    let counted = count as u64;
    fleet.nodes[0]
        .until("offers in process", |stats| stats["held"]["claims"] == counted)
        .await;
    fleet
        .store
        .until("their claims are stored", |store| claims(store) == count);
}

/// Publishes until it is not refused. Returns the answer, and how often it was refused.
async fn until_answered(node: &WhipServer, path: &str, offer: &str) -> (Message, usize) {
    let start = Instant::now();
    let mut refused = 0;
    loop {
        let answer = node.publish(path, offer).await;
        if answer.status() == 201 {
            return (answer, refused);
        }
        assert!(matches!(answer.status(), 409 | 503), "{}", answer.text());
        assert!(start.elapsed() < TIMEOUT, "{}", answer.text());
        refused += 1;
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn offer_of_killed_node_waits_for_its_lease() {
    for mode in MODES {
        let stuck = [mode, &["--answer-delay-ms", "60000"]].concat();
        let fleet = Fleet::start(&[&stuck, mode]);
        let [a, b] = &fleet.nodes[..] else { unreachable!() };
        let first = async {
            // The connection breaks with the node.
            let request = Message::request("POST", "/whip/stage", &[("Content-Type", "application/sdp")], OFFER);
            assert!(request.exchange(&a.address).await.is_err());
        };
        let retry = async {
            until_stored(&fleet, 1).await;
            signal(a, "-KILL");
            let end = lease_end(&fleet.store).expect("nothing has ended it");
            let killed = time(&fleet.store);
            assert!(end > killed + 5000, "the lease is renewed at a third: {end} {killed}");
            let (answer, refused) = until_answered(b, "/whip/stage", OFFER).await;
            let answered = time(&fleet.store);
            assert!(
                answered >= end,
                "admitted {} ms before the end of the lease",
                end - answered
            );
            // Nothing wakes a waiting offer but its own timers, and a refused one is repeated.
            assert!(
                answered < end + 15_000,
                "{} ms after the end of the lease",
                answered - end
            );
            assert_eq!(answer.field("offer-replayed"), None);
            refused
        };
        let ((), refused) = tokio::join!(first, retry);
        assert_eq!(b.stats().await["created"], 1);
        assert_eq!(b.stats().await["offers"]["admitted_alone"], 0);
        note(Row {
            fault: "node killed while processing",
            mode: mode[1],
            offers: 2 + refused,
            // Once on each node. The first one was gone by then.
            processed: 2,
            refused,
            overlap: 1,
        });
    }
}

#[tokio::test]
async fn node_stopped_past_its_lease_is_overtaken() {
    for mode in MODES {
        let slow = [mode, &["--answer-delay-ms", "3000"]].concat();
        let fleet = Fleet::start(&[&slow, mode]);
        let [a, b] = &fleet.nodes[..] else { unreachable!() };
        let overtaken = a.publish("/whip/overtaken", OFFER);
        let left_alone = a.publish("/whip/left-alone", OFFER);
        let rest = async {
            until_stored(&fleet, 2).await;
            signal(a, "-STOP");
            let stopped = Instant::now();
            let (second, _) = until_answered(b, "/whip/overtaken", &offer(2)).await;
            assert_eq!(second.field("offer-replayed"), None);
            let waited = stopped.elapsed();
            assert!(
                waited > Duration::from_secs(5),
                "the lease should hold it off: {waited:?}"
            );
            // Past the other lease as well.
            sleep(Duration::from_secs(12).saturating_sub(waited)).await;
            signal(a, "-CONT");
        };
        let (overtaken, left_alone, ()) = tokio::join!(overtaken, left_alone, rest);

        // A late completion that nobody overtook counts. Its first try may have failed on a connection that the pause
        // has made stale.
        assert_eq!(left_alone.status(), 201, "{}", left_alone.text());
        a.until("acknowledged completions", |stats| stats["held"]["store_messages"] == 0)
            .await;
        let again = b.publish("/whip/left-alone", OFFER).await;
        assert_eq!(identity(&again), identity(&left_alone));
        assert_eq!(again.field("offer-replayed"), Some("true"));

        // The other one counts for nothing, whether its answer was still given or not.
        assert!(matches!(overtaken.status(), 201 | 503), "{}", overtaken.text());
        let (again, _) = until_answered(b, "/whip/overtaken", OFFER).await;
        assert_eq!(again.field("offer-replayed"), None);
        assert_eq!(b.stats().await["created"], 2);
    }
}

#[tokio::test]
async fn terminated_node_frees_its_peer() {
    for mode in MODES {
        let slow = [mode, &["--answer-delay-ms", "2500"]].concat();
        let mut fleet = Fleet::start(&[&slow, mode]);
        let [a, b] = &fleet.nodes[..] else { unreachable!() };
        let first = a.publish("/whip/stage", OFFER);
        let second = async {
            until_stored(&fleet, 1).await;
            signal(a, "-TERM");
            let end = lease_end(&fleet.store).expect("nothing has ended it");
            let (answer, refused) = until_answered(b, "/whip/stage", &offer(2)).await;
            let answered = time(&fleet.store);
            assert!(answered + 2000 < end, "admitted {answered}, and the lease ends {end}");
            assert_eq!(answer.field("offer-replayed"), None);
            refused
        };
        let (first, refused) = tokio::join!(first, second);
        assert_eq!((first.status(), first.field("offer-replayed")), (201, None));
        assert_eq!(b.stats().await["created"], 1);
        let exited = fleet.nodes[0].child.wait().expect("the node should exit");
        assert_eq!(exited.code(), Some(0));
        note(Row {
            fault: "node terminated while processing",
            mode: mode[1],
            offers: 2 + refused,
            // One on each node.
            processed: 2,
            refused,
            overlap: 1,
        });
    }
}

#[tokio::test]
async fn unfinished_offer_is_released_at_shutdown() {
    for mode in MODES {
        let stuck = [mode, &["--answer-delay-ms", "60000"]].concat();
        let mut fleet = Fleet::start(&[&stuck, mode]);
        let a = &fleet.nodes[0];
        let first = async {
            let request = Message::request("POST", "/whip/stage", &[("Content-Type", "application/sdp")], OFFER);
            // The connection may break with the node.
            if let Ok(answer) = request.exchange(&a.address).await {
                assert_eq!(answer.status(), 503, "{}", answer.text());
            }
        };
        let shutdown = async {
            until_stored(&fleet, 1).await;
            signal(a, "-TERM");
        };
        tokio::join!(first, shutdown);
        let exited = fleet.nodes[0].child.wait().expect("the node should exit");
        assert_eq!(exited.code(), Some(0));
        assert_eq!(lease_end(&fleet.store), None);
        let answer = fleet.nodes[1].publish("/whip/stage", &offer(2)).await;
        assert_eq!((answer.status(), answer.field("offer-replayed")), (201, None));
    }
}
