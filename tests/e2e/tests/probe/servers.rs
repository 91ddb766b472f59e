//! The servers: our WHIP endpoint with the layer and without, and two that others wrote.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{self, Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use e2e::program::{self, installed};

/// Long enough for a slow machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The files of simple-whip-server, in the folder that `tests/run` unpacks.
const SIMPLE_WHIP: &str = "simple-whip-server/usr/share/simple-whip-server/src";

/// Processes of one server. Dropping it stops them, and removes their files.
pub(crate) struct Server {
    /// The URL that takes offers.
    pub(crate) url: String,
    processes: Vec<Child>,
    folder: Option<PathBuf>,
}

impl Server {
    /// The WHIP endpoint of the examples.
    pub(crate) fn whip(flags: &[&str]) -> Self {
        let (child, address) = program::start(program::command("whip"), "WHIP endpoint", "127.0.0.1:0", flags);
        Self {
            url: format!("http://{address}/whip/$peer"),
            processes: vec![child],
            folder: None,
        }
    }

    /// aiortc behind aiohttp.
    pub(crate) fn aiortc() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/probe/aiortc_server.py");
        let mut child = Command::new(installed("venv/bin/python"))
            .arg(script)
            .stdout(Stdio::piped())
            // A body that is no offer makes a traceback.
            .stderr(Stdio::null())
            .spawn()
            .expect("python should start");
        let mut address = String::new();
        let stdout = child.stdout.as_mut().expect("stdout is piped");
        let read = BufReader::new(stdout).read_line(&mut address);
        read.expect("the server should print its address");
        Self {
            url: format!("http://{}/offer", address.trim()),
            processes: vec![child],
            folder: None,
        }
    }

    /// Meetecho's simple-whip-server in front of Janus. It has an endpoint for each of these peers.
    pub(crate) fn janus(peers: impl IntoIterator<Item = String>) -> Self {
        let folder = env::temp_dir().join(format!("probe-test-{}", process::id()));
        fs::create_dir_all(&folder).expect("the folder should be writable");
        let [websocket, http] = free_ports();
        let server = Self {
            url: format!("http://127.0.0.1:{http}/whip/endpoint/$peer"),
            processes: Vec::new(),
            folder: Some(folder),
        };
        let server = server.with_janus(websocket).with_simple_whip(websocket, http);
        for peer in peers {
            let endpoint = format!(r#"{{"id":"{peer}","room":1234,"label":"{peer}"}}"#);
            let status = post(http, "/whip/create", &endpoint);
            assert!(status.contains(" 200 "), "{peer}: {status}");
        }
        server
    }

    fn with_janus(mut self, port: u16) -> Self {
        let others = ["http", "mqtt", "nanomsg", "pfunix", "rabbitmq"].map(|name| format!("libjanus_{name}.so"));
        self.write(
            "janus.jcfg",
            &format!(
                "general: {{ debug_level = 2 }}\ntransports: {{ disable = \"{}\" }}\n",
                others.join(",")
            ),
        );
        self.write("janus.plugin.videoroom.jcfg", "room-1234: { publishers = 1000 }\n");
        let listen = format!("general: {{ ws = true, ws_ip = \"127.0.0.1\", ws_port = {port} }}\n");
        self.write("janus.transport.websockets.jcfg", &listen);
        let folder = self.folder.as_ref().expect("it was made");
        let mut janus = Command::new("janus");
        janus.arg("--configs-folder").arg(folder);
        self.spawn(janus, port);
        self
    }

    fn with_simple_whip(mut self, websocket: u16, port: u16) -> Self {
        let source = installed(SIMPLE_WHIP);
        for name in ["server.js", "whip-janus.js"] {
            let text = fs::read_to_string(source.join(name)).expect("the server should be installed");
            self.write(name, &text);
        }
        let address = format!("ws://127.0.0.1:{websocket}");
        let config = format!(
            "module.exports = {{ janus: {{ address: '{address}' }}, port: {port}, rest: '/whip', iceServers: [] }};\n"
        );
        self.write("config.js", &config);
        let mut node = Command::new("node");
        node.arg("server.js")
            .env("NODE_PATH", installed("node_modules"))
            .current_dir(self.folder.as_ref().expect("it was made"));
        self.spawn(node, port);
        self
    }

    fn write(&self, name: &str, text: &str) {
        let folder = self.folder.as_ref().expect("it was made");
        fs::write(folder.join(name), text).expect("the folder should be writable");
    }

    /// Waits until the process listens.
    fn spawn(&mut self, mut command: Command, port: u16) {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let name = command.get_program().to_string_lossy().into_owned();
        self.processes
            .push(child.unwrap_or_else(|error| panic!("{name}: {error}; tests/run installs it")));
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < TIMEOUT, "{name} does not listen");
            sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.processes.iter_mut().for_each(program::stop);
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// The servers take no port 0.
fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port should be free"));
    listeners.map(|listener| listener.local_addr().expect("it should be bound").port())
}

/// Posts JSON. Returns the status line and the rest.
fn post(port: u16, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server should listen");
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream
        .write_all((head + body).as_bytes())
        .expect("the server should read");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("the server should answer");
    response
}
