//! A contender's process: starts it, measures it, and ends it in every case.

use std::{
    fs,
    net::SocketAddr,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use crate::{
    contenders::{self, Contender, Kind},
    offers,
};

const READY: Duration = Duration::from_secs(30);

/// Killed on drop. It also ends by itself when this process is gone, because its stdin is then closed.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    pid: u32,
}

/// A contender's server process.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl Process {
    /// Starts a contender in a fresh process that fills it with offers.
    pub(crate) fn fill(contender: &Contender, count: u64, max_memory: u64, probes: u64) -> Result<Self, String> {
        let mut command = match contender.kind {
            Kind::App(_) => {
                let mut command = this_program()?;
                command.args(["fill", contender.name]);
                command.args([count, max_memory, probes].map(|number| number.to_string()));
                command
            }
            Kind::Original => {
                let mut command = Command::new("node");
                command.arg("--expose-gc").arg(contenders::script());
                command.arg("fill").arg(offers::template());
                let window = crate::memory::WINDOW.as_millis();
                command.args([count.into(), window, probes.into()].map(|number| number.to_string()));
                command
            }
        };
        Self::start(&mut command)
    }

    fn start(command: &mut Command) -> Result<Self, String> {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command
            .spawn()
            .map_err(|error| format!("{:?} did not start: {error}", command.as_std().get_program()))?;
        let (Some(stdout), Some(pid)) = (child.stdout.take(), child.id()) else {
            return Err("a process without stdout".into());
        };
        Ok(Self {
            lines: BufReader::new(stdout).lines(),
            child,
            pid,
        })
    }

    /// Returns the next line that it prints, or `None` at its end.
    pub(crate) async fn line(&mut self) -> Option<String> {
        self.lines.next_line().await.ok().flatten()
    }

    /// Returns its resident memory, or an error if it is gone.
    pub(crate) fn rss(&self) -> Result<u64, String> {
        rss(self.pid)
    }

    /// Returns the time that its threads have run.
    pub(crate) fn cpu(&self) -> Result<Duration, String> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid)).map_err(|error| self.gone(&error))?;
        let mut nanos = 0;
        for thread in threads.flatten() {
            // A thread may have ended meanwhile.
            let Ok(line) = fs::read_to_string(thread.path().join("schedstat")) else {
                continue;
            };
            let ran = line.split(' ').next().and_then(|ran| ran.parse::<u64>().ok());
            nanos += ran.ok_or_else(|| format!("schedstat without a number: {line:?}"))?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Returns how it ended, after a short wait.
    pub(crate) async fn status(&mut self) -> Option<ExitStatus> {
        timeout(Duration::from_secs(5), self.child.wait()).await.ok()?.ok()
    }

    /// Ends it and waits until it is gone, so that the next process has the machine to itself.
    pub(crate) async fn end(mut self) {
        _ = self.child.kill().await;
    }

    fn gone(&self, error: &std::io::Error) -> String {
        format!("process {} is gone: {error}", self.pid)
    }
}

impl Server {
    /// Starts a contender as a server. Its endpoint takes `takes` per offer.
    pub(crate) async fn start(contender: &Contender, takes: Duration) -> Result<Self, String> {
        let mut command = match contender.kind {
            Kind::App(_) => {
                let mut command = this_program()?;
                command.args(["serve", contender.name]);
                command
            }
            Kind::Original => {
                let mut command = Command::new("node");
                command.arg(contenders::script()).arg("serve");
                command
            }
        };
        let mut process = Process::start(command.arg(takes.as_millis().to_string()))?;
        let line = timeout(READY, process.line()).await.ok().flatten();
        let address = line.as_deref().and_then(|line| line.strip_prefix("listening "));
        match address.and_then(|address| address.parse().ok()) {
            Some(address) => Ok(Self { process, address }),
            None => Err(format!("{}: no address within {READY:?}, but {line:?}", contender.name)),
        }
    }
}

fn this_program() -> Result<Command, String> {
    let path = std::env::current_exe().map_err(|error| format!("this program's path: {error}"))?;
    Ok(Command::new(path))
}

/// The resident memory of a process, in bytes.
pub(crate) fn rss(pid: u32) -> Result<u64, String> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).map_err(|error| format!("process {pid}: {error}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kib.ok_or_else(|| format!("process {pid} has no VmRSS"))? * 1024)
}
