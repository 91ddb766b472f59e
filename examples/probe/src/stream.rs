//! Connections: TCP, with TLS where the URL asks for it.

use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::ServerName},
};
use url::{Host, Url};

use crate::reply::Lost;

/// Opens connections.
#[derive(Default)]
pub(crate) struct Connector {
    tls: OnceLock<TlsConnector>,
}

/// A connection, with TLS or without.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Connector {
    pub(crate) async fn connect(&self, url: &Url) -> Result<Box<dyn Stream>, Lost> {
        let host = url.host().ok_or_else(|| unreachable("the URL has no host"))?;
        let port = url.port_or_known_default();
        let port = port.ok_or_else(|| unreachable("the URL has no port"))?;
        let connected = match &host {
            Host::Domain(name) => TcpStream::connect((*name, port)).await,
            Host::Ipv4(ip) => TcpStream::connect((*ip, port)).await,
            Host::Ipv6(ip) => TcpStream::connect((*ip, port)).await,
        };
        let stream = connected.map_err(|error| Lost::Unreachable(error.to_string()))?;
        // Copies that are sent at once should arrive at once. Without this option they do too, only later.
        let _ = stream.set_nodelay(true);
        if !is_encrypted(url) {
            return Ok(Box::new(stream));
        }
        let name = match host {
            Host::Domain(name) => {
                ServerName::try_from(name.to_owned()).map_err(|error| Lost::Tls(error.to_string()))?
            }
            Host::Ipv4(ip) => ServerName::from(std::net::IpAddr::from(ip)),
            Host::Ipv6(ip) => ServerName::from(std::net::IpAddr::from(ip)),
        };
        let tls = self.tls.get_or_init(tls);
        let stream = tls.connect(name, stream).await;
        Ok(Box::new(stream.map_err(|error| Lost::Tls(error.to_string()))?))
    }
}

pub(crate) fn is_encrypted(url: &Url) -> bool {
    matches!(url.scheme(), "https" | "wss")
}

/// Trusts the system's certificates, or those in `SSL_CERT_FILE`.
fn tls() -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    // Named, because another program of the workspace may add another provider.
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider should support TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

fn unreachable(error: &str) -> Lost {
    Lost::Unreachable(error.to_owned())
}

/// A connection that ends its side as soon as something is written and flushed. To the server it is a client that hung up:
/// a closed connection differs only once the server has written its answer. What the server still sends can be read.
pub(crate) struct HungUp<S> {
    stream: S,
    is_written: bool,
    is_ended: bool,
}

impl<S> HungUp<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            is_written: false,
            is_ended: false,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HungUp<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HungUp<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.is_written |= written > 0;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        if self.is_written && !self.is_ended {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.is_ended = true;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_ended {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
