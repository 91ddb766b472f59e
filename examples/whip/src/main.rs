//! A WHIP and WHEP endpoint that forwards media over real WebRTC, and makes one session per offer.
//!
//! `cargo run --release -p whip -- --help` lists the options.

use std::{
    env,
    io::{self, IsTerminal, Write},
    net::{IpAddr, SocketAddr, UdpSocket},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use clap::Parser;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{sleep, timeout},
};
use tower_offer_dedup::{
    OfferDedupHandle, OfferDedupLayer,
    http::{HttpOffers, PeerFrom},
};
use tracing::info;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::{args::Settings, endpoint::Dedup, progress::End, sessions::Sessions, stream::Streams};

mod args;
mod connection;
mod endpoint;
mod exporter;
mod fragment;
mod page;
mod patch;
mod progress;
mod report;
mod sessions;
#[path = "../../shared/sharing.rs"]
mod sharing;
#[path = "../../shared/stop.rs"]
mod stop;
mod stream;
#[path = "../../shared/summary.rs"]
mod summary;

/// The time that requests get to end at shutdown, then offers, and then connections.
const SHUTDOWN: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    serve(Settings::parse())
}

#[derive(Clone)]
struct App {
    settings: Arc<Settings>,
    media_ip: IpAddr,
    sessions: Sessions,
    streams: Streams,
    /// The handle of the publishers' layer, and of the viewers'.
    whip: OfferDedupHandle,
    whep: OfferDedupHandle,
    exporter: PrometheusHandle,
    /// `true` once offers that are still being processed have to end.
    ending: watch::Sender<bool>,
}

impl App {
    /// Resolves when offers that are still being processed have to end.
    async fn ending(&self) {
        // The sender is here, so it waits until then.
        let _ = self.ending.subscribe().wait_for(|is_ending| *is_ending).await;
    }
}

#[tokio::main]
async fn serve(settings: Settings) -> ExitCode {
    log_to_stderr();

    let listening = TcpListener::bind(settings.listen).await;
    let bound = listening.and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, listener) = match bound {
        Ok(bound) => bound,
        Err(error) => return fail(&format!("cannot listen on {}: {error}", settings.listen)),
    };
    let media_ip = settings.media_ip.unwrap_or_else(|| media_ip(address));
    if let Err(error) = UdpSocket::bind((media_ip, 0)) {
        return fail(&format!("cannot receive media on {media_ip}: {error}"));
    }
    let exporter = match exporter::install() {
        Ok(exporter) => exporter,
        Err(error) => return fail(&format!("cannot export metrics: {error}")),
    };
    tokio::spawn(exporter::keep_up(exporter.clone()));
    let (whip, whep) = match layers(&settings).await {
        Ok(layers) => layers,
        Err(error) => return fail(&error),
    };
    println!("WHIP endpoint on http://{address}/");
    let _ = io::stdout().flush();
    log_start(&settings, address, media_ip);
    tokio::spawn(summary::log_duplicates("whip", whip.handle()));
    tokio::spawn(summary::log_duplicates("whep", whep.handle()));
    let app = App {
        settings: Arc::new(settings),
        media_ip,
        sessions: Sessions::new(),
        streams: Streams::default(),
        whip: whip.handle(),
        whep: whep.handle(),
        exporter,
        ending: watch::Sender::new(false),
    };
    let router: Router<App> = endpoint::router(&app, whip, whep)
        .merge(page::router())
        .merge(report::router());
    let server = axum::serve(listener, router.with_state(app.clone())).with_graceful_shutdown(stop::requested());
    let served = tokio::select! {
        served = server => served,
        // A slow client must not keep the server up.
        () = async { stop::requested().await; sleep(SHUTDOWN).await } => Ok(()),
    };
    let drained = || timeout(SHUTDOWN, async { tokio::join!(app.whip.drain(), app.whep.drain()) });
    if drained().await.is_err() {
        // Dropped with the runtime, they would leave their peers to the store's lease.
        app.ending.send_replace(true);
        let _ = drained().await;
    }
    app.sessions.end_all(End::Shutdown);
    let _ = timeout(SHUTDOWN, app.sessions.closed()).await;
    summary::log_total("whip", &app.whip.stats());
    summary::log_total("whep", &app.whep.stats());
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

/// The layers for publishers and for viewers.
async fn layers(settings: &Settings) -> Result<(Dedup, Dedup), String> {
    let (mut whip, mut whep) = (OfferDedupLayer::whip(), OfferDedupLayer::whep());
    if settings.ignore_host {
        let without_host = || {
            HttpOffers::new()
                .peer(PeerFrom::path())
                .peer(PeerFrom::query().optional())
                .peer(PeerFrom::credentials().optional())
        };
        whip = whip.offers(without_host());
        whep = whep.offers(without_host().key_by_offer());
    }
    let whip = settings.sharing.share(whip.name("whip"), "whip:").await?;
    let whep = settings.sharing.share(whep.name("whep"), "whep:").await?;
    Ok((whip.build(), whep.build()))
}

fn log_start(settings: &Settings, address: SocketAddr, media_ip: IpAddr) {
    let mode = if settings.dedup {
        "duplicates get the recorded answer"
    } else {
        "deduplication is off: each copy of an offer creates a session"
    };
    let has_token = settings.token.is_some();
    info!(%address, %media_ip, has_token, answer_delay = ?settings.answer_delay, "started: {mode}");
}

fn log_to_stderr() {
    let filter = env::var("RUST_LOG").ok().and_then(|filter| filter.parse().ok());
    let lines = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    tracing_subscriber::registry()
        .with(filter.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO)))
        .with(lines)
        .init();
}

/// The address at which publishers reach a server that listens on `address`.
fn media_ip(address: SocketAddr) -> IpAddr {
    if !address.ip().is_unspecified() {
        return address.ip();
    }
    // Sends nothing. The system picks the local address for a target from RFC 5737.
    let towards_network = || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    };
    towards_network().map_or(IpAddr::from([127, 0, 0, 1]), |address| address.ip())
}

fn fail(message: &str) -> ExitCode {
    eprintln!("whip: {message}");
    ExitCode::FAILURE
}
