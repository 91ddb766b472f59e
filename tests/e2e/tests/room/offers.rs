//! Offers that pass, and the replies to those that do not.

use std::time::{Duration, Instant};

use e2e::room_server::RoomServer;
use serde_json::{Value, json};

use crate::client::{Client, TIMEOUT, ignored, negotiate, pair, sdp, stats};

#[tokio::test]
async fn duplicate_in_flight_is_ignored() {
    let server = RoomServer::start(&[]);
    let (mut alice, mut bob) = pair(&server).await;
    alice.offer("bob", &sdp(1)).await;
    bob.next().await;
    alice.offer("bob", &sdp(1)).await;
    ignored(&alice.next().await, "bob", "in_flight");
    alice.offer("bob", &sdp(2)).await;
    assert!(ignored(&alice.next().await, "bob", "busy").is_some_and(|retry| retry > 0));
    bob.assert_no_message().await;

    bob.answer("alice").await;
    assert_eq!(alice.next().await["type"], "answer");
    bob.assert_no_message().await;
}

#[tokio::test]
async fn duplicate_and_early_offer_are_ignored() {
    let server = RoomServer::start(&["--window-ms", "60000", "--cooldown-ms", "3000"]);
    let (mut alice, mut bob) = pair(&server).await;
    negotiate(&mut alice, &mut bob, &sdp(1)).await;

    alice.offer("bob", &sdp(1)).await;
    assert_eq!(ignored(&alice.next().await, "bob", "processed"), None);
    alice.offer("bob", &sdp(2)).await;
    let retry = ignored(&alice.next().await, "bob", "cooling_down").expect("retry_after_ms should be set");
    assert!((1..=3000).contains(&retry), "{retry}");
    bob.assert_no_message().await;

    tokio::time::sleep(Duration::from_millis(retry)).await;
    negotiate(&mut alice, &mut bob, &sdp(2)).await;
    alice.offer("bob", &sdp(1)).await;
    ignored(&alice.next().await, "bob", "processed");
}

#[tokio::test]
async fn expired_offer_is_processed_again() {
    let server = RoomServer::start(&["--window-ms", "300", "--cooldown-ms", "0"]);
    let (mut alice, mut bob) = pair(&server).await;
    let start = Instant::now();
    negotiate(&mut alice, &mut bob, &sdp(1)).await;
    loop {
        alice.offer("bob", &sdp(1)).await;
        tokio::select! {
            again = bob.next() => break assert_eq!(again["sdp"], sdp(1)),
            reply = alice.next() => ignored(&reply, "bob", "processed"),
        };
        assert!(start.elapsed() < TIMEOUT);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
}

#[tokio::test]
async fn other_directions_and_targets_are_free() {
    let server = RoomServer::start(&[]);
    let (mut alice, mut bob) = pair(&server).await;
    let mut carol = Client::join_among(&server, "r", "carol", &["alice", "bob"]).await;
    alice.next().await;
    bob.next().await;

    alice.offer("bob", &sdp(1)).await;
    alice.offer("carol", &sdp(1)).await;
    bob.offer("alice", &sdp(1)).await;
    assert_eq!(bob.next().await["from"], "alice");
    assert_eq!(carol.next().await["from"], "alice");
    assert_eq!(alice.next().await["from"], "bob");
    carol.answer("alice").await;
    assert_eq!(alice.next().await["from"], "carol");
    alice.assert_no_message().await;
    assert_eq!(stats(&server).await["stats"]["claims"], 2);
}

#[tokio::test]
async fn waiting_offer_delays_no_candidate() {
    let server = RoomServer::start(&["--repeat", "3", "--repeat-delay-ms", "0"]);
    let (mut alice, mut bob) = pair(&server).await;
    alice.offer("bob", &sdp(1)).await;
    for n in 0..50 {
        alice
            .say(json!({ "type": "candidate", "to": "bob", "candidate": n }))
            .await;
    }
    assert_eq!(
        bob.next().await["type"],
        "offer",
        "a candidate arrived before its offer"
    );
    for n in 0..50 {
        assert_eq!(bob.next().await["candidate"], n);
    }
    bob.answer("alice").await;
    bob.say(json!({ "type": "candidate", "to": "alice", "candidate": 0 }))
        .await;
    for _ in 0..3 {
        ignored(&alice.next().await, "bob", "in_flight");
    }
    assert_eq!(
        alice.next().await["type"],
        "answer",
        "a candidate arrived before its answer"
    );
    assert_eq!(alice.next().await["type"], "candidate");
}

#[tokio::test]
async fn layer_delivers_repeated_offers_once() {
    for (flags, arrivals) in [(&["--repeat", "3"][..], 1), (&["--repeat", "3", "--no-dedup"], 4)] {
        let server = RoomServer::start(flags);
        let (mut alice, mut bob) = pair(&server).await;
        alice.offer("bob", &sdp(1)).await;
        for _ in 0..arrivals {
            assert_eq!(bob.next().await["sdp"], sdp(1));
            bob.answer("alice").await;
        }
        let mut answers = 0;
        for _ in 0..4 {
            let reply = alice.next().await;
            match reply["type"].as_str() {
                Some("answer") => answers += 1,
                _ => assert_eq!(reply["type"], "ignored"),
            }
        }
        assert_eq!(answers, arrivals, "{flags:?}");
        bob.assert_no_message().await;
        alice.assert_no_message().await;
    }
}

#[tokio::test]
async fn repetitions_arrive_at_random_times() {
    let flags = ["--no-dedup", "--repeat", "8", "--repeat-delay-ms", "100..600"];
    let server = RoomServer::start(&flags);
    let (mut alice, mut bob) = pair(&server).await;
    let sent = Instant::now();
    alice.offer("bob", &sdp(1)).await;
    bob.next().await;
    let mut gaps = Vec::new();
    let mut last = sent;
    for _ in 0..8 {
        assert_eq!(bob.next().await["sdp"], sdp(1));
        gaps.push(last.elapsed());
        last = Instant::now();
    }
    let first = gaps.remove(0);
    assert!(first >= Duration::from_millis(100), "{first:?}");
    // Without random delays, all gaps would be alike.
    let (least, most) = (gaps.iter().min(), gaps.iter().max());
    assert!(
        most.zip(least)
            .is_some_and(|(most, least)| *most > *least + Duration::from_millis(20)),
        "{gaps:?}"
    );
    bob.assert_no_message().await;
}

#[tokio::test]
async fn another_offer_waits_in_the_queue() {
    let server = RoomServer::start(&["--queue", "--cooldown-ms", "0"]);
    let (mut alice, mut bob) = pair(&server).await;
    alice.offer("bob", &sdp(1)).await;
    assert_eq!(bob.next().await["sdp"], sdp(1));
    alice.offer("bob", &sdp(2)).await;
    alice.offer("bob", &sdp(2)).await;
    ignored(&alice.next().await, "bob", "in_flight");
    bob.assert_no_message().await;

    bob.answer("alice").await;
    assert_eq!(alice.next().await["type"], "answer");
    assert_eq!(bob.next().await["sdp"], sdp(2));
    bob.answer("alice").await;
    assert_eq!(alice.next().await["type"], "answer");
    assert_eq!(stats(&server).await["queue"], true);
}

#[tokio::test]
async fn newer_offer_replaces_the_unanswered_one() {
    let server = RoomServer::start(&["--newest-wins", "--lose-answers", "1"]);
    let (mut alice, mut bob) = pair(&server).await;
    alice.offer("bob", &sdp(1)).await;
    assert_eq!(bob.next().await["sdp"], sdp(1));
    bob.answer("alice").await;
    bob.assert_no_message().await;
    alice.assert_no_message().await;

    alice.offer("bob", &sdp(2)).await;
    assert_eq!(ignored(&alice.next().await, "bob", "superseded"), None);
    assert_eq!(bob.next().await["sdp"], sdp(2));
    bob.answer("alice").await;
    assert_eq!(alice.next().await["type"], "answer");
    let late = json!({ "type": "offer", "to": "bob", "number": 1, "sdp": sdp(1) });
    alice.say(late).await;
    let notice = alice.next().await;
    ignored(&notice, "bob", "superseded");
    assert_eq!(notice["number"], 1, "the notice names the offer");
    negotiate(&mut alice, &mut bob, &sdp(3)).await;

    let stats = stats(&server).await;
    assert_eq!(stats["newest_wins"], true);
    assert_eq!(
        (&stats["stats"]["superseded"], &stats["stats"]["refused_superseded"]),
        (&json!(1), &json!(1))
    );
}

#[tokio::test]
async fn unanswered_offer_fails_and_may_retry() {
    let server = RoomServer::start(&["--answer-timeout-ms", "200"]);
    let (mut alice, mut bob) = pair(&server).await;
    for _ in 0..2 {
        alice.offer("bob", &sdp(1)).await;
        assert_eq!(bob.next().await["sdp"], sdp(1));
        let error = json!({ "type": "error", "to": "bob", "message": "the offer was not answered in time" });
        assert_eq!(alice.next().await, error);
    }
    negotiate(&mut alice, &mut bob, &sdp(1)).await;
    alice.assert_no_message().await;
    let stats = stats(&server).await;
    assert_eq!(
        (&stats["stats"]["failed"], &stats["stats"]["completed"]),
        (&json!(2), &json!(1))
    );
}

#[tokio::test]
async fn too_many_waiting_offers_are_refused() {
    let server = RoomServer::start(&["--no-dedup", "--repeat", "100", "--repeat-delay-ms", "3600000"]);
    let (mut alice, mut bob) = pair(&server).await;
    // Each offer counts together with its repetitions, and 512 may wait.
    for n in 0..5 {
        alice.offer("bob", &sdp(n)).await;
        assert_eq!(bob.next().await["sdp"], sdp(n));
    }
    alice.offer("bob", &sdp(5)).await;
    assert_eq!(alice.next().await["message"], "too many offers are waiting for answers");
    bob.assert_no_message().await;
}

#[tokio::test]
async fn offer_fails_when_its_target_leaves() {
    let server = RoomServer::start(&[]);
    let (mut alice, mut bob) = pair(&server).await;
    alice.offer("bob", &sdp(1)).await;
    bob.next().await;
    bob.say(json!({ "type": "leave" })).await;
    let mut replies = [alice.next().await, alice.next().await];
    replies.sort_by_key(Value::to_string);
    let error = json!({ "type": "error", "to": "bob", "message": "the call ended before the offer was answered" });
    assert_eq!(replies, [error, json!({ "type": "left", "peer": "bob" })]);
}

#[tokio::test]
async fn rejoining_starts_afresh() {
    let server = RoomServer::start(&["--window-ms", "60000", "--cooldown-ms", "60000"]);
    let (mut alice, mut bob) = pair(&server).await;
    // Both as the offerer and as the answerer.
    for _ in 0..3 {
        negotiate(&mut alice, &mut bob, &sdp(1)).await;
        drop(alice);
        assert_eq!(bob.next().await["type"], "left");
        alice = Client::join_among(&server, "r", "alice", &["bob"]).await;
        assert_eq!(bob.next().await["type"], "joined");
        negotiate(&mut alice, &mut bob, &sdp(1)).await;
        drop(bob);
        assert_eq!(alice.next().await["type"], "left");
        bob = Client::join_among(&server, "r", "bob", &["alice"]).await;
        assert_eq!(alice.next().await["type"], "joined");
    }
    negotiate(&mut alice, &mut bob, &sdp(1)).await;
}

#[tokio::test]
async fn returned_target_gets_the_same_offer() {
    let server = RoomServer::start(&["--window-ms", "60000", "--cooldown-ms", "60000"]);
    let (mut alice, mut bob) = pair(&server).await;
    // Before his answer, then after it.
    alice.offer("bob", &sdp(1)).await;
    assert_eq!(bob.next().await["sdp"], sdp(1));
    for _ in 0..2 {
        drop(bob);
        while alice.next().await["type"] != "left" {}
        bob = Client::join_among(&server, "r", "bob", &["alice"]).await;
        while alice.next().await["type"] != "joined" {}
        negotiate(&mut alice, &mut bob, &sdp(1)).await;
    }
    alice.offer("bob", &sdp(1)).await;
    ignored(&alice.next().await, "bob", "processed");
    assert_eq!(stats(&server).await["stats"]["forgotten"], 0);
}

#[tokio::test]
async fn queued_offer_fails_when_its_target_returns() {
    let server = RoomServer::start(&["--queue", "--cooldown-ms", "0"]);
    let (mut alice, mut bob) = pair(&server).await;
    alice.offer("bob", &sdp(1)).await;
    bob.next().await;
    alice.offer("bob", &sdp(2)).await;
    let start = Instant::now();
    while stats(&server).await["stats"]["waiters"] != 1 {
        assert!(start.elapsed() < TIMEOUT);
    }

    // The same name joins from another place: there is no moment without it.
    let mut new = Client::join_among(&server, "r", "bob", &["alice"]).await;
    let mut replies = Vec::new();
    for _ in 0..4 {
        replies.push(alice.next().await);
    }
    for message in ["the call ended before the offer was answered", "the peer left the room"] {
        let error = json!({ "type": "error", "to": "bob", "message": message });
        assert!(replies.contains(&error), "{message}: {replies:?}");
    }
    new.assert_no_message().await;
    negotiate(&mut alice, &mut new, &sdp(2)).await;
}

#[tokio::test]
async fn hanging_up_starts_afresh() {
    let server = RoomServer::start(&["--window-ms", "60000", "--cooldown-ms", "60000"]);
    let (mut alice, mut bob) = pair(&server).await;
    negotiate(&mut alice, &mut bob, &sdp(1)).await;
    for _ in 0..2 {
        alice.say(json!({ "type": "leave", "to": "bob" })).await;
        assert_eq!(bob.next().await["type"], "leave");
        alice.offer("bob", &sdp(1)).await;
        assert_eq!(bob.next().await["type"], "offer");
    }
    // The first of the two offers no longer waits, so the answer belongs to the second.
    let error = json!({ "type": "error", "to": "bob", "message": "the call ended before the offer was answered" });
    assert_eq!(alice.next().await, error);
    bob.answer("alice").await;
    assert_eq!(alice.next().await["type"], "answer");
    alice.assert_no_message().await;
    let stats = stats(&server).await;
    assert_eq!(
        (&stats["stats"]["completed"], &stats["stats"]["claims"]),
        (&json!(2), &json!(0))
    );
}

#[tokio::test]
async fn closed_socket_drops_its_pending_offers() {
    let server = RoomServer::start(&["--repeat", "3", "--repeat-delay-ms", "100"]);
    let (mut alice, mut bob) = pair(&server).await;
    alice.offer("bob", &sdp(1)).await;
    bob.next().await;
    assert_eq!(stats(&server).await["stats"]["claims"], 1);
    drop(alice);
    assert_eq!(bob.next().await, json!({ "type": "left", "peer": "alice" }));
    let start = Instant::now();
    while stats(&server).await["stats"]["claims"] != 0 {
        assert!(start.elapsed() < TIMEOUT);
    }
    let mut alice = Client::join_among(&server, "r", "alice", &["bob"]).await;
    bob.next().await;
    // A late answer belongs to no offer.
    bob.answer("alice").await;
    assert_eq!(alice.next().await["type"], "answer");
    tokio::time::sleep(Duration::from_millis(400)).await;
    bob.assert_no_message().await;
    alice.assert_no_message().await;
}

#[tokio::test]
async fn stats_count_every_outcome() {
    let server = RoomServer::start(&["--repeat", "2"]);
    let (mut alice, mut bob) = pair(&server).await;
    alice.offer("bob", &sdp(1)).await;
    bob.next().await;
    bob.answer("alice").await;
    let mut replies = Vec::new();
    for _ in 0..3 {
        replies.push(alice.next().await["type"].clone());
    }
    replies.sort_by_key(Value::to_string);
    assert_eq!(replies, ["answer", "ignored", "ignored"]);
    alice.assert_no_message().await;

    let all = stats(&server).await;
    let expected = json!({ "dedup": true, "repeat": 2, "window_ms": 10_000, "cooldown_ms": 2_000 });
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(all[name], *value, "{name}");
    }
    assert_eq!((&all["offers_passed"], &all["offers_ignored"]), (&json!(1), &json!(2)));
    assert_eq!(
        (&all["stats"]["admitted"], &all["stats"]["completed"]),
        (&json!(1), &json!(1))
    );

    let bare = RoomServer::start(&["--no-dedup"]);
    let (mut alice, mut bob) = pair(&bare).await;
    negotiate(&mut alice, &mut bob, &sdp(1)).await;
    negotiate(&mut alice, &mut bob, &sdp(1)).await;
    let all = stats(&bare).await;
    assert_eq!((&all["dedup"], &all["offers_passed"]), (&json!(false), &json!(2)));
    assert_eq!(all["stats"]["admitted"], 0);
}
