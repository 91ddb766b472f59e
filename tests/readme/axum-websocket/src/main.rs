use std::{
    convert::Infallible,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use axum::{
    Router,
    extract::{
        Path,
        ws::{Message, WebSocketUpgrade},
    },
    routing::get,
};
use tower::{Layer, service_fn};
use tower_offer_dedup::{JsonOffers, OfferDedupLayer, Replay};

static CONNECTIONS: AtomicU64 = AtomicU64::new(1);

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    axum::serve(listener, app()).await
}

fn app() -> Router {
    let shared = OfferDedupLayer::builder()
        .answer(
            Replay::with(|refusal| {
                format!(r#"{{"type":"error","message":"{refusal}"}}"#)
            })
            .weigher(|answer: &String| Some(answer.len())),
        )
        .build();

    // Messages are {"type":"offer","to":"camera","sdp":"v=0…"}.
    let join = async move |Path(room): Path<String>,
                           upgrade: WebSocketUpgrade| {
        let connection = CONNECTIONS.fetch_add(1, Relaxed);
        let offers = JsonOffers::new()
            .sdp("/sdp")
            .peer("/to")
            .for_peer((room, connection));
        let service = shared.offers(offers).layer(service_fn(signal));
        upgrade.on_upgrade(async move |mut socket| {
            while let Some(Ok(message)) = socket.recv().await {
                let Message::Text(text) = message else {
                    continue;
                };
                let text = text.to_string();
                let Ok(reply) = service.clone().oneshot(text).await;
                if socket.send(reply.into()).await.is_err() {
                    break;
                }
            }
        })
    };
    Router::new().route("/rooms/{room}", get(join))
}

async fn signal(message: String) -> Result<String, Infallible> {
    // Your media server makes the answer.
    static SESSIONS: AtomicU64 = AtomicU64::new(1);
    let id = SESSIONS.fetch_add(1, Relaxed);
    println!("session {id} for a message of {} bytes", message.len());
    Ok(format!(r#"{{"type":"answer","session":{id}}}"#))
}

#[cfg(test)]
mod tests;
