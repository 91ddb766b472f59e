//! A server that cannot be probed gives an error with a reason. No response makes the probe panic.

use axum::{
    Router,
    http::{StatusCode, header},
    routing::post,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::run::run;

#[tokio::test]
async fn wrong_options_exit_with_2() {
    let rows: &[(&[&str], &str)] = &[
        (&[], "required"),
        (&["somewhere"], "invalid value"),
        (&["ftp://127.0.0.1/"], "http:// or https://"),
        (&["ws://127.0.0.1/"], "or --ws"),
        (&["http://127.0.0.1/", "--ws"], "ws:// or wss://"),
        (&["http://127.0.0.1/", "--json={}"], "it has no $sdp"),
        (&["http://127.0.0.1/", "--bearer", "a b"], "no blanks"),
        (
            &["http://127.0.0.1/", "--bearer", "a", "--other-bearer", "a"],
            "are the same",
        ),
        (&["http://127.0.0.1/", "--answer", "sdp"], "JSON pointer"),
        (&["http://127.0.0.1/", "--timeout", "0"], "not in 1..=600"),
        (&["http://127.0.0.1/", "--only", "all"], "at-once"),
        (&["http://127.0.0.1/", "--hello", "{}"], "--ws"),
    ];
    for (args, error) in rows {
        let ended = run(args).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{args:?}");
        assert!(ended.stderr.contains(error), "{args:?}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn unusable_servers_exit_with_2() {
    let answering = |status: u16| async move {
        let status = StatusCode::from_u16(status).expect("it should be a status");
        let router = Router::new().route(
            "/whip",
            post(move || async move { (status, [(header::LOCATION, "/")]) }),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port should be free");
        let address = listener.local_addr().expect("it should be bound");
        tokio::spawn(async { axum::serve(listener, router).await });
        address
    };
    for (status, advice) in [
        (401, "--bearer"),
        (403, "--bearer"),
        (404, "path"),
        (405, "path"),
        (415, "--json"),
        (307, "redirects"),
    ] {
        let url = format!("http://{}/whip?key=secret", answering(status).await);
        let ended = run(&[&url, "--bearer", "secret"]).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{status}");
        assert!(ended.stderr.contains(&format!("probe: {status}: ")), "{}", ended.stderr);
        assert!(
            ended.stderr.contains(advice) && !ended.stderr.contains("secret"),
            "{}",
            ended.stderr
        );
    }

    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port should be free");
    let address = free.local_addr().expect("it should be bound");
    drop(free);
    let ended = run(&[&format!("http://{address}/")]).await;
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("cannot connect: Connection refused"),
        "{}",
        ended.stderr
    );

    let url = format!("https://{}/whip", answering(201).await);
    let ended = run(&[&url]).await;
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("TLS failed"), "{}", ended.stderr);
}

#[tokio::test]
async fn strange_responses_fail_without_panic() {
    let big = format!("HTTP/1.1 201 Created\r\n\r\n{}", "x".repeat(1024 * 1024));
    let long = format!("HTTP/1.1 201 Created\r\nX: {}\r\n\r\n", "x".repeat(1024 * 1024));
    let rows = [
        ("", "connection closed"),
        ("hello\r\n\r\n", "invalid response"),
        (
            "HTTP/1.1 201 Created\r\nContent-Length: 10\r\n\r\nv=0",
            "connection closed",
        ),
        (
            "HTTP/1.1 201 Created\r\nContent-Length: 3\r\nLocation: http://[\r\n\r\n\u{fffd}",
            "no SDP answer",
        ),
        (
            "HTTP/1.1 201 Created\r\nContent-Length: 0\r\nLocation: mailto:a\r\n\r\n",
            "no SDP answer",
        ),
        ("HTTP/1.1 599 \r\nContent-Length: 0\r\n\r\n", "refused with 599"),
        (&big, "response too large"),
        (&long, "message head is too large"),
    ];
    for (response, why) in rows {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port should be free");
        let address = listener.local_addr().expect("it should be bound");
        let response = response.to_owned();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let response = response.clone();
                tokio::spawn(async move {
                    let mut request = vec![0; 64 * 1024];
                    let _ = stream.read(&mut request).await;
                    let _ = stream.write_all(response.as_bytes()).await;
                });
            }
        });
        let ended = run(&[&format!("http://{address}/"), "--report", "json", "--timeout", "5"]).await;
        assert_eq!(ended.code, Some(1), "{why}: {}", ended.stderr);
        let one = ended.check("one");
        assert_eq!(one["verdict"], "fail");
        assert!(
            one["why"].as_str().is_some_and(|text| text.contains(why)),
            "{why}: {one:#}"
        );
    }
}
