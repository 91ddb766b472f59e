//! aiortc, whose offers get lost or repeated in many ways. Each time, one session is made and media flows.

use std::process::Stdio;

use e2e::whip_server::{TIMEOUT, WhipServer};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout},
    time::timeout,
};

use crate::clients::python;

struct Publisher {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Publisher {
    fn start(server: &WhipServer, way: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/whip/aiortc_publisher.py");
        let url = format!("http://{}/whip/aiortc", server.address);
        let mut child = python()
            .args([script, way, &url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python should start");
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        Self { child, lines }
    }

    async fn read_line(&mut self) -> Value {
        let line = timeout(TIMEOUT, self.lines.next_line())
            .await
            .expect("the publisher should print in time")
            .expect("the publisher's output should be readable");
        serde_json::from_str(&line.expect("the publisher ended early, see its log")).expect("the output should be JSON")
    }
}

/// Publishes, and asserts that one session is made and receives media until it is deleted. Returns the responses to all
/// posts, and the counters of offers.
async fn publish(flags: &[&str], way: &str) -> (Value, Value) {
    let server = WhipServer::start(flags);
    let mut publisher = Publisher::start(&server, way);
    let responses = publisher.read_line().await;
    let stats = server.receives(&[("opus", 50), ("VP8", 25)]).await;
    assert_eq!(
        (&stats["created"], &stats["live"]),
        (&1.into(), &1.into()),
        "{way}: {stats:#}"
    );
    drop(publisher.child.stdin.take());
    assert_eq!(publisher.read_line().await, 200);
    let stats = server.stats().await;
    assert_eq!(
        (&stats["created"], &stats["ended"]["deleted"]),
        (&1.into(), &1.into()),
        "{way}: {stats:#}"
    );
    (responses, stats["offers"].clone())
}

/// Asserts that all responses carry the same answer. Returns how many were replayed.
fn replayed(responses: &Value) -> usize {
    let responses = responses.as_array().expect("the responses should be a list");
    let first = &responses[0];
    for response in responses {
        assert_eq!(response["status"], 201, "{response:#}");
        assert_eq!(response["body"], first["body"]);
        for field in ["location", "etag", "content-type", "content-length"] {
            assert!(
                response["fields"][field].is_string(),
                "{field} is missing: {response:#}"
            );
            assert_eq!(response["fields"][field], first["fields"][field]);
        }
    }
    responses
        .iter()
        .filter(|response| response["fields"]["offer-replayed"] == "true")
        .count()
}

#[tokio::test]
async fn single_offer_is_admitted() {
    let (responses, offers) = publish(&[], "normal").await;
    assert_eq!((replayed(&responses), &offers["admitted"]), (0, &1.into()));
}

#[tokio::test]
async fn twenty_equal_offers_share_one_answer() {
    let (responses, offers) = publish(&["--answer-delay-ms", "300"], "twenty-at-once").await;
    assert_eq!(
        (replayed(&responses), responses.as_array().map(Vec::len)),
        (19, Some(20))
    );
    assert_eq!((&offers["admitted"], &offers["replayed"]), (&1.into(), &19.into()));
}

#[tokio::test]
async fn offer_repeated_after_answer_is_replayed() {
    let (responses, offers) = publish(&[], "again-when-answered").await;
    assert_eq!((replayed(&responses), &offers["replayed"]), (2, &2.into()));
}

#[tokio::test]
async fn offer_sent_byte_by_byte_works() {
    let (responses, offers) = publish(&[], "byte-by-byte").await;
    assert_eq!((replayed(&responses), &offers["admitted"]), (0, &1.into()));
}

#[tokio::test]
async fn offer_cut_in_body_is_retried() {
    let (responses, offers) = publish(&[], "cut-in-the-body").await;
    // The part that was sent before the cut never became an offer.
    assert_eq!(
        (replayed(&responses), &offers["admitted"], &offers["replayed"]),
        (0, &1.into(), &0.into())
    );
}

#[tokio::test]
async fn retry_while_answering_is_replayed() {
    let (responses, offers) = publish(&["--answer-delay-ms", "1500"], "cut-before-the-answer").await;
    assert_eq!(
        (replayed(&responses), &offers["admitted"], &offers["replayed"]),
        (2, &1.into(), &2.into())
    );
}

#[tokio::test]
async fn retry_after_unsent_answer_is_replayed() {
    let (responses, offers) = publish(&["--answer-delay-ms", "1500"], "cut-and-answered-to-nobody").await;
    assert_eq!(
        (replayed(&responses), &offers["admitted"], &offers["replayed"]),
        (1, &1.into(), &1.into())
    );
}
