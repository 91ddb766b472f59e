//! A Redis server, and `redis-benchmark` against it.

use std::{
    io::Write,
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// The script of a claim, as the store sends it.
const CLAIM: &str = concat!(
    include_str!("../../../src/store/redis/scripts/common.lua"),
    include_str!("../../../src/store/redis/scripts/claim.lua")
);

/// A server without persistence. It stops on drop.
pub(crate) struct Server {
    child: Child,
    port: u16,
}

impl Server {
    pub(crate) fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("a port should be free").port();
        let child = Command::new("redis-server")
            .args([
                "--save",
                "",
                "--appendonly",
                "no",
                "--bind",
                "127.0.0.1",
                "--port",
                &port.to_string(),
            ])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server should start");
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "redis-server does not answer"
            );
            sleep(Duration::from_millis(20));
        }
        Self { child, port }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Drops all keys. Scripts stay.
    pub(crate) fn flush(&self) {
        self.run(Command::new("redis-cli"), &["FLUSHALL"], "");
    }

    /// Returns how many new claims a second `redis-benchmark` gets from the server, by the store's script.
    pub(crate) fn claims_by_benchmark(&self, requests: usize, clients: usize) -> f64 {
        let digest = self.run(Command::new("redis-cli"), &["-x", "SCRIPT", "LOAD"], CLAIM);
        let (requests, clients) = (requests.to_string(), clients.to_string());
        let benchmark = [
            "-n",
            &requests,
            "-c",
            &clients,
            "--threads",
            "2",
            "-r",
            "1000000000000",
            "--csv",
        ];
        let call = ["EVALSHA", digest.trim(), "3"];
        // Each `__rand_int__` becomes 12 digits of its own. The keys of a call need not fit to each other.
        let keys = ["bench:{000}__rand_int__", "bench:{000}__rand_int__a", "bench:{000}"];
        let arguments = [
            "bench:node:",
            "sealed",
            "node__rand_int__",
            "fingerprint-0001",
            "10000",
            "",
            "",
        ];
        let text = self.run(
            Command::new("redis-benchmark"),
            &[&benchmark[..], &call, &keys, &arguments].concat(),
            "",
        );
        let line = text.lines().last().expect("redis-benchmark should print its result");
        let figures: Vec<_> = line.trim_matches('"').split("\",\"").collect();
        let rate = figures.len().checked_sub(7).map(|at| figures[at]);
        let rate = rate.and_then(|rate| rate.parse().ok());
        rate.unwrap_or_else(|| panic!("redis-benchmark should print a rate: {text}"))
    }

    fn run(&self, mut command: Command, arguments: &[&str], input: &str) -> String {
        let mut child = command
            .args(["-p", &self.port.to_string()])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the Redis tools should be installed");
        let mut stdin = child.stdin.take().expect("the input is a pipe");
        stdin.write_all(input.as_bytes()).expect("the input should be read");
        drop(stdin);
        let output = child.wait_with_output().expect("the command should end");
        assert!(output.status.success(), "{command:?} failed");
        String::from_utf8(output.stdout).expect("the output should be text")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
