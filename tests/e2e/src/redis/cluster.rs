//! Clusters.

use super::{
    certificates::Certificates,
    server::{Engine, Server, free_port},
};

/// Starts three masters with a replica each, and waits until they are one cluster.
pub fn start_cluster(engine: Engine) -> Vec<Server> {
    start_all(|flags| Server::start(engine, flags))
}

/// Starts a cluster whose servers take TLS connections only, also from each other.
pub fn start_cluster_with_tls(engine: Engine, certificates: &Certificates) -> Vec<Server> {
    start_all(|flags| {
        let tls = ["--tls-cluster", "yes", "--tls-replication", "yes"];
        Server::start_with_tls(engine, certificates, &[flags, &tls].concat())
    })
}

/// Moves the slot of a key, which is escaped, from one master to another.
pub fn move_slot(key: &str, from: &Server, to: &Server) {
    let tag = key.split(['{', '}']).nth(1).expect("the key should have a tag");
    let slot = from.cli(&["CLUSTER", "KEYSLOT", tag]);
    let [source, target] = [from, to].map(|server| server.cli(&["CLUSTER", "MYID"]));
    let run = |server: &Server, command: &[&str]| {
        let reply = server.cli(command);
        assert_eq!(reply, "OK", "{command:?}");
    };
    run(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source]);
    run(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target]);
    let listed = from.cli(&["--no-raw", "CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
    let keys = listed.lines().filter_map(|line| Some(line.split_once(") ")?.1));
    let port = to.port().to_string();
    let migrate = [
        "--quoted-input",
        "MIGRATE",
        "127.0.0.1",
        &port,
        "\"\"",
        "0",
        "5000",
        "KEYS",
    ];
    run(from, &migrate.into_iter().chain(keys).collect::<Vec<_>>());
    for server in [to, from] {
        run(server, &["CLUSTER", "SETSLOT", &slot, "NODE", &target]);
    }
}

fn start_all(start: impl Fn(&[&str]) -> Server) -> Vec<Server> {
    let servers: Vec<_> = (0..6)
        .map(|_| {
            let bus = free_port().to_string();
            let flags = [
                "--cluster-enabled",
                "yes",
                // The default, 10,000 above the port, may be past the last port.
                "--cluster-port",
                &bus,
                "--cluster-node-timeout",
                "1000",
                // A replica that was cut off a moment ago may take over, too.
                "--cluster-replica-validity-factor",
                "0",
                "--repl-diskless-sync-delay",
                "0",
            ];
            start(&flags)
        })
        .collect();
    let addresses: Vec<_> = servers
        .iter()
        .map(|server| format!("127.0.0.1:{}", server.port()))
        .collect();
    let output = servers[0]
        .command(&["--cluster", "create"])
        .args(&addresses)
        .args(["--cluster-replicas", "1", "--cluster-yes"])
        .output()
        .expect("redis-cli should start");
    assert!(
        output.status.success(),
        "the cluster should form: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    for server in &servers {
        server.until("the cluster is complete", |server| {
            let state = server.cli(&["CLUSTER", "INFO"]);
            state.contains("cluster_state:ok") && state.contains("cluster_known_nodes:6")
        });
        server.until("the replicas are in sync", |server| {
            match server.info("role").as_str() {
                "slave" => server.info("master_link_status") == "up",
                _ => server.info("connected_slaves") == "1",
            }
        });
    }
    servers
}
