//! The switches for network and layer, and the side-by-side page.

use e2e::{
    chromium::{Chromium, Page},
    room_server::RoomServer,
};
use serde_json::{Value, json};

use crate::page::{ALONE, RoomPage, at, pair};

/// Text and kind of the badge on a peer's tile.
async fn badge(page: &Page, peer: &str) -> (String, Value) {
    let made = format!("document.querySelector('[data-peer={peer}] [data-testid=made]')");
    let text = page.value(&format!("{made}.firstChild.textContent")).await;
    let kind = page.value(&format!("{made}.dataset.kind")).await;
    (text.as_str().expect("text").to_owned(), kind)
}

#[tokio::test]
async fn switches_change_only_their_room() {
    let _alone = ALONE.lock().await;
    let server = RoomServer::start(&[]);
    let chromium = Chromium::start().await;
    let (alice, bob) = pair(&chromium, &server).await;
    let layer = "document.querySelector('[data-testid=layer]').checked";
    let repeats = "document.querySelector('[data-testid=repeat-times]').value";
    alice.choose("repeat-times", "3").await;
    bob.until(&format!("{repeats} === '3'")).await;
    for (is_on, made, expected) in [
        (true, 1, ("4 copies → 1 connection", "good")),
        (false, 4, ("4 copies → 4 connections", "bad")),
    ] {
        if !is_on {
            alice.click("layer").await;
        }
        bob.until(&format!("{layer} === {is_on}")).await;
        bob.click("rejoin").await;
        let arrived =
            "document.querySelector('[data-peer=bob] [data-testid=made]')?.textContent.startsWith('4 copies')";
        alice
            .until(&format!("{arrived} && {}.made === {made}", at("bob")))
            .await;
        let (text, kind) = badge(&alice, "bob").await;
        assert_eq!((text.as_str(), kind), (expected.0, json!(expected.1)));
        // The sender's badge counts what the receiver made.
        bob.until(&format!(
            "document.querySelector('[data-peer=alice] [data-testid=made]').dataset.kind === '{}'",
            expected.1
        ))
        .await;
    }

    bob.goto(&format!("http://{}/?room=other", server.address)).await;
    bob.until("window.__room").await;
    bob.click("use-media").await;
    bob.click("join").await;
    bob.until("!document.getElementById('dedup').hidden").await;
    assert_eq!(bob.value(&format!("[{layer}, {repeats}]")).await, json!([true, "0"]));
    assert_eq!(alice.value(&format!("[{layer}, {repeats}]")).await, json!([false, "3"]));
    chromium.quit([alice, bob]).await;
}

#[tokio::test]
async fn lost_answer_is_made_up_for() {
    let _alone = ALONE.lock().await;
    let server = RoomServer::start(&[]);
    let chromium = Chromium::start().await;
    let (alice, bob) = pair(&chromium, &server).await;
    bob.connected_to("alice").await;
    alice.click("lose-answers").await;
    bob.until("document.querySelector('[data-testid=lose-answers]').checked")
        .await;
    let sent = bob.value("window.__room.offers.sent").await;
    bob.click("rejoin").await;
    // The first offer of this join, and at least the one that makes up for its answer.
    bob.until(&format!("window.__room.offers.sent >= {sent} + 2")).await;
    bob.connected_to("alice").await;
    alice.connected_to("bob").await;
    let log = bob.log().await;
    let lost = log
        .matches("The answer of alice was lost: making another offer")
        .count();
    assert_eq!(lost, 1, "{log}");
    chromium.quit([alice, bob]).await;
}

#[tokio::test]
async fn calls_fail_only_without_the_layer() {
    let _alone = ALONE.lock().await;
    let server = RoomServer::start(&[]);
    let chromium = Chromium::start().await;
    let (page, phone) = tokio::join!(chromium.page(), chromium.phone());
    page.goto(&format!("http://{}/compare", server.address)).await;
    page.until("window.__compare?.sides[0].failed >= 3").await;
    page.click("pause").await;
    let sides = page.value("window.__compare.sides").await;
    assert_eq!(sides[0]["works"], 0, "{sides:#}");
    assert_eq!(sides[1]["failed"], 0, "{sides:#}");
    assert!(sides[1]["works"].as_u64() >= Some(3), "{sides:#}");
    assert_eq!(sides[0]["made"], sides[0]["copies"], "{sides:#}");
    let calls = sides[1]["works"].as_u64().expect("a number");
    assert_eq!(
        (&sides[1]["made"], &sides[1]["copies"]),
        (&json!(calls), &json!(4 * calls))
    );
    for (side, number) in [("without", "failed"), ("with", "works")] {
        let shown = format!("document.querySelector('[data-testid={side}] [data-testid={number}]').textContent");
        page.until(&format!("Number({shown}) >= 3")).await;
    }

    // On a good network, both sides work.
    page.goto("about:blank").await;
    phone.goto(&format!("http://{}/compare", server.address)).await;
    phone.choose("repeat-times", "0").await;
    phone
        .until("window.__compare?.sides.every(({ works }) => works >= 2)")
        .await;
    let fits = "document.documentElement.scrollWidth <= innerWidth && innerWidth";
    assert_eq!(phone.value(fits).await, 390);
    chromium.quit([page, phone]).await;
}

#[tokio::test]
async fn spaces_are_no_name() {
    let _alone = ALONE.lock().await;
    let server = RoomServer::start(&[]);
    let chromium = Chromium::start().await;
    let page = chromium.page().await;
    page.open(&server, "   ").await;
    page.click("join").await;
    let message = "document.querySelector('[data-testid=name]').validationMessage";
    assert_eq!(page.value(message).await, "Enter a name");
    page.fill("name", "alice").await;
    assert_eq!(page.value(message).await, "");
    chromium.quit([page]).await;
}
