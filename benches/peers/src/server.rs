//! Serves a contender.

use std::{io, net::Ipv4Addr};

use axum::serve::ListenerExt;
use tokio::{io::AsyncReadExt, net::TcpListener};

use crate::{
    args::Serve,
    contenders::{Kind, Settings},
    endpoint::Endpoint,
};

/// Serves until the parent process is gone.
pub(crate) async fn run(serve: Serve) -> Result<(), String> {
    let Kind::App(app) = serve.contender.kind else {
        return Err(format!("this program cannot serve {}", serve.contender.name));
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
    // As Node does. An error means that the socket is gone.
    let listener = listener.tap_io(|socket| _ = socket.set_nodelay(true));
    axum::serve(listener, app).await
}

/// Resolves when the pipe from the parent process is closed, for whatever reason.
pub(crate) async fn parent_gone() {
    let mut rest = Vec::new();
    _ = tokio::io::stdin().read_to_end(&mut rest).await;
}
