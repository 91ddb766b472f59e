//! The conditions of one room: its network's faults, and the layer.

use e2e::room_server::RoomServer;
use serde_json::{Value, json};

use crate::client::{Client, get, ignored, negotiate, pair, request, sdp};

async fn change(server: &RoomServer, room: &str, conditions: &Value) -> u16 {
    let response = request(server, "PUT", &format!("/rooms/{room}"), &conditions.to_string()).await;
    let status = response.split(' ').nth(1).expect("a status");
    status.parse().expect("the status should be a number")
}

async fn report(server: &RoomServer, peer: &str) -> Value {
    let response = get(server, &format!("/rooms/r?peer={peer}")).await;
    let (_, body) = response
        .split_once("\r\n\r\n")
        .expect("the response should have a body");
    serde_json::from_str(body).expect("the report should be JSON")
}

#[tokio::test]
async fn conditions_change_one_room() {
    let server = RoomServer::start(&[]);
    let (mut alice, mut bob) = pair(&server).await;
    let mut carol = Client::join(&server, "other", "alice").await;
    let mut dave = Client::join_among(&server, "other", "bob", &["alice"]).await;
    carol.next().await;
    let off = json!({ "layer": false, "repeat": 1, "delay_ms": "0", "lose_answers": false });
    assert_eq!(change(&server, "r", &off).await, 204);

    alice.offer("bob", &sdp(1)).await;
    for _ in 0..2 {
        assert_eq!(bob.next().await["sdp"], sdp(1));
        bob.answer("alice").await;
        assert_eq!(alice.next().await["type"], "answer");
    }
    let calls = json!({ "bob": { "copies": 2, "passed": 2 } });
    assert_eq!(report(&server, "alice").await["calls"], calls);

    negotiate(&mut carol, &mut dave, &sdp(1)).await;
    carol.offer("bob", &sdp(1)).await;
    ignored(&carol.next().await, "bob", "processed");
    dave.assert_no_message().await;

    let on = json!({ "layer": true, "repeat": 0, "delay_ms": "50..500", "lose_answers": false });
    assert_eq!(change(&server, "r", &on).await, 204);
    let report = report(&server, "bob").await;
    assert_eq!(report["conditions"], on);
    negotiate(&mut alice, &mut bob, &sdp(2)).await;
    alice.offer("bob", &sdp(2)).await;
    ignored(&alice.next().await, "bob", "processed");
}

#[tokio::test]
async fn every_second_answer_gets_lost() {
    let server = RoomServer::start(&["--no-dedup"]);
    let (mut alice, mut bob) = pair(&server).await;
    let lossy = json!({ "layer": false, "repeat": 0, "delay_ms": "0", "lose_answers": true });
    assert_eq!(change(&server, "r", &lossy).await, 204);
    for id in 0..4 {
        alice.offer("bob", &sdp(id)).await;
        bob.next().await;
        bob.answer("alice").await;
        if id % 2 == 1 {
            assert_eq!(alice.next().await["type"], "answer");
        }
    }
    alice.assert_no_message().await;
}

#[tokio::test]
async fn invalid_conditions_change_nothing() {
    let server = RoomServer::start(&[]);
    let valid = json!({ "layer": false, "repeat": 100, "delay_ms": "0", "lose_answers": true });
    assert_eq!(change(&server, "r", &valid).await, 404, "nobody is in the room");
    let _alice = Client::join(&server, "r", "alice").await;
    let before = report(&server, "alice").await;
    let with = |name: &str, value: Value| {
        let mut conditions = valid.clone();
        conditions[name] = value;
        conditions
    };
    for (invalid, status) in [
        (with("repeat", json!(101)), 422),
        (with("repeat", json!(-1)), 422),
        (with("delay_ms", json!("500..50")), 422),
        (with("delay_ms", json!("3600001")), 422),
        (with("else", json!(1)), 422),
        (json!({ "layer": false }), 422),
    ] {
        assert_eq!(change(&server, "r", &invalid).await, status, "{invalid}");
    }
    assert_eq!(report(&server, "alice").await, before);
    assert_eq!(change(&server, "r", &valid).await, 204);
    assert_eq!(report(&server, "alice").await["conditions"], valid);
}
