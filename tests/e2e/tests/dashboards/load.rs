//! Publishers that repeat their offers, and clients that misbehave.

use std::time::Duration;

use e2e::{
    http::Message,
    whip_server::{OFFER, WhipServer},
};
use futures_util::future::join_all;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    task::JoinSet,
    time::{interval, sleep},
};

const SDP: &[(&str, &str)] = &[("Content-Type", "application/sdp")];

/// A WHIP endpoint under load until it is dropped.
pub(crate) struct Load {
    server: WhipServer,
    _clients: JoinSet<()>,
}

impl Load {
    pub(crate) fn start() -> Self {
        let server = WhipServer::start(&["--answer-delay-ms", "250"]);
        let mut clients = JoinSet::new();
        clients.spawn(publish(server.address.clone()));
        clients.spawn(misbehave(server.address.clone()));
        clients.spawn(trickle(server.address.clone()));
        clients.spawn(leave(server.address.clone()));
        Self {
            server,
            _clients: clients,
        }
    }

    pub(crate) fn address(&self) -> &str {
        &self.server.address
    }
}

/// Publishes a stream about twice a second. Each offer arrives one to four times, and each session ends.
async fn publish(address: String) {
    let mut ticks = interval(Duration::from_millis(470));
    let mut sessions = JoinSet::new();
    for n in 0.. {
        ticks.tick().await;
        while sessions.try_join_next().is_some() {}
        let address = address.clone();
        sessions.spawn(async move {
            let path = format!("/whip/stream-{n}");
            let offer = Message::request("POST", &path, SDP, OFFER);
            // In waves, so that the plots show something.
            let copies = 1 + n / 20 % 4;
            let answers = join_all((0..copies).map(|_| offer.exchange(&address))).await;
            sleep(Duration::from_secs(2)).await;
            let late = offer.exchange(&address).await;
            let answer = answers.into_iter().chain([late]).find_map(Result::ok);
            if let Some(session) = answer.as_ref().and_then(|answer| answer.field("location")) {
                let _ = Message::request("DELETE", session, &[], "").exchange(&address).await;
            }
        });
    }
}

/// Sends an offer that fails, one that cannot be read, and a request that is no offer.
async fn misbehave(address: String) {
    let mut ticks = interval(Duration::from_secs(1));
    for n in 0.. {
        ticks.tick().await;
        for request in [
            without_media("/whip/broken", n),
            Message::request("POST", "/whip/text", &[("Content-Type", "text/plain")], OFFER),
            Message::request("PATCH", "/whip/stream/none", &[], ""),
        ] {
            let _ = request.exchange(&address).await;
        }
    }
}

/// Leaves before the answer, and comes back with another offer, which takes over.
async fn leave(address: String) {
    let mut ticks = interval(Duration::from_secs(7));
    for n in 0.. {
        ticks.tick().await;
        if let Ok(mut stream) = TcpStream::connect(&address).await {
            let _ = stream.write_all(&without_media("/whip/left", 2 * n).bytes()).await;
            sleep(Duration::from_millis(100)).await;
        }
        let _ = without_media("/whip/left", 2 * n + 1).exchange(&address).await;
    }
}

/// An offer that the endpoint refuses after its delay.
fn without_media(path: &str, version: u32) -> Message {
    Message::request("POST", path, SDP, format!("v=0\r\no=- {version} 1 IN IP4 0.0.0.0\r\n"))
}

/// Sends a body that never ends, again and again.
async fn trickle(address: String) {
    let head =
        "POST /whip/slow HTTP/1.1\r\nHost: test\r\nContent-Type: application/sdp\r\nContent-Length: 100\r\n\r\nv";
    loop {
        if let Ok(mut stream) = TcpStream::connect(&address).await {
            let _ = stream.write_all(head.as_bytes()).await;
            sleep(Duration::from_secs(5)).await;
        }
        sleep(Duration::from_secs(1)).await;
    }
}
