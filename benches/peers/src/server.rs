//! A contender as a server.

use std::{io, net::Ipv4Addr};

use axum::serve::ListenerExt;
use tokio::{io::AsyncReadExt, net::TcpListener};

use crate::{
    args::Serve,
    contenders::{Kind, Settings},
    endpoint::Endpoint,
};

/// Serves until whoever started it is gone.
pub(crate) async fn run(serve: Serve) -> Result<(), String> {
    let Kind::App(app) = serve.contender.kind else {
        return Err(format!("{} is not served by this program", serve.contender.name));
    };
    let endpoint = Endpoint::new(serve.takes);
    let app = app(endpoint.clone(), Settings::default()).merge(endpoint.counter());
    tokio::select! {
        served = listen(app) => served.map_err(|error| format!("{}: {error}", serve.contender.name)),
        () = parent_gone() => Ok(()),
    }
}

async fn listen(app: axum::Router) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("listening {}", listener.local_addr()?);
    // As Node does. A socket that refuses is one that is gone.
    let listener = listener.tap_io(|socket| _ = socket.set_nodelay(true));
    axum::serve(listener, app).await
}

/// Ends when the pipe from whoever started this process is closed, however that came about.
pub(crate) async fn parent_gone() {
    let mut rest = Vec::new();
    _ = tokio::io::stdin().read_to_end(&mut rest).await;
}
