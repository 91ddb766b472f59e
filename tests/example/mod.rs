//! An example, started as the process that a user starts.

use std::{
    env,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// Starts a server on `address`, and returns when it has said, after `greeting`, on which host and port it listens.
pub(crate) fn start(mut command: Command, greeting: &str, address: &str, flags: &[&str]) -> (Child, String) {
    let mut child = command
        .args(["--listen", address])
        .args(flags)
        .env("RUST_LOG", "warn")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the server starts");
    let mut line = String::new();
    let stdout = child.stdout.as_mut().expect("stdout is piped");
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("it says where it listens");
    let address = line
        .strip_prefix(greeting)
        .and_then(|rest| rest.strip_prefix(" on http://")?.strip_suffix("/\n"))
        .unwrap_or_else(|| panic!("no address in {line:?}"))
        .to_owned();
    (child, address)
}

/// Stops it. It may have stopped by itself, as some tests want it to.
pub(crate) fn stop(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// The example's binary, which cargo builds beside the tests.
pub(crate) fn command(name: &str) -> Command {
    let tests = env::current_exe().expect("a test knows where it is");
    let target = tests
        .ancestors()
        .nth(2)
        .expect("tests are built into target/PROFILE/deps");
    let binary: PathBuf = target
        .join("examples")
        .join(format!("{name}{}", env::consts::EXE_SUFFIX));
    assert!(
        binary.exists(),
        "{} is missing: cargo build --example {name}",
        binary.display()
    );
    Command::new(binary)
}
