//! The README's recipe for two nodes, run as it is written there, but for ports, paths and the build.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use e2e::{
    http::Message,
    program,
    redis::Folder,
    whip_server::{OFFER, TIMEOUT},
};
use tokio::time::sleep;

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The blocks of code in the README's section on many nodes.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let readme = include_str!("../../../../README.md");
    let (_, section) = readme
        .split_once("\n## Many nodes\n")
        .expect("the section should exist");
    let section = section.split("\n## ").next().unwrap_or_default();
    let blocks = section.split("```").skip(1).step_by(2);
    blocks
        .map(|block| block.split_once('\n').expect("a block should have lines"))
        .collect()
}

/// The differences from a reader's machine: ports that are free here, and the places of files.
struct Place {
    folder: Folder,
    ports: [(&'static str, String); 4],
}

impl Place {
    fn new() -> Self {
        let listeners = [(); 4].map(|()| std::net::TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let free = listeners.map(|listener| listener.local_addr().expect("it is bound").port().to_string());
        let mut free = free.into_iter();
        let ports = ["7379", "8080", "8081", "8082"].map(|port| (port, free.next().expect("as many")));
        Self {
            folder: Folder::new(),
            ports,
        }
    }

    fn balancer(&self) -> String {
        format!("127.0.0.1:{}", self.ports[1].1)
    }

    fn adapt(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (written, free) in &self.ports {
            assert!(!free.contains(written));
            text = text.replace(&format!(":{written}"), &format!(":{free}"));
            text = text.replace(&format!("--port {written}"), &format!("--port {free}"));
        }
        text
    }

    fn file(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        path.to_str().expect("the path should be text").to_owned()
    }
}

/// A shell with the programs that it has started. All are killed on drop.
struct Shell(Child);

impl Shell {
    fn start(script: &str) -> Self {
        let mut command = Command::new("bash");
        command.args(["-euc", script]).current_dir(REPOSITORY);
        command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
        Self(command.spawn().expect("bash should start"))
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.0.wait();
    }
}

async fn until_up(address: &str) {
    let start = Instant::now();
    loop {
        let request = Message::request("GET", "/stats", &[], "");
        if request
            .exchange(address)
            .await
            .is_ok_and(|answer| answer.status() == 200)
        {
            return;
        }
        assert!(start.elapsed() < TIMEOUT, "{address} should answer");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn readme_recipe_works_as_written() {
    let [("haproxy", config), ("sh", start), ("sh", send)] = blocks()[..] else {
        panic!("unexpected blocks: {:#?}", blocks());
    };
    assert!(config.lines().count() <= 12, "the recipe should stay short");
    let place = Place::new();
    fs::write(place.file("haproxy.cfg"), place.adapt(config)).expect("the file should be writable");

    let whip = program::command("whip").get_program().to_owned();
    let whip = whip.to_str().expect("the path should be text");
    // Packages come from `tests/run`, and the program from `program::command`.
    let (installs, start) = start
        .split_once("export")
        .expect("the secret should be set after the build");
    let installs: Vec<_> = installs.lines().collect();
    assert_eq!(
        installs,
        [
            "sudo apt-get install curl haproxy openssl redis-server",
            "cargo build --release -p whip"
        ]
    );
    let start = place
        .adapt(&format!("export{start}"))
        .replace("target/release/whip", whip)
        .replace("haproxy.cfg", &place.file("haproxy.cfg"))
        .replace("redis-server ", &format!("redis-server --dir {} ", place.file("")));
    // An interactive shell goes on; this one would end.
    let nodes = place.file("nodes");
    let _shell = Shell::start(&format!("{start}\njobs -p > {nodes}\nwait"));
    for node in 2..4 {
        until_up(&format!("127.0.0.1:{}", place.ports[node].1)).await;
    }
    until_up(&place.balancer()).await;

    let output = Command::new("bash")
        .args(["-euc", &place.adapt(send)])
        .current_dir(REPOSITORY)
        .output()
        .expect("bash should start");
    let output = String::from_utf8_lossy(&output.stdout).to_lowercase();
    let found: Vec<_> = output.lines().map(str::trim).collect();
    let locations: Vec<_> = found.iter().filter(|line| line.starts_with("location: ")).collect();
    assert_eq!(locations.len(), 4, "{output}");
    assert!(locations.iter().all(|location| *location == locations[0]), "{output}");
    let replayed = found.iter().filter(|line| **line == "offer-replayed: true").count();
    assert_eq!((replayed, found.len()), (3, 7), "{output}");

    // The session's own URL reaches its node, whichever that is.
    let location = locations[0].trim_start_matches("location: ");
    let end = Message::request("DELETE", location, &[], "");
    assert_eq!(end.exchange(&place.balancer()).await.expect("an answer").status(), 200);

    // Without one node, the other one takes all offers.
    let jobs = fs::read_to_string(Path::new(&nodes)).expect("the file should be written");
    let node = jobs.lines().nth(1).expect("the first node should be the second job");
    assert!(
        Command::new("kill")
            .args(["-KILL", node])
            .status()
            .expect("kill")
            .success()
    );
    for n in 0..4 {
        let path = format!("/whip/other-{n}");
        let post = Message::request("POST", &path, &[("Content-Type", "application/sdp")], OFFER);
        assert_eq!(post.exchange(&place.balancer()).await.expect("an answer").status(), 201);
    }
}
