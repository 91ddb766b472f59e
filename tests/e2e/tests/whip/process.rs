//! The process: flags, port, page and shutdown.

use std::{
    fs,
    process::{Command, Output},
};

use e2e::{
    http::Message,
    redis::Folder,
    whip_server::{OFFER, WhipServer},
};
use tokio::{io::AsyncWriteExt, net::TcpStream};

#[test]
fn wrong_flags_fail_with_usage() {
    let wrong: &[(&[&str], &str)] = &[
        (&["--nonsense"], "unexpected argument '--nonsense' found"),
        (&["8080"], "unexpected argument '8080' found"),
        (&["--listen"], "a value is required for '--listen <ADDRESS>'"),
        (
            &["--listen", "here"],
            "invalid value 'here' for '--listen <ADDRESS>': invalid socket address",
        ),
        (
            &["--media-ip", "here"],
            "invalid value 'here' for '--media-ip <IP>': not an IP address",
        ),
        (&["--media-ip", "0.0.0.0"], "not an address that publishers can send to"),
        (&["--token", ""], "a value is required for '--token <TOKEN>'"),
        (
            &["--answer-delay-ms", "60001"],
            "invalid value '60001' for '--answer-delay-ms <MS>': not a whole number up to 60000",
        ),
        (
            &["--node", "a-b"],
            "invalid value 'a-b' for '--node <NAME>': not letters and digits",
        ),
        (
            &["--redis", "localhost"],
            "not a URL with redis://, rediss:// or unix://",
        ),
        (&["--on-store-error", "closed"], "arguments were not provided:"),
        (
            &["--redis", "redis://localhost", "--on-store-error", "ajar"],
            "invalid value 'ajar' for '--on-store-error <MODE>'",
        ),
        (&["--no-dedup=1"], "unexpected value '1' for '--no-dedup' found"),
    ];
    for (args, error) in wrong {
        let (code, stdout, stderr) = run(args);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{args:?}");
        let first = stderr.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("error: ") && first.contains(error),
            "{args:?}: {stderr}"
        );
    }
}

#[test]
fn unusable_address_fails_with_one_line() {
    let server = WhipServer::start(&[]);
    let busy = run(&["--listen", &server.address]);
    let error = format!("whip: cannot listen on {}: Address already in use", server.address);
    assert_fails(&busy, &error);
    let foreign = run(&["--listen", "127.0.0.1:0", "--media-ip", "192.0.2.1"]);
    assert_fails(
        &foreign,
        "whip: cannot receive media on 192.0.2.1: Cannot assign requested address",
    );
}

fn assert_fails((code, stdout, stderr): &(Option<i32>, String, String), error: &str) {
    assert_eq!((*code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.starts_with(error) && stderr.lines().count() == 1, "{stderr}");
}

#[test]
fn unusable_store_fails_with_one_line() {
    let folder = Folder::new();
    let file = folder.path().join("secret");
    fs::write(&file, "short").expect("the file should be writable");
    let file = file.to_str().expect("the path should be text");
    // Nothing listens on port 1.
    let url = "redis://user:s3cret@127.0.0.1:1/";
    let at = "whip: cannot use the store at";
    for (url, flags, error) in [
        (url, [].as_slice(), format!("{at} 127.0.0.1:1/: ")),
        (
            "redis://192.0.2.1/",
            &[],
            format!("{at} 192.0.2.1/: the nodes' secret is missing: set OFFER_DEDUP_SECRET or --secret-file"),
        ),
        (
            url,
            &["--secret-file", "/none"],
            format!("{at} 127.0.0.1:1/: /none: No such file"),
        ),
        (
            url,
            &["--secret-file", file],
            format!("{at} 127.0.0.1:1/: {file}: the secret is shorter than 16 bytes"),
        ),
    ] {
        let failed = run(&[&["--listen", "127.0.0.1:0", "--redis", url], flags].concat());
        let (_, _, stderr) = &failed;
        assert!(!stderr.contains("s3cret") && !stderr.contains("short\n"), "{stderr}");
        // The log may come first.
        let last = stderr.lines().last().unwrap_or_default().to_owned() + "\n";
        assert_fails(&(failed.0, failed.1, last), &error);
    }
}

#[test]
fn help_lists_every_flag() {
    let (code, stdout, stderr) = run(&["--help"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for flag in [
        "--listen",
        "--media-ip",
        "--token",
        "--no-dedup",
        "--ignore-host",
        "--node",
        "--redis",
        "--secret-file",
        "OFFER_DEDUP_SECRET",
        "--on-store-error",
        "--answer-delay-ms",
        "RUST_LOG",
    ] {
        assert!(stdout.contains(flag), "{flag}");
    }
}

#[tokio::test]
async fn page_and_metrics_are_served() {
    let server = WhipServer::start(&[]);
    for path in ["/", "/publish", "/watch"] {
        let page = server.request("GET", path, &[], "").await;
        assert_eq!(
            (page.status(), page.field("content-type")),
            (200, Some("text/html; charset=utf-8"))
        );
        let parts = page.text().split('"');
        let mut parts: Vec<_> = parts
            .filter(|part| part.ends_with(".js") || part.ends_with(".css"))
            .collect();
        assert!(parts.len() >= 3, "{path}: {parts:?}");
        parts.push("client.js");
        for part in parts {
            let part = server.request("GET", &format!("/{part}"), &[], "").await;
            assert_eq!(part.status(), 200, "{path}: {part:?}");
            for outside in ["src=\"http", "href=\"http", "url(", "@import"] {
                assert!(
                    !part.text().contains(outside),
                    "{path} loads an external resource: {outside}"
                );
            }
        }
        let policy = page.field("content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("default-src 'self';"), "{path}: {policy}");
    }

    for _ in 0..3 {
        assert_eq!(server.publish("/whip/stage", OFFER).await.status(), 201);
    }
    let metrics = server.request("GET", "/metrics", &[], "").await;
    for line in [
        "# TYPE whip_sessions_created_total counter",
        "whip_sessions_created_total 1",
        "whip_sessions{state=\"connecting\"} 1",
        "whip_sessions_ended_total{reason=\"deleted\"} 0",
        "whip_received_packets_total 0",
        "whip_sent_packets_total 0",
        "# HELP offer_dedup_claims Claims held now, those of detached tasks and forgotten ones included.",
        "offer_dedup_claims{layer=\"whep\"} 0",
        "offer_dedup_claims{layer=\"whip\"} 0",
        "offer_dedup_offers_total{layer=\"whip\",outcome=\"admitted\"} 1",
        "offer_dedup_offers_total{layer=\"whip\",outcome=\"replayed\"} 2",
    ] {
        assert!(
            metrics.text().lines().any(|found| found == line),
            "{line}\n{}",
            metrics.text()
        );
    }
}

#[cfg(unix)]
#[tokio::test]
async fn interrupt_ends_sessions_and_answers_requests() {
    drains_at("-INT").await;
}

#[cfg(unix)]
#[tokio::test]
async fn termination_ends_sessions_and_answers_requests() {
    drains_at("-TERM").await;
}

#[cfg(unix)]
async fn drains_at(signal: &str) {
    let mut server = WhipServer::start(&["--answer-delay-ms", "500"]);
    let address = server.address.clone();
    let mut slow = TcpStream::connect(&address).await.expect("the server should listen");
    slow.write_all(b"POST /whip/slow HTTP/1.1\r\n")
        .await
        .expect("the server should read");
    let request = Message::request("POST", "/whip/stage", &[("Content-Type", "application/sdp")], OFFER);
    let posted = tokio::spawn(async move { request.exchange(&address).await });
    server
        .until("an offer in process", |stats| stats["held"]["claims"] == 1)
        .await;
    let id = server.child.id().to_string();
    let sent = Command::new("kill").args([signal, &id]).status();
    assert!(sent.expect("kill should run").success());
    let answer = posted
        .await
        .expect("the request should not panic")
        .expect("an answer should come");
    assert_eq!(answer.status(), 201);
    assert_eq!(server.child.wait().expect("the server should exit").code(), Some(0));
}

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = WhipServer::command()
        .args(args)
        .output()
        .expect("the server should run");
    let text = |bytes| String::from_utf8(bytes).expect("the output should be UTF-8");
    (status.code(), text(stdout), text(stderr))
}
