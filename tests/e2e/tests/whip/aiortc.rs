//! aiortc, whose offer goes astray in many ways. Each time, one session is made and media flows.

use std::process::Stdio;

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout},
    time::timeout,
};

use crate::{
    clients::python,
    server::{PATIENCE, WhipServer},
};

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
            .expect("python starts");
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        Self { child, lines }
    }

    async fn says(&mut self) -> Value {
        let line = timeout(PATIENCE, self.lines.next_line())
            .await
            .expect("in time")
            .expect("readable");
        serde_json::from_str(&line.expect("it says something, see its log")).expect("JSON")
    }
}

/// Publishes, and asserts that one session was made, which receives media until it is deleted. Gives the responses to
/// all the posts.
async fn publish(flags: &[&str], way: &str) -> (Value, Value) {
    let server = WhipServer::start(flags);
    let mut publisher = Publisher::start(&server, way);
    let responses = publisher.says().await;
    let stats = server.receives(&[("opus", 50), ("VP8", 25)]).await;
    assert_eq!(
        (&stats["created"], &stats["live"]),
        (&1.into(), &1.into()),
        "{way}: {stats:#}"
    );
    drop(publisher.child.stdin.take());
    assert_eq!(publisher.says().await, 200);
    let stats = server.stats().await;
    assert_eq!(
        (&stats["created"], &stats["ended"]["deleted"]),
        (&1.into(), &1.into()),
        "{way}: {stats:#}"
    );
    (responses, stats["offers"].clone())
}

/// Asserts that all responses are the same answer. How many were replayed?
fn replayed(responses: &Value) -> usize {
    let responses = responses.as_array().expect("a list");
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
async fn normal() {
    let (responses, offers) = publish(&[], "normal").await;
    assert_eq!((replayed(&responses), &offers["admitted"]), (0, &1.into()));
}

#[tokio::test]
async fn sent_twenty_times_at_once() {
    let (responses, offers) = publish(&["--answer-delay-ms", "300"], "twenty-at-once").await;
    assert_eq!(
        (replayed(&responses), responses.as_array().map(Vec::len)),
        (19, Some(20))
    );
    assert_eq!((&offers["admitted"], &offers["replayed"]), (&1.into(), &19.into()));
}

#[tokio::test]
async fn sent_again_when_answered() {
    let (responses, offers) = publish(&[], "again-when-answered").await;
    assert_eq!((replayed(&responses), &offers["replayed"]), (2, &2.into()));
}

#[tokio::test]
async fn sent_byte_by_byte() {
    let (responses, offers) = publish(&[], "byte-by-byte").await;
    assert_eq!((replayed(&responses), &offers["admitted"]), (0, &1.into()));
}

#[tokio::test]
async fn cut_in_the_body_and_sent_again() {
    let (responses, offers) = publish(&[], "cut-in-the-body").await;
    // What was cut has never been an offer.
    assert_eq!(
        (replayed(&responses), &offers["admitted"], &offers["replayed"]),
        (0, &1.into(), &0.into())
    );
}

#[tokio::test]
async fn cut_before_the_answer_and_sent_again() {
    let (responses, offers) = publish(&["--answer-delay-ms", "1500"], "cut-before-the-answer").await;
    assert_eq!(
        (replayed(&responses), &offers["admitted"], &offers["replayed"]),
        (2, &1.into(), &2.into())
    );
}

#[tokio::test]
async fn cut_before_the_answer_and_sent_again_when_it_was_made() {
    let (responses, offers) = publish(&["--answer-delay-ms", "1500"], "cut-and-answered-to-nobody").await;
    assert_eq!(
        (replayed(&responses), &offers["admitted"], &offers["replayed"]),
        (1, &1.into(), &1.into())
    );
}
