//! Plain hyper without axum, with JSON `POST`s of `{"type":"offer","sdp":…,"from":…}`:
//!
//! ```sh
//! cargo run --release --example hyper
//! curl -i http://127.0.0.1:3001/offer -H 'content-type: application/json' \
//!      -d '{"type":"offer","from":"alice","sdp":"v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n"}'
//! ```
//!
//! The second time, the layer replays the answer and marks it with `offer-replayed: true`.

use std::{convert::Infallible, error::Error, net::SocketAddr};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::{Layer, service_fn};
use tower_offer_dedup::{
    JsonOffers, OfferDedupLayer,
    http::{BufferedBody, HttpAnswer, HttpOffers},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address: SocketAddr = std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:3001").parse()?;
    let listener = TcpListener::bind(address).await?;
    println!("POST offers to http://{}/offer", listener.local_addr()?);

    let dedup = OfferDedupLayer::builder()
        .offers(HttpOffers::new().json(JsonOffers::new().sdp("/sdp").peer("/from")))
        .answer(HttpAnswer::replaying())
        .build();
    let service = TowerToHyperService::new(dedup.layer(service_fn(signal)));

    loop {
        let (stream, _) = listener.accept().await?;
        let service = service.clone();
        tokio::spawn(async move {
            let connection = auto::Builder::new(TokioExecutor::new());
            if let Err(error) = connection.serve_connection(TokioIo::new(stream), service).await {
                eprintln!("connection ended: {error}");
            }
        });
    }
}

/// A real server would make its peer connection here.
async fn signal(request: Request<BufferedBody<Incoming>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let offer = match request.into_body().collect().await {
        Ok(body) => serde_json::from_slice::<serde_json::Value>(&body.to_bytes()),
        Err(_) => {
            return Ok(respond(
                StatusCode::BAD_REQUEST,
                r#"{"error":"the body could not be read"}"#,
            ));
        }
    };
    let Some(from) = offer
        .ok()
        .and_then(|offer| Some(offer.get("from")?.as_str()?.to_owned()))
    else {
        return Ok(respond(
            StatusCode::BAD_REQUEST,
            r#"{"error":"expected {type, sdp, from}"}"#,
        ));
    };
    println!("{from}: a new peer connection");
    Ok(respond(StatusCode::OK, r#"{"type":"answer","sdp":"v=0\r\n"}"#))
}

fn respond(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
