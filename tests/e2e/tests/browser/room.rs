//! Two people in a room.

use e2e::{chromium::Chromium, room_server::RoomServer};
use serde_json::json;

use crate::page::{ALONE, RoomPage, at, pair};

const REJOINS: u64 = 6;
const ALONE_TEXT: &str = "document.querySelector('.alone strong')?.textContent";

#[tokio::test]
async fn each_rejoin_makes_one_peer_connection() {
    let _alone = ALONE.lock().await;
    let server = RoomServer::start(&["--repeat", "3"]);
    let chromium = Chromium::start().await;
    let (alice, bob) = pair(&chromium, &server).await;
    for join in 1..=REJOINS + 1 {
        // The repeated offers arrived and were ignored.
        bob.until(&format!("window.__room.offers.ignored === {}", 3 * join))
            .await;
        bob.connected_to("alice").await;
        alice.connected_to("bob").await;
        let bob_at_alice = alice.value(&at("bob")).await;
        assert_eq!(
            (&bob_at_alice["made"], &bob_at_alice["total"]),
            (&json!(1), &json!(join))
        );
        // The chart shows one minute. On a slow machine the last joins come after it.
        if join <= 2 {
            let shows =
                |id: &str, count| format!("document.querySelector('[data-testid={id}]').textContent === '{count}'");
            bob.until(&shows("processed", join)).await;
            bob.until(&shows("ignored", 3 * join)).await;
        }
        if join <= REJOINS {
            bob.click("rejoin").await;
            alice.until(&format!("{}?.total === {}", at("bob"), join + 1)).await;
        }
    }
    assert_eq!(alice.value("window.__room.offers.received").await, REJOINS + 1);
    chromium.quit([alice, bob]).await;
}

#[tokio::test]
async fn rejoin_without_layer_makes_several_connections() {
    let _alone = ALONE.lock().await;
    let server = RoomServer::start(&["--no-dedup", "--repeat", "3"]);
    let chromium = Chromium::start().await;
    let (alice, bob) = pair(&chromium, &server).await;
    for join in 1..=REJOINS + 1 {
        alice
            .until(&format!("window.__room.offers.received === {}", 4 * join))
            .await;
        assert_eq!(alice.made("bob").await, 4, "after join {join}");
        if join <= REJOINS {
            bob.click("rejoin").await;
        }
    }
    assert!(
        bob.log()
            .await
            .contains("alice answered again, but no offer is waiting"),
        "{}",
        bob.log().await
    );
    chromium.quit([alice, bob]).await;
}

#[tokio::test]
async fn repeated_offer_is_processed_once() {
    let _alone = ALONE.lock().await;
    let server = RoomServer::start(&["--cooldown-ms", "0"]);
    let chromium = Chromium::start().await;
    let (alice, bob) = pair(&chromium, &server).await;
    bob.connected_to("alice").await;
    alice.connected_to("bob").await;

    // Sent by Alice, who has not made an offer before.
    alice.choose("copies", "5").await;
    alice.click("send-offers").await;
    alice.until("window.__room.offers.ignored === 4").await;
    alice.connected_to("bob").await;
    bob.connected_to("alice").await;
    assert_eq!(bob.made("alice").await, 2);
    let log = alice.log().await;
    assert!(log.contains("Offer sent to bob, 5 times"), "{log}");
    assert!(
        log.contains("Offer to bob ignored: the same offer is being processed"),
        "{log}"
    );
    let entries = "[...document.querySelectorAll('[data-testid=log] [data-kind=ignored]')]";
    let counted = format!("{entries}.reduce((sum, entry) => sum + Number(entry.dataset.count), 0)");
    assert_eq!(alice.value(&counted).await, 4);
    chromium.quit([alice, bob]).await;
}

#[tokio::test]
async fn offer_during_cooldown_is_resent_and_connects() {
    let _alone = ALONE.lock().await;
    let server = RoomServer::start(&["--cooldown-ms", "5000"]);
    let chromium = Chromium::start().await;
    let (alice, bob) = pair(&chromium, &server).await;
    bob.until(&format!("{}.state === 'connected'", at("alice"))).await;
    bob.click("send-offers").await;
    bob.until("window.__room.offers.reasons.cooling_down === 5").await;
    assert_eq!(alice.made("bob").await, 1);
    alice.until(&format!("{}.made === 2", at("bob"))).await;
    bob.connected_to("alice").await;
    alice.connected_to("bob").await;
    let log = bob.log().await;
    assert!(
        log.contains("Offer to alice ignored: the last offer is too recent, retrying in"),
        "{log}"
    );
    assert!(log.contains("Offer to alice sent again"), "{log}");
    chromium.quit([alice, bob]).await;
}

#[tokio::test]
async fn ice_restart_keeps_the_connection() {
    let _alone = ALONE.lock().await;
    let server = RoomServer::start(&["--queue", "--cooldown-ms", "0"]);
    let chromium = Chromium::start().await;
    let (alice, bob) = pair(&chromium, &server).await;
    bob.connected_to("alice").await;
    alice.connected_to("bob").await;
    for (restarter, other, name, offers) in [(&bob, &alice, "alice", 2), (&alice, &bob, "bob", 1)] {
        restarter.click("restart").await;
        // An ICE restart is a different offer, so it must get through.
        restarter
            .until(&format!("window.__room.offers.answered === {offers}"))
            .await;
        let log = other.log().await;
        assert!(log.contains("ICE restart from"), "{log}");
        let pings = restarter.value(&format!("{}.pings", at(name))).await;
        restarter
            .until(&format!("{}.pings > {pings} && {0}.state === 'connected'", at(name)))
            .await;
    }
    assert_eq!((alice.made("bob").await, bob.made("alice").await), (json!(1), json!(1)));
    let log = bob.log().await;
    assert!(log.contains("ICE restart sent to alice"), "{log}");
    chromium.quit([alice, bob]).await;
}

#[tokio::test]
async fn media_reaches_the_other_side() {
    let _alone = ALONE.lock().await;
    let server = RoomServer::start(&[]);
    let chromium = Chromium::start().await;
    let (alice, bob) = tokio::join!(chromium.page(), chromium.page());
    // Bob makes the offer. He has no camera and still sees Alice.
    alice.open(&server, "alice").await;
    alice.click("join").await;
    alice.until("window.__room.socket === 'open'").await;
    bob.join(&server, "bob").await;
    bob.until("document.querySelector('[data-peer=alice] video').videoWidth > 0")
        .await;
    bob.until("document.querySelector('[data-peer=alice] video').currentTime > 0")
        .await;
    alice.connected_to("bob").await;
    let face = "getComputedStyle(document.querySelector('[data-peer=bob] .face')).display";
    assert_eq!(alice.value(face).await, "grid");
    chromium.quit([alice, bob]).await;
}

#[tokio::test]
async fn same_name_closes_the_first_tab() {
    let _alone = ALONE.lock().await;
    let server = RoomServer::start(&[]);
    let chromium = Chromium::start().await;
    let (first, second) = tokio::join!(chromium.page(), chromium.page());
    let banner = "document.querySelector('[data-testid=banner]')";
    first.join(&server, "alice").await;
    second.join(&server, "alice").await;
    first.until(&format!("!{banner}.hidden")).await;
    let text = first.value(&format!("{banner}.innerText")).await;
    assert!(
        text.as_str()
            .expect("text")
            .contains("the same name joined from another place"),
        "{text}"
    );
    assert_eq!(first.value("window.__room.socket").await, "closed");
    assert_eq!(first.value(ALONE_TEXT).await, "You are not in the room.");
    let own = "document.querySelector('.tile.self').dataset.state";
    assert_eq!(first.value(own).await, "closed");
    second.until(&format!("{own} === 'connected'")).await;

    first.click("join-again").await;
    first.until("window.__room.socket === 'open'").await;
    second.until("window.__room.socket === 'closed'").await;
    assert_eq!(first.value(&format!("{banner}.hidden")).await, true);
    chromium.quit([first, second]).await;
}

#[tokio::test]
async fn pages_reconnect_after_server_restart() {
    let _alone = ALONE.lock().await;
    let server = RoomServer::start(&[]);
    let chromium = Chromium::start().await;
    let (alice, bob) = pair(&chromium, &server).await;
    bob.connected_to("alice").await;
    let address = server.address.clone();
    drop(server);
    for page in [&alice, &bob] {
        page.until("window.__room.socket === 'lost'").await;
        page.until(&format!("{ALONE_TEXT} === 'The server cannot be reached.'"))
            .await;
    }
    let _server = RoomServer::start_on(&address, &[]);
    bob.connected_to("alice").await;
    alice.connected_to("bob").await;
    chromium.quit([alice, bob]).await;
}

#[tokio::test]
async fn names_are_escaped_and_page_fits_screen() {
    let _alone = ALONE.lock().await;
    let server = RoomServer::start(&[]);
    let chromium = Chromium::start().await;
    let (alice, mallory) = tokio::join!(chromium.phone(), chromium.page());
    let name = "<img src=x>{{a}}&amp;\"'";
    alice.join(&server, "alice").await;
    mallory.join(&server, name).await;
    alice.connected_to(name).await;
    assert_eq!(alice.value("document.querySelectorAll('img').length").await, 0);
    assert_eq!(
        alice.value("document.querySelectorAll('.who')[1].textContent").await,
        name
    );

    let fits = "document.documentElement.scrollWidth <= innerWidth && innerWidth";
    assert_eq!(alice.value(fits).await, 390);
    assert_eq!(mallory.value(fits).await, 1366);
    chromium.quit([alice, mallory]).await;
}
