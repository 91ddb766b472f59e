//! Starts the probe.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_probe"));
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

pub(crate) async fn run(args: &[&str]) -> Ended {
    ended(&mut command(args)).await
}

pub(crate) async fn ended(command: &mut Command) -> Ended {
    let output = command.output().await.expect("the probe should run");
    let text = |bytes| String::from_utf8(bytes).expect("the output should be UTF-8");
    Ended {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

impl Ended {
    pub(crate) fn report(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("no report: {}{}", self.stdout, self.stderr))
    }

    /// The finding of one check.
    pub(crate) fn check(&self, name: &str) -> Value {
        let report = self.report();
        let checks = report["checks"].as_array().expect("the checks should be a list");
        let found = checks.iter().find(|check| check["check"] == name);
        found.cloned().unwrap_or_else(|| panic!("no check {name}: {report:#}"))
    }
}
