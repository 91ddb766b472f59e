//! [`Link`]: a proxy between nodes and their server, which delays, cuts and swallows.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Notify,
    time::sleep,
};

/// A proxy between nodes and their server.
#[derive(Clone, Default)]
pub(crate) struct Link(Arc<State>);

#[derive(Default)]
struct State {
    delay_ms: AtomicU64,
    /// Swallows everything, in both directions, and keeps the connections open.
    is_partitioned: AtomicBool,
    cut: Notify,
}

impl Link {
    /// Starts a proxy to `server`. Returns the URL for the nodes as well.
    pub(crate) async fn to(server: u16) -> (Self, String) {
        let link = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        tokio::spawn(link.clone().serve(listener, ([127, 0, 0, 1], server).into()));
        (link, format!("redis://127.0.0.1:{port}/"))
    }

    /// Delays everything in each direction.
    pub(crate) fn delay(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.0.delay_ms.store(millis, Relaxed);
    }

    pub(crate) fn partition(&self, is_partitioned: bool) {
        self.0.is_partitioned.store(is_partitioned, Relaxed);
    }

    /// Cuts all connections, whatever is under way.
    pub(crate) fn cut(&self) {
        self.0.cut.notify_waiters();
    }

    async fn serve(self, listener: TcpListener, server: SocketAddr) {
        while let Ok((node, _)) = listener.accept().await {
            let link = self.clone();
            tokio::spawn(async move {
                let cut = link.0.cut.notified();
                let Ok(server) = TcpStream::connect(server).await else {
                    return;
                };
                let ((node_in, node_out), (server_in, server_out)) = (node.into_split(), server.into_split());
                tokio::select! {
                    () = link.carry(node_in, server_out) => {}
                    () = link.carry(server_in, node_out) => {}
                    () = cut => {}
                }
            });
        }
    }

    async fn carry(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut bytes = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut bytes).await {
            sleep(Duration::from_millis(self.0.delay_ms.load(Relaxed))).await;
            if !self.0.is_partitioned.load(Relaxed) && to.write_all(&bytes[..length]).await.is_err() {
                return;
            }
        }
    }
}
