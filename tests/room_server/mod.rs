//! The room server, started as the process that a user starts.

use std::{
    env,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// A running room server; stopped when dropped.
#[derive(Debug)]
pub(crate) struct RoomServer {
    /// Its process.
    pub(crate) child: Child,
    /// Host and port.
    pub(crate) address: String,
}

impl RoomServer {
    /// Starts it on any free port.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_on("127.0.0.1:0", flags)
    }

    /// Starts it on `address`, and returns when it listens.
    pub(crate) fn start_on(address: &str, flags: &[&str]) -> Self {
        let mut child = Self::command()
            .args(["--listen", address])
            .args(flags)
            .env("RUST_LOG", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the room server starts");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("stdout is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("it says where it listens");
        let address = line
            .strip_prefix("room server on http://")
            .and_then(|rest| rest.strip_suffix("/\n"))
            .unwrap_or_else(|| panic!("no address in {line:?}"))
            .to_owned();
        Self { child, address }
    }

    /// The server's binary, which cargo builds beside the tests.
    pub(crate) fn command() -> Command {
        let tests = env::current_exe().expect("a test knows where it is");
        let target = tests
            .ancestors()
            .nth(2)
            .expect("tests are built into target/PROFILE/deps");
        let binary: PathBuf = target.join("examples").join(format!("room{}", env::consts::EXE_SUFFIX));
        assert!(
            binary.exists(),
            "{} is missing: cargo build --example room",
            binary.display()
        );
        Command::new(binary)
    }
}

impl Drop for RoomServer {
    fn drop(&mut self) {
        // It may have stopped by itself, as some tests want it to.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
