//! Chromium, which repeats a `POST` by itself if a reused connection closes before the answer.

use std::fs;

use e2e::{
    chromium::{Chromium, Page},
    program::installed,
    whip_server::{WhipServer, packets},
};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::proxy::{Fault, Proxy};

/// Runs one test at a time: one browser is enough load for a small machine.
static ALONE: Mutex<()> = Mutex::const_new(());

const CONNECTED: &str = "window.pc?.iceConnectionState === 'connected'";

/// A page that publishes.
trait PublisherPage {
    /// Opens a page of another origin than the endpoint's. Each `POST` then follows a preflight, so that it uses an
    /// existing connection.
    async fn open(&self, server: &WhipServer);
    async fn run(&self, script: &str);
}

impl PublisherPage for Page {
    async fn open(&self, server: &WhipServer) {
        let (_, port) = server.address.split_once(':').expect("the address should have a port");
        self.goto(&format!("http://localhost:{port}/stats")).await;
        self.run(include_str!("publisher.js")).await;
    }

    async fn run(&self, script: &str) {
        self.value(&format!("(() => {{ {script} }})()")).await;
    }
}

/// Publishes through a proxy that loses the first answer, and returns once media flows.
async fn publish(flags: &[&str], publish: &str) -> (Proxy, Value) {
    let _alone = ALONE.lock().await;
    let server = WhipServer::start(flags);
    let proxy = Proxy::start(&server.address, Fault::LosesFirstAnswer).await;
    let chromium = Chromium::start().await;
    let page = chromium.page().await;
    page.open(&server).await;
    let eyevinn = fs::read_to_string(installed("eyevinn.js")).expect("the client should be UTF-8");
    page.run(&format!("{eyevinn}; window.Eyevinn = Eyevinn")).await;
    page.run(&format!("{publish}('http://{}/whip/chromium')", proxy.address))
        .await;
    page.until(CONNECTED).await;
    let stats = server.receives(&[("opus", 50), ("VP8", 25)]).await;
    chromium.quit([page]).await;
    (proxy, stats)
}

/// Asserts that the browser repeated its `POST` by itself, byte for byte.
fn assert_repeated(proxy: &Proxy) {
    let posts = proxy.exchanges("POST");
    assert!(posts.len() >= 2, "the browser did not repeat its post: {posts:#?}");
    assert!(
        posts.iter().all(|post| post.request.body == posts[0].request.body),
        "{posts:#?}"
    );
}

#[tokio::test]
async fn repeated_post_makes_one_session() {
    let (proxy, stats) = publish(&[], "publish").await;
    assert_repeated(&proxy);
    assert_eq!((&stats["created"], &stats["live"]), (&1.into(), &1.into()), "{stats:#}");
    assert_eq!(stats["offers"]["replayed"], proxy.exchanges("POST").len() - 1);
}

#[tokio::test]
async fn repeated_post_without_layer_makes_several() {
    let (proxy, stats) = publish(&["--no-dedup"], "publish").await;
    assert_repeated(&proxy);
    assert_eq!(stats["created"], proxy.exchanges("POST").len(), "{stats:#}");
}

#[tokio::test]
async fn repeated_eyevinn_post_makes_one_session() {
    let (proxy, stats) = publish(&[], "publishWithEyevinn").await;
    assert_repeated(&proxy);
    assert_eq!((&stats["created"], &stats["live"]), (&1.into(), &1.into()), "{stats:#}");
}

#[tokio::test]
async fn repeated_eyevinn_post_without_layer_makes_several() {
    let (proxy, stats) = publish(&["--no-dedup"], "publishWithEyevinn").await;
    assert_repeated(&proxy);
    assert_eq!(stats["created"], proxy.exchanges("POST").len(), "{stats:#}");
}

#[tokio::test]
async fn chromium_trickles_restarts_and_stops() {
    let _alone = ALONE.lock().await;
    let server = WhipServer::start(&[]);
    let chromium = Chromium::start().await;
    let page = chromium.page().await;
    page.open(&server).await;
    page.run(&format!("publish('http://{}/whip/chromium')", server.address))
        .await;
    page.until(CONNECTED).await;
    page.until("window.trickled === 204").await;
    let name = page.value("iceName()").await;

    page.run("restartIce()").await;
    page.until("window.etag === '\"ice-2\"'").await;
    page.until(&format!("iceName() && iceName() !== {name}")).await;
    page.until(CONNECTED).await;
    let before = packets(&server.receives(&[("VP8", 1)]).await["sessions"][0], "VP8");
    server.receives(&[("VP8", before + 25)]).await;

    page.run("stop()").await;
    let stats = server.until("the end", |stats| stats["live"] == 0).await;
    assert_eq!(
        (&stats["created"], &stats["ended"]["deleted"]),
        (&1.into(), &1.into()),
        "{stats:#}"
    );
    chromium.quit([page]).await;
}

#[tokio::test]
async fn closed_page_ends_its_session() {
    let _alone = ALONE.lock().await;
    let server = WhipServer::start(&[]);
    let chromium = Chromium::start().await;
    let page = chromium.page().await;
    page.open(&server).await;
    page.run(&format!("publish('http://{}/whip/chromium')", server.address))
        .await;
    server.receives(&[("VP8", 1)]).await;
    page.run("pc.close()").await;
    let stats = server.until("the end", |stats| stats["live"] == 0).await;
    assert_eq!(stats["offers"]["forgotten"], 1, "{stats:#}");
    chromium.quit([page]).await;
}

#[tokio::test]
async fn status_page_shows_publishers_and_fits() {
    let _alone = ALONE.lock().await;
    let server = WhipServer::start(&[]);
    let chromium = Chromium::start().await;
    let (page, phone) = tokio::join!(chromium.page(), chromium.phone());
    page.open(&server).await;
    let stream = "<img src=x>{{a}}&amp;\"'";
    let publish = format!(
        "publish('http://{}/whip/' + encodeURIComponent({}))",
        server.address,
        json!(stream)
    );
    page.run(&publish).await;
    server.receives(&[("opus", 1), ("VP8", 1)]).await;

    phone.goto(&format!("http://{}/", server.address)).await;
    phone
        .until("document.querySelector('[data-testid=session][data-state=connected]')")
        .await;
    phone
        .until("document.querySelector('[data-testid=created]').textContent === '1'")
        .await;
    phone
        .until("document.querySelector('[data-testid=rate]').textContent.includes('bit/s')")
        .await;
    assert_eq!(
        phone
            .value("document.querySelector('[data-testid=stream]').textContent")
            .await,
        stream
    );
    assert_eq!(phone.value("document.querySelectorAll('img').length").await, 0);
    let fits = "document.documentElement.scrollWidth <= innerWidth && innerWidth";
    assert_eq!(phone.value(fits).await, 390);
    page.run("stop()").await;
    phone
        .until("document.querySelector('[data-testid=session][data-state=ended]')")
        .await;
    chromium.quit([page, phone]).await;
}

/// The pages of the endpoint itself: one tab publishes, two watch, and each sends its offer four times.
async fn publish_and_watch(flags: &[&str], sessions_each: u64) -> Value {
    let _alone = ALONE.lock().await;
    let server = WhipServer::start(flags);
    let chromium = Chromium::start().await;
    let (publisher, laptop, phone) = tokio::join!(chromium.page(), chromium.page(), chromium.phone());
    publisher
        .goto(&format!("http://{}/publish?stream=stage", server.address))
        .await;
    let is_valid = "document.querySelector('[data-testid=stream-name]').checkValidity()";
    publisher.fill("stream-name", "  ").await;
    assert_eq!(publisher.value(is_valid).await, false);
    publisher.fill("stream-name", "stage").await;
    publisher.click("start").await;
    publisher.until("window.__client.connection === 'connected'").await;
    for viewer in [&laptop, &phone] {
        viewer
            .goto(&format!("http://{}/watch?stream=stage", server.address))
            .await;
        viewer
            .until("document.querySelector('[data-testid=video]').videoWidth > 0")
            .await;
        viewer.until("window.__client.frames > 10").await;
    }
    let outcome =
        format!("window.__client.outcome?.sent === 4 && window.__client.outcome.sessions === {sessions_each}");
    for page in [&publisher, &laptop, &phone] {
        page.until(&outcome).await;
    }
    let created = 3 * sessions_each;
    let stats = server.until("all sessions", |stats| stats["created"] == created).await;

    laptop.goto(&format!("http://{}/", server.address)).await;
    laptop
        .until("document.querySelectorAll('[data-testid=session][data-role=viewer]').length > 0")
        .await;
    laptop
        .until("document.querySelector('[data-testid=repeats]').textContent !== ''")
        .await;

    publisher.click("stop").await;
    publisher
        .until("document.querySelector('[data-testid=state]').textContent === 'Stopped: deleted'")
        .await;
    let deleted = |stats: &Value| {
        let sessions = stats["sessions"].as_array().expect("the sessions should be a list");
        let published = sessions.iter().filter(|session| session["role"] == "publisher");
        let ends: Vec<_> = published.map(|session| &session["end"]).collect();
        ends.contains(&&Value::from("deleted")) && !ends.contains(&&Value::from("closed"))
    };
    server.until("the publisher's session to be deleted", deleted).await;
    chromium.quit([publisher, laptop, phone]).await;
    stats
}

#[tokio::test]
async fn viewers_see_the_publisher() {
    let stats = publish_and_watch(&[], 1).await;
    let sessions = stats["sessions"].as_array().expect("the sessions should be a list");
    for session in sessions {
        assert_eq!(
            (&session["repeats"], &session["state"]),
            (&3.into(), &"connected".into()),
            "{session:#}"
        );
    }
    let viewers = sessions.iter().filter(|session| session["role"] == "viewer");
    assert!(viewers.clone().all(|viewer| packets(viewer, "VP8") > 0), "{stats:#}");
    assert_eq!(viewers.count(), 2, "{stats:#}");
    assert_eq!(
        (&stats["copies"], &stats["viewer_offers"]["replayed"]),
        (&0.into(), &6.into()),
        "{stats:#}"
    );
}

#[tokio::test]
async fn copies_without_layer_are_counted() {
    let stats = publish_and_watch(&["--no-dedup"], 4).await;
    assert_eq!(stats["copies"], 9, "{stats:#}");
}
