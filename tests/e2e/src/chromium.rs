//! Headless Chromium behind ChromeDriver. Both stop when the test ends, even if it panics.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::time::sleep;

/// Long enough for a slow machine. Conditions are polled, so a fast machine does not wait that long.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A running ChromeDriver.
#[derive(Debug)]
pub struct Chromium {
    driver: Child,
    url: String,
}

/// A browser with one page.
#[derive(Debug)]
pub struct Page {
    client: Client,
    _profile: Profile,
}

/// The user data directory of one browser. Dropping it ends the browser, then removes the directory.
#[derive(Debug)]
struct Profile(PathBuf);

impl Chromium {
    /// Starts ChromeDriver on any free port.
    pub async fn start() -> Self {
        // ChromeDriver takes a port that is free in one version of IP and exits if the other has it in use.
        (0..10)
            .find_map(|_| Self::try_start())
            .expect("chromedriver should start and print its port")
    }

    fn try_start() -> Option<Self> {
        let driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .spawn()
            .expect("chromedriver is missing; tests/run installs it (Debian: chromium, chromium-driver)");
        let url = String::new();
        let mut chromium = Self { driver, url };
        let stdout = chromium.driver.stdout.as_mut().expect("stdout is piped");
        let port = BufReader::new(stdout).lines().map_while(Result::ok).find_map(|line| {
            let (_, rest) = line.split_once("started successfully on port ")?;
            Some(rest.trim_end_matches('.').to_owned())
        })?;
        chromium.url = format!("http://127.0.0.1:{port}");
        Some(chromium)
    }

    /// Opens a page in a laptop-sized window.
    pub async fn page(&self) -> Page {
        self.page_with(json!({})).await
    }

    /// Opens a page on an emulated phone, which is narrower than any desktop window.
    pub async fn phone(&self) -> Page {
        let metrics = json!({ "width": 390, "height": 844, "pixelRatio": 2, "touch": true });
        self.page_with(json!({ "mobileEmulation": { "deviceMetrics": metrics } }))
            .await
    }

    async fn page_with(&self, mut options: Value) -> Page {
        let profile = Profile::new();
        options["args"] = json!([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            // Nothing in a test's network resolves the mDNS names that would hide local addresses.
            "--disable-features=WebRtcHideLocalIpsWithMdns",
            "--window-size=1366,768",
            format!("--user-data-dir={}", profile.0.display()),
        ]);
        let mut capabilities = fantoccini::wd::Capabilities::new();
        capabilities.insert("goog:chromeOptions".into(), options);
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&self.url)
            .await
            .expect("Chromium is missing; tests/run installs it (Debian: chromium, chromium-driver)");
        Page {
            client,
            _profile: profile,
        }
    }

    /// Closes the pages. A test that fails before this call ends its browsers on drop.
    pub async fn quit(self, pages: impl IntoIterator<Item = Page>) {
        for page in pages {
            page.client.close().await.expect("the browser should close");
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

impl Page {
    /// Opens a URL, and waits until the page has loaded.
    pub async fn goto(&self, url: &str) {
        self.client.goto(url).await.expect("the page should load");
    }

    /// Clicks an element, and waits for it first.
    pub async fn click(&self, test_id: &str) {
        let element = self
            .client
            .wait()
            .at_most(TIMEOUT)
            .for_element(Locator::Css(&selector(test_id)))
            .await;
        element
            .expect("the element should exist")
            .click()
            .await
            .expect("the element should be clickable");
    }

    /// Replaces the text of a field.
    pub async fn fill(&self, test_id: &str, text: &str) {
        let field = self
            .client
            .find(Locator::Css(&selector(test_id)))
            .await
            .expect("the element should exist");
        field.clear().await.expect("the field should be clearable");
        field.send_keys(text).await.expect("the field should be editable");
    }

    /// Selects an option of a list.
    pub async fn choose(&self, test_id: &str, value: &str) {
        let select = self
            .client
            .find(Locator::Css(&selector(test_id)))
            .await
            .expect("the element should exist");
        select.select_by_value(value).await.expect("the option should exist");
    }

    /// Evaluates a JavaScript expression.
    pub async fn value(&self, expression: &str) -> Value {
        let value = self.client.execute(&format!("return {expression}"), Vec::new()).await;
        value.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// Waits until a JavaScript expression is true.
    pub async fn until(&self, expression: &str) {
        let start = Instant::now();
        while self.value(&format!("!!({expression})")).await != true {
            if start.elapsed() > TIMEOUT {
                let page = "[window.__room, document.body.innerText]";
                panic!("timed out waiting for {expression}\n{:#}", self.value(page).await);
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Profile {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = env::temp_dir().join(format!("room-test-{}-{count}", process::id()));
        fs::create_dir(&directory).expect("the profile directory should be new");
        Self(directory)
    }

    /// Ids of the processes that use this profile, found by its path in their command lines.
    fn processes(&self) -> Vec<String> {
        let path = self.0.to_string_lossy();
        let Ok(all) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        all.flatten()
            .filter(|process| {
                let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line).contains(&*path)
            })
            .filter_map(|process| process.file_name().into_string().ok())
            .filter(|id| id.bytes().all(|byte| byte.is_ascii_digit()))
            .collect()
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(5) {
            let processes = self.processes();
            if !processes.is_empty() {
                let _ = Command::new("kill")
                    .arg("-KILL")
                    .args(processes)
                    .stderr(Stdio::null())
                    .status();
            } else if fs::remove_dir_all(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn selector(test_id: &str) -> String {
    format!("[data-testid={test_id}]")
}
