//! Two pages in two browsers: Alice stays in the room, Bob rejoins. Bob joins last, so he makes the offer.

use std::time::Duration;

use e2e::{
    chromium::{Chromium, Page},
    room_server::RoomServer,
};
use serde::Deserialize;
use serde_json::Value;

const SCRIPT: &str = include_str!("page.js");

/// Time limit for one more ping. The page pings once a second.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) struct Pair {
    alice: Page,
    bob: Page,
}

/// The outcome of one rejoin, or of the restart after it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Milliseconds until connected, or until the restart was answered. `None` if it took too long.
    pub(crate) after: Option<f64>,
    /// `true` if at the end both pages were connected and got pings back from each other.
    pub(crate) works: bool,
    /// The number of peer connections that Alice made for Bob's offers.
    pub(crate) made: u32,
    /// The number of Bob's refused offers.
    pub(crate) refused: u32,
}

#[derive(Deserialize)]
struct Acted {
    after: Option<f64>,
    refused: u32,
}

#[derive(Deserialize)]
struct State {
    works: bool,
    made: u32,
}

impl Pair {
    pub(crate) async fn open(chromium: &Chromium) -> Self {
        let (alice, bob) = tokio::join!(chromium.page(), chromium.page());
        Self { alice, bob }
    }

    pub(crate) async fn join(&self, server: &RoomServer, room: &str) {
        for (page, name) in [(&self.alice, "alice"), (&self.bob, "bob")] {
            page.goto(&format!("http://{}/?room={room}", server.address)).await;
            page.until("window.__room").await;
            page.fill("name", name).await;
            page.click("use-media").await;
            page.click("join").await;
            page.until("window.__room.socket === 'open'").await;
            page.value(&format!("(() => {{ {SCRIPT} }})()")).await;
        }
    }

    pub(crate) async fn rejoin(&self, within: Duration) -> Outcome {
        let act = format!("window.__trial.rejoin('alice', {})", within.as_millis());
        self.outcome(&act).await
    }

    /// Rejoins, and restarts ICE `pause` milliseconds after the answer.
    pub(crate) async fn restart(&self, pause: u32, within: Duration) -> Outcome {
        let act = format!("window.__trial.restart('alice', {pause}, {})", within.as_millis());
        self.outcome(&act).await
    }

    pub(crate) async fn version(&self) -> String {
        let version = self.bob.value("navigator.userAgent.match(/Chrome.([0-9]+)/)[1]").await;
        version.as_str().expect("the version should be text").to_owned()
    }

    pub(crate) fn pages(self) -> [Page; 2] {
        [self.alice, self.bob]
    }

    async fn outcome(&self, act: &str) -> Outcome {
        let Acted { after, refused } = read(self.bob.value(act).await);
        let works = |peer| format!("window.__trial.works('{peer}', {})", PING_TIMEOUT.as_millis());
        let (at_alice, at_bob) = (works("bob"), works("alice"));
        let (alice, bob) = tokio::join!(self.alice.value(&at_alice), self.bob.value(&at_bob));
        let (alice, bob): (State, State) = (read(alice), read(bob));
        Outcome {
            after,
            works: alice.works && bob.works,
            made: alice.made,
            refused,
        }
    }
}

fn read<T: for<'de> Deserialize<'de>>(value: Value) -> T {
    serde_json::from_value(value).expect("page.js should return this shape")
}
