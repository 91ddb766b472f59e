//! Starts an example as the process that a user would start.

use std::{
    env,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// Starts a server on `address`. Returns once it has printed `greeting` with its host and port.
pub(crate) fn start(mut command: Command, greeting: &str, address: &str, flags: &[&str]) -> (Child, String) {
    let mut child = command
        .args(["--listen", address])
        .args(flags)
        .env("RUST_LOG", "warn")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the server should start");
    let mut line = String::new();
    let stdout = child.stdout.as_mut().expect("stdout is piped");
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("the server should print its address");
    let address = line
        .strip_prefix(greeting)
        .and_then(|rest| rest.strip_prefix(" on http://")?.strip_suffix("/\n"))
        .unwrap_or_else(|| panic!("no address in {line:?}"))
        .to_owned();
    (child, address)
}

/// Stops the process, unless it has already stopped.
pub(crate) fn stop(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// The binary of the example, which cargo builds next to the tests.
pub(crate) fn command(name: &str) -> Command {
    let tests = env::current_exe().expect("the path of the test should be known");
    let target = tests
        .ancestors()
        .nth(2)
        .expect("tests should be in target/PROFILE/deps");
    let binary: PathBuf = target
        .join("examples")
        .join(format!("{name}{}", env::consts::EXE_SUFFIX));
    assert!(
        binary.exists(),
        "{} is missing; run cargo build --example {name}",
        binary.display()
    );
    Command::new(binary)
}
