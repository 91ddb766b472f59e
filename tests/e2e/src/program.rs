//! The programs of this workspace, started as the processes that a user starts.

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

/// Starts a server on `address`, and returns when it has said, after `greeting`, on which host and port it listens.
pub fn start(mut command: Command, greeting: &str, address: &str, flags: &[&str]) -> (Child, String) {
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
pub fn stop(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// The program's binary. A test builds it first, so that it never runs an outdated one; a program finds it beside itself.
pub fn command(name: &str) -> Command {
    let this = env::current_exe().expect("a program knows where it is");
    let mut folder = this.parent().expect("a program is in a folder");
    if folder.ends_with("deps") {
        folder = folder.parent().expect("tests are built into target/PROFILE/deps");
        build_into(folder);
    }
    let binary = folder.join(format!("{name}{}", env::consts::EXE_SUFFIX));
    assert!(
        binary.exists(),
        "{} is missing: `cargo build -p {name}` builds it",
        binary.display()
    );
    Command::new(binary)
}

/// Builds all programs into target/PROFILE, once for each process.
fn build_into(folder: &Path) {
    static IS_BUILT: OnceLock<bool> = OnceLock::new();
    let is_built = IS_BUILT.get_or_init(|| {
        let profile = match folder.file_name().and_then(|name| name.to_str()) {
            Some("debug") => "dev",
            other => other.expect("the folder is named after the profile"),
        };
        let target = folder.parent().expect("the folder is in the target directory");
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            // The features of `tests/run`, with which the dependencies are already built. Without `--examples` those of
            // the dev-dependencies would be missing.
            .args(["build", "--workspace", "--all-features", "--bins", "--examples"])
            .args(["--profile", profile, "--target-dir"])
            .arg(target)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
            .status();
        status.expect("cargo starts").success()
    });
    assert!(is_built, "cargo could not build the servers, as it says above");
}
