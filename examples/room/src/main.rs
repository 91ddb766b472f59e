//! A WebSocket room server that survives duplicated offers, with a page to try it.
//!
//! `cargo run --release -p room -- --help` lists the options.

use std::{
    env,
    io::{self, IsTerminal, Write},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, Query, State, WebSocketUpgrade},
    http::StatusCode,
    response::Response,
    routing::get,
};
use clap::Parser;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, time::timeout};
use tower_offer_dedup::OfferDedupHandle;
use tracing::info;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::{
    args::Settings,
    conditions::Conditions,
    messages::{MAX_MESSAGE, Name},
    room::Report,
    rooms::Rooms,
    signaling::Signaling,
};

mod args;
mod chance;
mod conditions;
mod messages;
mod page;
mod room;
mod rooms;
#[path = "../../shared/sharing.rs"]
mod sharing;
mod signaling;
mod socket;
#[path = "../../shared/stop.rs"]
mod stop;
#[path = "../../shared/summary.rs"]
mod summary;

/// The time that sockets get to close at shutdown.
const SHUTDOWN: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    serve(Settings::parse())
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
    let (shutdown, stopping) = watch::channel(false);
    log_start(&settings);
    let (app, layer) = match app(settings, stopping).await {
        Ok(app) => app,
        Err(error) => return fail(&error),
    };
    println!("room server on http://{address}/");
    let _ = io::stdout().flush();
    tokio::spawn(summary::log_duplicates("room", layer.clone()));
    let interrupted = {
        let shutdown = shutdown.clone();
        async move {
            stop::requested().await;
            shutdown.send_replace(true);
        }
    };
    if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(interrupted).await {
        return fail(&error.to_string());
    }
    // Every open socket holds a receiver, so this waits until all have closed.
    let _ = timeout(SHUTDOWN, shutdown.closed()).await;
    summary::log_total("room", &layer.stats());
    ExitCode::SUCCESS
}

fn log_start(settings: &Settings) {
    let mode = match settings {
        Settings { dedup: false, .. } => "deduplication is off: every copy of an offer passes",
        Settings { newest_wins: true, .. } => "duplicates are ignored, and other offers replace those of a busy pair",
        Settings { queue: true, .. } => "duplicates are ignored, and other offers of a busy pair wait",
        Settings { .. } => "duplicates are ignored, and other offers of a busy pair are refused",
    };
    let Settings {
        window,
        cooldown,
        answer_timeout,
        repeat,
        ..
    } = settings;
    info!(?window, ?cooldown, ?answer_timeout, repeat, "started: {mode}");
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

#[derive(Clone)]
struct App {
    settings: Arc<Settings>,
    signaling: Signaling,
    rooms: Arc<Rooms>,
    shutdown: watch::Receiver<bool>,
}

async fn app(settings: Settings, shutdown: watch::Receiver<bool>) -> Result<(Router, OfferDedupHandle), String> {
    let (signaling, rooms) = signaling::signaling(&settings).await?;
    let layer = rooms.dedup().clone();
    let router = page::router()
        .route("/ws/{room}", get(join))
        .route("/rooms/{room}", get(report).put(change))
        .route("/stats", get(stats))
        .with_state(App {
            settings: Arc::new(settings),
            signaling,
            rooms,
            shutdown,
        });
    Ok((router, layer))
}

#[derive(Deserialize)]
struct Joining {
    peer: Name,
}

async fn join(
    State(app): State<App>,
    Path(room): Path<Name>,
    Query(Joining { peer }): Query<Joining>,
    upgrade: WebSocketUpgrade,
) -> Response {
    // Reads more than it accepts, so that most oversized messages can be answered with an error.
    let limit = 16 * MAX_MESSAGE;
    upgrade
        .max_message_size(limit)
        .max_frame_size(limit)
        .on_upgrade(async move |socket| match app.rooms.join(room, peer) {
            Ok(joined) => {
                socket::serve(socket, joined, app.signaling, app.shutdown).await;
            }
            Err(reason) => socket::reject(socket, reason).await,
        })
}

async fn report(
    State(app): State<App>,
    Path(room): Path<Name>,
    Query(Joining { peer }): Query<Joining>,
) -> Result<Json<Report>, StatusCode> {
    app.rooms.report(&room, &peer).map(Json).ok_or(StatusCode::NOT_FOUND)
}

/// Changes the conditions of one room. Other origins cannot call this: their browsers ask first.
async fn change(State(app): State<App>, Path(room): Path<Name>, Json(conditions): Json<Conditions>) -> StatusCode {
    if !conditions.is_valid() {
        StatusCode::UNPROCESSABLE_ENTITY
    } else if app.rooms.set_conditions(&room, conditions) {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }
}

async fn stats(State(app): State<App>) -> Json<Value> {
    let Settings {
        dedup,
        repeat,
        window,
        cooldown,
        queue,
        newest_wins,
        ..
    } = *app.settings;
    let stats = app.rooms.dedup().stats();
    Json(json!({
        "dedup": dedup,
        "repeat": repeat,
        "window_ms": window.as_millis() as u64,
        "cooldown_ms": cooldown.as_millis() as u64,
        "queue": queue,
        "newest_wins": newest_wins,
        "offers_passed": app.rooms.offers_passed(),
        "offers_ignored": stats.refused(),
        "stats": stats.iter().collect::<Value>(),
    }))
}

fn fail(message: &str) -> ExitCode {
    eprintln!("room: {message}");
    ExitCode::FAILURE
}
