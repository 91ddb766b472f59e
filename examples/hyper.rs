//! Plain hyper without axum, with JSON `POST`s of `{"type":"offer","sdp":…,"from":…}`:
//!
//! ```sh
//! cargo run --release --example hyper
//! curl -i http://127.0.0.1:3001/offer -H 'content-type: application/json' \
//!      -d '{"type":"offer","from":"alice","sdp":"v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n"}'
//! ```
//!
//! The second time, the layer replays the answer and marks it with `offer-replayed: true`.

use std::{convert::Infallible, env, net::SocketAddr, pin::pin, process::ExitCode, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};
use tower::{Layer, service_fn};
use tower_offer_dedup::{
    JsonOffers, OfferDedupLayer,
    http::{BufferedBody, HttpAnswer, HttpOffers},
};

#[path = "shared/stop.rs"]
mod stop;

const HELP: &str = "\
JSON offers on plain hyper, each processed once

Usage: hyper [--listen ADDRESS]

Options:
  --listen ADDRESS   address to listen on, with port 0 for any free port [default: 127.0.0.1:3001]
  -h, --help         print this help
";

/// The time that requests get to end at shutdown.
const SHUTDOWN: Duration = Duration::from_secs(3);

enum Command {
    Help,
    Listen(SocketAddr),
}

fn main() -> ExitCode {
    match parse(env::args().skip(1)) {
        Ok(Command::Help) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Ok(Command::Listen(address)) => serve(address),
        Err(error) => {
            eprintln!("hyper: {error} (--help lists the options)");
            ExitCode::from(2)
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Command, String> {
    let mut address = SocketAddr::from(([127, 0, 0, 1], 3001));
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "-h" | "--help" => return Ok(Command::Help),
            "--listen" => {
                let text = args.next().ok_or("--listen needs an address")?;
                address = text
                    .parse()
                    .map_err(|_| format!("--listen takes ADDRESS:PORT such as 127.0.0.1:3001, not {text:?}"))?;
            }
            _ => return Err(format!("unexpected argument {arg:?}")),
        }
    }
    Ok(Command::Listen(address))
}

#[tokio::main]
async fn serve(address: SocketAddr) -> ExitCode {
    let listening = TcpListener::bind(address).await;
    let bound = listening.and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, listener) = match bound {
        Ok(bound) => bound,
        Err(error) => {
            eprintln!("hyper: cannot listen on {address}: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("POST offers to http://{address}/offer");

    let dedup = OfferDedupLayer::builder()
        .offers(HttpOffers::new().json(JsonOffers::new().sdp("/sdp").peer("/from")))
        .answer(HttpAnswer::replaying())
        .build();
    let service = TowerToHyperService::new(dedup.layer(service_fn(signal)));

    let connections = GracefulShutdown::new();
    let mut stop = pin!(stop::requested());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            // Out of file descriptors, for example: waits until some are free.
            Err(error) => {
                eprintln!("hyper: cannot accept a connection: {error}");
                sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let server = auto::Builder::new(TokioExecutor::new());
        let connection = server.serve_connection(TokioIo::new(stream), service.clone());
        let connection = connections.watch(connection.into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("connection ended: {error}");
            }
        });
    }
    drop(listener);
    // Requests in progress are answered before their connections close.
    let _ = timeout(SHUTDOWN, connections.shutdown()).await;
    ExitCode::SUCCESS
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
