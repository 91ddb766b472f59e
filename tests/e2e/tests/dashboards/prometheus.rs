//! A Prometheus that scrapes servers every second, with the rules of `dashboards/`.

use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use e2e::{program, whip_server::TIMEOUT};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

/// Stopped on drop.
pub(crate) struct Prometheus {
    child: Child,
    address: String,
}

impl Prometheus {
    /// Starts it for targets of a name and an address, and waits until it is ready.
    pub(crate) async fn start(targets: &[(&str, &str)], rules: &Path) -> Self {
        let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prometheus");
        let _ = fs::remove_dir_all(&data);
        fs::create_dir_all(&data).expect("the folder should be writable");
        let rules = rules.canonicalize().expect("the rules should exist");
        let config = data.join("prometheus.yml");
        let jobs: String = targets
            .iter()
            .map(|(name, address)| {
                format!("  - job_name: {name}\n    static_configs: [{{ targets: ['{address}'] }}]\n")
            })
            .collect();
        let text = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
             rule_files: ['{0}/recording.yml', '{0}/alerts.yml']\n\
             scrape_configs:\n{jobs}",
            rules.display()
        );
        fs::write(&config, text).expect("the folder should be writable");

        let address = free_address();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error")
            .stdout(Stdio::null())
            .spawn()
            .expect("Prometheus should start: tests/run installs it");
        let mut prometheus = Self { child, address };
        let start = Instant::now();
        while prometheus.get("/-/ready").await.is_none() {
            let ended = prometheus.child.try_wait().expect("the process should be known");
            assert!(ended.is_none(), "Prometheus has ended: {ended:?}");
            assert!(start.elapsed() < TIMEOUT, "Prometheus is not ready");
            sleep(Duration::from_millis(100)).await;
        }
        prometheus
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the expressions of the rules: what is recorded, how, and the alerts' without their comparison.
    pub(crate) async fn rule_expressions(&self) -> BTreeSet<String> {
        let mut expressions = BTreeSet::new();
        for rule in self.rules().await {
            let query = rule["query"].as_str().expect("a rule should have an expression");
            if rule["type"] == "alerting" {
                let (selector, threshold) = query.rsplit_once(" > ").expect("an alert should compare");
                assert!(threshold.parse::<f64>().is_ok() && !selector.contains(" > "), "{query}");
                expressions.insert(selector.to_owned());
            } else {
                let name = rule["name"].as_str().expect("a rule should have a name");
                expressions.extend([query.to_owned(), name.to_owned()]);
            }
        }
        expressions
    }

    pub(crate) async fn assert_rules_are_healthy(&self) {
        for rule in self.rules().await {
            assert_eq!(rule["health"], "ok", "{rule:#}");
        }
    }

    async fn rules(&self) -> Vec<Value> {
        let data = self.api("/api/v1/rules").await;
        let groups = data["groups"].as_array().expect("groups should be a list");
        let rules = groups.iter().filter_map(|group| group["rules"].as_array());
        rules.flatten().cloned().collect()
    }

    /// Returns the values that an expression has now, those that are no number left out.
    pub(crate) async fn values(&self, expression: &str) -> Vec<f64> {
        let query: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let data = self.api(&format!("/api/v1/query?query={query}")).await;
        let result = data["result"].as_array().expect("the result should be a list");
        let values = result.iter().filter_map(|one| one["value"][1].as_str()?.parse().ok());
        values.filter(|value: &f64| !value.is_nan()).collect()
    }

    async fn api(&self, path: &str) -> Value {
        let body = self.get(path).await.unwrap_or_else(|| panic!("no answer to {path}"));
        let mut answer: Value = serde_json::from_str(&body).expect("the answer should be JSON");
        assert_eq!(answer["status"], "success", "{answer:#}");
        answer["data"].take()
    }

    /// Returns the body of an answer with status 200.
    async fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(&self.address).await.ok()?;
        // HTTP/1.0: the answer comes in one piece and ends with the connection.
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut response = String::new();
        stream.read_to_string(&mut response).await.ok()?;
        let (head, body) = response.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?;
        (status == "200").then(|| body.to_owned())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        program::stop(&mut self.child);
    }
}

/// Prometheus does not say which port it has chosen, so this chooses one for it.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port should be free");
    let address = listener.local_addr().expect("the socket is bound");
    address.to_string()
}
