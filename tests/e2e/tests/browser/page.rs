//! The pages of the room server, as the tests use them.

use e2e::{
    chromium::{Chromium, Page},
    room_server::RoomServer,
};
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// Runs one test at a time: two browsers are enough load for a small machine.
pub(crate) static ALONE: Mutex<()> = Mutex::const_new(());

/// A page of the room server.
pub(crate) trait RoomPage {
    /// Opens the page and joins with a data channel only.
    async fn join(&self, server: &RoomServer, name: &str);
    async fn open(&self, server: &RoomServer, name: &str);
    async fn connected_to(&self, peer: &str);
    /// The number of peer connections that the page has made to `peer` since `peer` last joined.
    async fn made(&self, peer: &str) -> Value;
    async fn log(&self) -> String;
}

impl RoomPage for Page {
    async fn join(&self, server: &RoomServer, name: &str) {
        self.open(server, name).await;
        self.click("use-media").await;
        self.click("join").await;
        self.until("window.__room.socket === 'open'").await;
    }

    async fn open(&self, server: &RoomServer, name: &str) {
        self.goto(&format!("http://{}/?room=test", server.address)).await;
        self.until("window.__room").await;
        self.fill("name", name).await;
    }

    async fn connected_to(&self, peer: &str) {
        self.until(&format!(
            "{} && {0}.state === 'connected' && {0}.rtt !== null",
            at(peer)
        ))
        .await;
    }

    async fn made(&self, peer: &str) -> Value {
        self.value(&format!("{}.made", at(peer))).await
    }

    async fn log(&self) -> String {
        let log = self
            .value("document.querySelector('[data-testid=log]').innerText")
            .await;
        log.as_str().expect("text").to_owned()
    }
}

pub(crate) fn at(peer: &str) -> String {
    format!("window.__room.peers[{}]", json!(peer))
}

/// Alice and Bob. Bob joins second, so he makes the offer.
pub(crate) async fn pair(chromium: &Chromium, server: &RoomServer) -> (Page, Page) {
    let (alice, bob) = tokio::join!(chromium.page(), chromium.page());
    alice.join(server, "alice").await;
    bob.join(server, "bob").await;
    (alice, bob)
}
