use std::convert::Infallible;

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::{Layer, service_fn};
use tower_offer_dedup::{
    JsonOffers, OfferDedupLayer,
    http::{BufferedBody, HttpAnswer, HttpOffers},
};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    serve(TcpListener::bind("127.0.0.1:8080").await?).await
}

async fn serve(listener: TcpListener) -> std::io::Result<()> {
    let json = JsonOffers::new().sdp("/sdp").peer("/from");
    let dedup = OfferDedupLayer::builder()
        .offers(HttpOffers::new().json(json))
        .answer(HttpAnswer::replaying())
        .build();
    let service = TowerToHyperService::new(dedup.layer(service_fn(signal)));
    loop {
        let (stream, _) = listener.accept().await?;
        let service = service.clone();
        tokio::spawn(async move {
            let server = Builder::new(TokioExecutor::new());
            let stream = TokioIo::new(stream);
            if let Err(error) = server.serve_connection(stream, service).await {
                eprintln!("connection ended: {error}");
            }
        });
    }
}

async fn signal(
    request: Request<BufferedBody<Incoming>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    // Your media server makes the answer.
    let Ok(offer) = request.into_body().collect().await else {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(response);
    };
    let bytes = offer.to_bytes().len();
    let answer = format!(r#"{{"type":"answer","to_bytes":{bytes}}}"#);
    Ok(Response::new(Full::from(answer)))
}

#[cfg(test)]
mod tests;
