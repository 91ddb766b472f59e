//! Two nodes that share a Redis server, which stops answering now and then.

use std::time::Duration;

use e2e::redis::{Engine, Server};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
    time::{interval, sleep},
};
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_offer_dedup::{
    Fingerprint, Offer, OfferDedupHandle, OfferDedupLayer, Replay, SECONDS_BUCKETS, WhenBusy, store::RedisOptions,
};

/// Longer than the lease of a claim at the store: messages that wait are dropped.
const OUTAGE: Duration = Duration::from_secs(13);
const BETWEEN_OUTAGES: Duration = Duration::from_secs(10);

#[derive(Clone)]
struct Message {
    peer: String,
    text: &'static str,
}

#[derive(Clone)]
struct Node {
    service: BoxCloneSyncService<Message, String, String>,
    handle: OfferDedupHandle,
}

/// Two nodes under load, and the address of their metrics. Stopped on drop.
pub(crate) struct Nodes {
    address: String,
    _tasks: JoinSet<()>,
}

impl Nodes {
    pub(crate) async fn start() -> Self {
        let buckets = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Prefix("offer_dedup_".to_owned()), &SECONDS_BUCKETS);
        let exporter = buckets.and_then(PrometheusBuilder::install_recorder);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let server = Server::start(Engine::Redis, &[]);
        let nodes = [Node::start(&server.url()).await, Node::start(&server.url()).await];

        let mut tasks = JoinSet::new();
        tasks.spawn(export(listener, exporter.expect("no other recorder is installed")));
        tasks.spawn(offer(nodes.clone()));
        tasks.spawn(replace(nodes.clone()));
        tasks.spawn(process_slowly(nodes));
        tasks.spawn(interrupt(server));
        Self { address, _tasks: tasks }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

impl Node {
    async fn start(url: &str) -> Self {
        let store = RedisOptions::new(url).secret(b"a secret of all nodes").connect().await;
        let layer = OfferDedupLayer::builder()
            .name("nodes")
            .offers(|message: &Message| Some(Offer::new(&message.peer, Fingerprint::exact(message.text.as_bytes()))))
            .when_busy(WhenBusy::Supersede)
            .cooldown(Duration::ZERO)
            .answer(Replay::with_error(|refusal| refusal.to_string()).json_codec(1))
            .store(store.expect("the server should be reached"))
            .build();
        let handle = layer.handle();
        let service = BoxCloneSyncService::new(layer.layer(service_fn(handle_message)));
        Self { service, handle }
    }

    async fn call(&self, peer: &str, text: &'static str) {
        let peer = peer.to_owned();
        let _ = self.service.clone().oneshot(Message { peer, text }).await;
    }
}

async fn handle_message(message: Message) -> Result<String, String> {
    sleep(Duration::from_millis(if message.text == "slow" { 5_000 } else { 20 })).await;
    match message.text {
        "broken" => Err("no media".to_owned()),
        text => Ok(format!("the answer to {text}")),
    }
}

/// Sends each offer to both nodes at once, and to both again later. Then its peer leaves.
async fn offer([first, second]: [Node; 2]) {
    let mut ticks = interval(Duration::from_millis(50));
    let mut offers = JoinSet::new();
    for n in 0.. {
        ticks.tick().await;
        while offers.try_join_next().is_some() {}
        let (first, second) = (first.clone(), second.clone());
        offers.spawn(async move {
            let peer = format!("peer {n}");
            let text = if n % 20 == 0 { "broken" } else { "an offer" };
            for _ in 0..2 {
                tokio::join!(first.call(&peer, text), second.call(&peer, text));
                sleep(Duration::from_millis(500)).await;
            }
            first.handle.forget(peer.as_str());
        });
    }
}

/// Sends an offer to one node, and at once a newer one of the same peer to the other.
async fn replace([first, second]: [Node; 2]) {
    let mut ticks = interval(Duration::from_secs(1));
    for n in 0.. {
        ticks.tick().await;
        let peer = format!("replaced {n}");
        let newer = async {
            sleep(Duration::from_millis(200)).await;
            second.call(&peer, "newer").await;
        };
        tokio::join!(first.call(&peer, "slow"), newer);
    }
}

/// Sends offers that take longer than the first renewal of their claim.
async fn process_slowly(nodes: [Node; 2]) {
    let mut ticks = interval(Duration::from_secs(2));
    let mut offers = JoinSet::new();
    for n in 0.. {
        ticks.tick().await;
        while offers.try_join_next().is_some() {}
        let node = nodes[n % 2].clone();
        offers.spawn(async move { node.call(&format!("slow {n}"), "slow").await });
    }
}

/// Stops the server and lets it go on, again and again.
async fn interrupt(server: Server) {
    loop {
        sleep(BETWEEN_OUTAGES).await;
        server.signal("STOP");
        sleep(OUTAGE).await;
        server.signal("CONT");
    }
}

/// Answers each request with the metrics.
async fn export(listener: TcpListener, exporter: PrometheusHandle) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let head = "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\r\n";
        let _ = stream
            .write_all((head.to_owned() + &exporter.render()).as_bytes())
            .await;
    }
}
