//! Runs a part of a test in a process of its own, by starting the test binary again.

use std::{
    env,
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::{self, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

const TASK: &str = "OFFER_DEDUP_TEST_TASK";
const REPORT: &str = "OFFER_DEDUP_TEST_REPORT";

/// No child takes that long, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The result of a child, and the lines that it reported.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub lines: Vec<String>,
}

/// Returns the task of this process, or `None` in the parent.
pub fn task() -> Option<String> {
    env::var(TASK).ok()
}

/// Reports a line to the parent through a file, which works without standard output.
pub fn report(line: &str) {
    let path = env::var(REPORT).expect("a child knows where to report to");
    let mut file = OpenOptions::new().append(true).open(path).expect("the report exists");
    writeln!(file, "{line}").expect("a line is written");
}

/// Runs the test `name` of this file in a child.
pub fn run_test(name: &str, task: &str) -> Ended {
    let mut command = this_binary();
    command.args(["--exact", name, "--test-threads=1"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    run(command, task)
}

/// Returns a command that starts the binary of this test.
pub fn this_binary() -> Command {
    Command::new(env::current_exe().expect("a test knows where it is"))
}

/// Runs a child until it ends, and kills it after a minute.
pub fn run(mut command: Command, task: &str) -> Ended {
    let path = report_path();
    fs::write(&path, "").expect("the report can be written");
    let mut child = command
        .env(TASK, task)
        .env(REPORT, &path)
        .spawn()
        .expect("the child starts");
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("the child is ours") {
            break status;
        }
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            break child.wait().expect("the child was killed");
        }
        thread::sleep(Duration::from_millis(2));
    };
    let report = fs::read_to_string(&path).expect("the report is there");
    let _ = fs::remove_file(&path);
    let lines = report.lines().map(str::to_owned).collect();
    Ended { status, lines }
}

fn report_path() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("report-{}-{}", process::id(), NEXT.fetch_add(1, Relaxed));
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}
