//! The options that `connect` refuses or warns about.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use e2e::redis::{Certificates, Engine, Folder, Server, start_cluster};
use tower_offer_dedup::store::{RedisOptions, SharedStore};
use tracing_subscriber::fmt::MakeWriter;

use crate::support::SECRET;

/// Connects, which must fail. Returns the error with its sources.
async fn refusal(options: RedisOptions) -> String {
    let options = options.secret(SECRET).connect_timeout(Duration::from_secs(2));
    let error = options.connect().await.expect_err("the options are wrong");
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

#[tokio::test]
async fn unreachable_server_is_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = refusal(RedisOptions::new(&url)).await;
    assert!(error.contains("cannot be reached"), "{error}");
    let error = refusal(RedisOptions::cluster([&url])).await;
    assert!(error.contains("cannot be reached"), "{error}");
    let error = refusal(RedisOptions::sentinel([&url], "signaling")).await;
    assert!(error.contains("cannot be reached"), "{error}");
}

#[tokio::test]
async fn silent_server_is_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let error = refusal(RedisOptions::new(url)).await;
    assert!(error.contains("cannot be reached"), "{error}");
}

#[tokio::test]
async fn refused_authentication_is_error() {
    let server = Server::start(Engine::Redis, &["--requirepass", "hunter2"]);
    let error = refusal(RedisOptions::new(server.url())).await;
    assert!(error.contains("without a password"), "{error}");
    for options in [
        RedisOptions::new(server.url()).password("hunter3"),
        RedisOptions::new(server.url()).username("nobody").password("hunter2"),
        RedisOptions::new(format!("redis://:hunter3@127.0.0.1:{}", server.port())),
    ] {
        let error = refusal(options).await;
        assert!(error.contains("refuses the user or the password"), "{error}");
        assert!(!error.contains("hunter"), "{error}");
    }
    let url = format!("redis://:hunter2@127.0.0.1:{}", server.port());
    assert!(RedisOptions::new(url).secret(SECRET).connect().await.is_ok());
}

#[tokio::test]
async fn unknown_authority_is_error() {
    let folder = Folder::new();
    let certificates = Certificates::make(&folder);
    let server = Server::start_with_tls(Engine::Redis, &certificates, &[]);
    let other = Folder::new();
    let stranger = Certificates::make(&other);
    let error = refusal(RedisOptions::new(server.url()).root_certificates(stranger.root())).await;
    assert!(
        error.contains("cannot be reached") && error.contains("certificate"),
        "{error}"
    );
}

#[tokio::test]
async fn client_certificate_is_presented() {
    let folder = Folder::new();
    let certificates = Certificates::make(&folder);
    let server = Server::start_with_tls(Engine::Redis, &certificates, &["--tls-auth-clients", "yes"]);
    let options = || RedisOptions::new(server.url()).root_certificates(certificates.root());
    let error = refusal(options()).await;
    assert!(error.contains("cannot be reached"), "{error}");
    let (certificate, key) = certificates.server();
    let store = options()
        .client_certificate(certificate, key)
        .secret(SECRET)
        .connect()
        .await;
    store.expect("the certificate should be accepted");
}

#[tokio::test]
async fn wrong_kind_of_server_is_error() {
    let master = Server::start(Engine::Redis, &["--repl-diskless-sync-delay", "0"]);
    let replica = Server::start(Engine::Redis, &["--replicaof", "127.0.0.1", &master.port().to_string()]);
    replica.until("it is in sync", |replica| replica.info("master_link_status") == "up");
    let error = refusal(RedisOptions::new(replica.url())).await;
    assert!(error.contains("read-only replica"), "{error}");

    let error = refusal(RedisOptions::cluster([master.url()])).await;
    assert!(error.contains("belongs to no cluster"), "{error}");

    let sentinel = Server::watch(&master, "signaling", &[]);
    let error = refusal(RedisOptions::sentinel([sentinel.url()], "other")).await;
    assert!(error.contains("no master of this name"), "{error}");

    let servers = start_cluster(Engine::Redis);
    let error = refusal(RedisOptions::new(servers[0].url())).await;
    assert!(error.contains("belongs to a cluster"), "{error}");
}

/// Answers each command as a server of an old version would.
fn old_server(hello: &'static str, info: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            for line in lines.map_while(Result::ok) {
                let reply = match line.to_ascii_uppercase().as_str() {
                    "HELLO" => hello.to_owned(),
                    "CLIENT" => "+OK\r\n".to_owned(),
                    "INFO" => format!("${}\r\n{info}\r\n", info.len()),
                    _ => continue,
                };
                if stream.write_all(reply.as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    url
}

#[tokio::test]
async fn old_server_is_error() {
    let unknown = "-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n";
    let error = refusal(RedisOptions::new(old_server(unknown, ""))).await;
    assert!(error.contains("too old"), "{error}");

    let greeting = "%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n";
    let info = "redis_version:6.0.16\r\nrole:master\r\n";
    let error = refusal(RedisOptions::new(old_server(greeting, info))).await;
    assert!(error.contains("too old") && error.contains("6.0.16"), "{error}");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Connects, and returns what was logged.
async fn logged(options: RedisOptions) -> String {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(log.clone())
        .with_ansi(false)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let store = options.secret(SECRET).connect().await;
    store.expect("the server should be taken");
    let text = log.0.lock().unwrap().clone();
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn evicting_policy_is_warning() {
    for (policy, is_warned) in [("allkeys-lru", true), ("volatile-lru", true), ("noeviction", false)] {
        let server = Server::start(Engine::Redis, &["--maxmemory-policy", policy]);
        let text = logged(RedisOptions::new(server.url())).await;
        assert_eq!(text.contains("WARN") && text.contains(policy), is_warned, "{text}");
    }
}

#[tokio::test]
async fn every_master_of_cluster_is_checked() {
    let servers = start_cluster(Engine::Redis);
    let is_master = |server: &&Server| server.info("role") == "master";
    let masters: Vec<_> = servers.iter().filter(is_master).collect();
    masters[1].cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let text = logged(RedisOptions::cluster([masters[0].url()])).await;
    assert!(text.contains("WARN") && text.contains("allkeys-lru"), "{text}");
}

#[tokio::test]
async fn user_without_info_is_warning() {
    let server = Server::start(Engine::Redis, &[]);
    let rules = ["on", ">hunter2", "~od1:*", "&od1:*", "+@all", "-info"];
    server.cli(&[&["ACL", "SETUSER", "node"], &rules[..]].concat());
    let text = logged(RedisOptions::new(server.url()).username("node").password("hunter2")).await;
    assert!(text.contains("could not be checked"), "{text}");
}

#[test]
fn store_names_its_runtime_that_has_gone() {
    let server = Server::start(Engine::Redis, &[]);
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().expect("a runtime")
    };
    let options = RedisOptions::new(server.url()).secret(SECRET);
    let store = runtime()
        .block_on(options.connect())
        .expect("the server should be reached");
    let error = runtime()
        .block_on(store.ping())
        .expect_err("nothing keeps up the connection");
    assert_eq!(
        error.to_string(),
        "the runtime that connected to the server has shut down"
    );
}
