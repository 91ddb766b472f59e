//! A WHIP endpoint on axum: `cargo run --release --example axum`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::{
    Router,
    extract::Path,
    http::{
        StatusCode,
        header::{CONTENT_TYPE, LOCATION},
    },
    response::IntoResponse,
    routing::{delete, post},
};
use tower_offer_dedup::OfferDedupLayer;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    axum::serve(listener, app()).await
}

fn app() -> Router {
    Router::new()
        .route("/whip/{stream}", post(publish))
        .route("/session/{id}", delete(end))
        .layer(OfferDedupLayer::whip().build())
}

async fn publish(Path(stream): Path<String>, offer: String) -> impl IntoResponse {
    // Your media server makes the answer, and ids that cannot be guessed.
    static SESSIONS: AtomicU64 = AtomicU64::new(1);
    let id = SESSIONS.fetch_add(1, Relaxed);
    println!("session {id} publishes {stream}");
    let answer = offer.replace("a=sendonly", "a=recvonly");
    let headers = [
        (LOCATION, format!("/session/{id}")),
        (CONTENT_TYPE, "application/sdp".to_owned()),
    ];
    (StatusCode::CREATED, headers, answer)
}

async fn end(Path(id): Path<u64>) -> StatusCode {
    println!("session {id} has ended");
    StatusCode::OK
}
