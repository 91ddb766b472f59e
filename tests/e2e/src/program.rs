//! Starts the programs of this workspace as the processes that a user would start.

use std::{
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

/// Starts a server on `address`. Returns once it has printed `greeting` with its host and port.
pub fn start(mut command: Command, greeting: &str, address: &str, flags: &[&str]) -> (Child, String) {
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
pub fn stop(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// The binary of a program. Tests build it first, so that they never start an outdated one. Other programs of this
/// workspace expect it next to themselves.
pub fn command(name: &str) -> Command {
    let this = env::current_exe().expect("the path of this program should be known");
    let mut folder = this.parent().expect("this program should be in a folder");
    if folder.ends_with("deps") {
        folder = folder.parent().expect("tests should be in target/PROFILE/deps");
        build_into(folder);
    }
    let binary = folder.join(format!("{name}{}", env::consts::EXE_SUFFIX));
    assert!(
        binary.exists(),
        "{} is missing; run cargo build -p {name}",
        binary.display()
    );
    Command::new(binary)
}

/// The path of a file that `tests/run` installs.
pub fn installed(path: &str) -> PathBuf {
    let publishers = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/publishers");
    let path = Path::new(publishers).join(path);
    assert!(path.exists(), "{} is missing; tests/run installs it", path.display());
    path
}

/// Builds the programs into target/PROFILE, once per process.
fn build_into(folder: &Path) {
    static IS_BUILT: OnceLock<bool> = OnceLock::new();
    let is_built = IS_BUILT.get_or_init(|| {
        let profile = match folder.file_name().and_then(|name| name.to_str()) {
            Some("debug") => "dev",
            other => other.expect("the folder should be named after its profile"),
        };
        let target = folder.parent().expect("the folder should be in the target directory");
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            // Selects the same features as `tests/run`, so that cargo builds no dependency twice. `--examples` adds the
            // features of the dev-dependencies.
            .args(["build", "--workspace", "--all-features", "--bins", "--examples"])
            .args(["--profile", profile, "--target-dir"])
            .arg(target)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
            .status();
        status.expect("cargo should start").success()
    });
    assert!(is_built, "cargo could not build the servers; its error is above");
}
