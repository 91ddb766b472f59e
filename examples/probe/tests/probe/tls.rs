//! HTTPS: certificates are checked.

use std::{env, fs, process, sync::Arc};

use axum::{Router, http::header, routing::post};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::net::TcpListener;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use crate::run::{command, ended};

/// Serves over TLS. Returns the URL and the certificate as PEM.
async fn serve() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate should be made");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider should support TLS")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("the key should fit");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let fields = [
        (header::CONTENT_TYPE, "application/sdp"),
        (header::LOCATION, "/session"),
    ];
    let publish = post(move || async move { (axum::http::StatusCode::CREATED, fields, "v=0\r\na=ice-ufrag:a\r\n") });
    let router = Router::new().route("/whip", publish);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port should be free");
    let port = listener.local_addr().expect("it should be bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, service) = (acceptor.clone(), TowerToHyperService::new(router.clone()));
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                }
            });
        }
    });
    (format!("https://localhost:{port}/whip"), made.cert.pem())
}

#[tokio::test]
async fn only_trusted_certificates_are_taken() {
    let (url, certificate) = serve().await;
    let file = env::temp_dir().join(format!("probe-test-{}.pem", process::id()));
    fs::write(&file, certificate).expect("the file should be writable");
    let trusting = ended(command(&[&url, "--only", "one"]).env("SSL_CERT_FILE", &file)).await;
    let doubting = ended(&mut command(&[&url, "--only", "one"])).await;
    fs::remove_file(&file).expect("the file should be there");
    assert_eq!(trusting.code, Some(0), "{}", trusting.stderr);
    assert!(
        trusting.stdout.contains("PASS  One offer is answered"),
        "{}",
        trusting.stdout
    );
    assert_eq!(doubting.code, Some(2));
    assert!(
        doubting.stderr.contains("TLS failed: invalid peer certificate"),
        "{}",
        doubting.stderr
    );
}
