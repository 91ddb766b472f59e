//! Every rule of a shared store, on each kind of server.

use e2e::redis::{Certificates, Engine, Folder, Server, start_cluster, start_cluster_with_tls};
use tower_offer_dedup::store::{RedisOptions, conformance};

use crate::support::node;

const OPERATIONS: &str = include_str!("../../../../docs/operations.md");

async fn check(options: impl Fn() -> RedisOptions) {
    conformance::check([node(options()).await, node(options()).await]).await;
}

#[tokio::test]
async fn redis_conforms() {
    let server = Server::start(Engine::Redis, &[]);
    check(|| RedisOptions::new(server.url())).await;
}

#[tokio::test]
async fn valkey_conforms() {
    let server = Server::start(Engine::Valkey, &[]);
    check(|| RedisOptions::new(server.url())).await;
}

#[tokio::test]
async fn password_database_and_prefix_conform() {
    let server = Server::start(Engine::Redis, &["--requirepass", "hunter2"]);
    check(|| {
        RedisOptions::new(server.url())
            .password("hunter2")
            .database(3)
            .prefix("app:")
    })
    .await;
    let keys = |database| server.cli(&["-a", "hunter2", "-n", database, "--no-raw", "KEYS", "*"]);
    let stored = keys("3");
    assert!(stored.lines().count() > 1, "{stored}");
    assert!(stored.lines().all(|line| line.contains("\"app:od1:{")), "{stored}");
    assert!(!keys("0").contains("od1:"), "the number of the database counts");
}

#[tokio::test]
async fn tls_conforms() {
    let folder = Folder::new();
    let certificates = Certificates::make(&folder);
    let server = Server::start_with_tls(Engine::Redis, &certificates, &[]);
    check(|| RedisOptions::new(server.url()).root_certificates(certificates.root())).await;
}

#[tokio::test]
async fn sentinel_conforms() {
    let master = Server::start(Engine::Redis, &["--repl-diskless-sync-delay", "0"]);
    let replica = Server::start(Engine::Redis, &["--replicaof", "127.0.0.1", &master.port().to_string()]);
    replica.until("it is in sync", |replica| replica.info("master_link_status") == "up");
    let sentinel = Server::watch(&master, "signaling", &[]);
    check(|| RedisOptions::sentinel([sentinel.url()], "signaling")).await;
}

#[tokio::test]
async fn redis_cluster_conforms() {
    let servers = start_cluster(Engine::Redis);
    let urls = || servers.iter().map(Server::url);
    check(|| RedisOptions::cluster(urls())).await;
}

#[tokio::test]
async fn valkey_cluster_conforms() {
    let servers = start_cluster(Engine::Valkey);
    // The others are found by this one.
    check(|| RedisOptions::cluster([servers[0].url()])).await;
}

#[tokio::test]
async fn tls_cluster_conforms() {
    let folder = Folder::new();
    let certificates = Certificates::make(&folder);
    let servers = start_cluster_with_tls(Engine::Redis, &certificates);
    let urls = || servers.iter().map(Server::url);
    check(|| RedisOptions::cluster(urls()).root_certificates(certificates.root())).await;
}

/// Returns the commands that the operations page names between `start` and the end of the sentence.
fn documented(start: &str) -> Vec<String> {
    let (_, rest) = OPERATIONS.split_once(start).expect("the page should name commands");
    let (sentence, _) = rest.split_once('.').expect("a sentence should end");
    let names = sentence.split('`').skip(1).step_by(2);
    names.map(str::to_lowercase).collect()
}

/// Adds a user who may run nothing but these commands, on the keys and channels of the prefix `app:`.
fn allow(server: &Server, commands: &[String]) {
    let mut rules = ["on", ">hunter2", "~app:*", "&app:*", "-@all"]
        .map(str::to_owned)
        .to_vec();
    rules.extend(commands.iter().map(|command| format!("+{command}")));
    let rules: Vec<_> = rules.iter().map(String::as_str).collect();
    let reply = server.cli(&[&["ACL", "SETUSER", "node"], &rules[..]].concat());
    assert_eq!(reply, "OK", "{rules:?}");
}

fn as_user(options: RedisOptions) -> RedisOptions {
    options.username("node").password("hunter2").prefix("app:")
}

#[tokio::test]
async fn documented_commands_suffice() {
    let server = Server::start(Engine::Redis, &[]);
    let commands = documented("- Allow");
    allow(&server, &commands);
    check(|| as_user(RedisOptions::new(server.url()))).await;
    for command in &commands {
        let line = server.info(&format!("cmdstat_{command}"));
        assert!(!line.is_empty(), "{command} is not needed");
    }
}

#[tokio::test]
async fn documented_commands_suffice_in_numbered_database() {
    let server = Server::start(Engine::Redis, &[]);
    let mut commands = documented("- Allow");
    commands.extend(documented("A numbered database also needs"));
    allow(&server, &commands);
    check(|| as_user(RedisOptions::new(server.url())).database(3)).await;
}

#[tokio::test]
async fn documented_commands_suffice_in_cluster() {
    let servers = start_cluster(Engine::Redis);
    let mut commands = documented("- Allow");
    commands.extend(documented("A cluster also needs"));
    servers.iter().for_each(|server| allow(server, &commands));
    let urls = || servers.iter().map(Server::url);
    check(|| as_user(RedisOptions::cluster(urls()))).await;
}
