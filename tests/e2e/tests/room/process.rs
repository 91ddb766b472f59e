//! The process: flags, port, page and shutdown.

#[cfg(unix)]
use std::process::Command;
use std::process::Output;

use e2e::room_server::RoomServer;

use crate::client::{get, pair, sdp};

#[tokio::test]
async fn page_and_its_parts_are_served() {
    let server = RoomServer::start(&[]);
    let mut wanted = vec!["".to_owned(), "compare".to_owned()];
    let mut served = 0;
    while let Some(part) = wanted.get(served).cloned() {
        let response = get(&server, &format!("/{part}")).await;
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{part}: {response}");
        // Links, and imports of scripts.
        let parts = response.split(['"', '\'']).map(|part| part.trim_start_matches("./"));
        for part in parts.filter(|part| part.ends_with(".js") || part.ends_with(".css")) {
            if !wanted.iter().any(|known| known == part) {
                wanted.push(part.to_owned());
            }
        }
        served += 1;
    }
    assert!(served > 10, "{wanted:?}");
    assert!(get(&server, "/nothing").await.starts_with("HTTP/1.1 404"));
}

#[cfg(unix)]
#[tokio::test]
async fn signals_close_sockets_and_exit() {
    for signal in ["-INT", "-TERM"] {
        let mut server = RoomServer::start(&[]);
        let (mut alice, mut bob) = pair(&server).await;
        alice.offer("bob", &sdp(1)).await;
        bob.next().await;
        let sent = Command::new("kill")
            .args([signal, &server.child.id().to_string()])
            .status();
        assert!(sent.expect("kill should run").success());
        for client in [&mut alice, &mut bob] {
            assert_eq!(client.closed().await, (1001, "the server is shutting down".into()));
        }
        drop((alice, bob));
        let exit = server.child.wait().expect("the server should exit");
        assert_eq!(exit.code(), Some(0), "{signal}");
    }
}

#[test]
fn wrong_flags_fail_with_usage() {
    let wrong: &[(&[&str], &str)] = &[
        (&["--nonsense"], "unexpected argument '--nonsense' found"),
        (&["-x"], "unexpected argument '-x' found"),
        (&["3000"], "unexpected argument '3000' found"),
        (&["--listen"], "a value is required for '--listen <ADDRESS>'"),
        (
            &["--listen", "here"],
            "invalid value 'here' for '--listen <ADDRESS>': invalid socket address",
        ),
        (&["--repeat", "many"], "invalid value 'many' for '--repeat <N>'"),
        (
            &["--repeat", "101"],
            "invalid value '101' for '--repeat <N>': 101 is not in",
        ),
        (
            &["--window-ms=-1"],
            "invalid value '-1' for '--window-ms <MS>': not a whole number up to 3600000",
        ),
        (
            &["--cooldown-ms", "1.5"],
            "invalid value '1.5' for '--cooldown-ms <MS>': not a whole number up to 3600000",
        ),
        (
            &["--repeat-delay-ms", "500..50"],
            "not a whole number M up to 3600000, nor M..N with N the larger",
        ),
        (
            &["--repeat-delay-ms", "3600001"],
            "invalid value '3600001' for '--repeat-delay-ms <M..N>'",
        ),
        (&["--repeat-delay-ms", "1..3600001"], "invalid value '1..3600001'"),
        (&["--repeat-delay-ms", "..5"], "invalid value '..5'"),
        (&["--repeat-seed", "x"], "invalid value 'x' for '--repeat-seed <SEED>'"),
        (
            &["--newest-wins", "--queue"],
            "the argument '--newest-wins' cannot be used with '--queue'",
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
        assert!(stderr.contains("--help"), "{args:?}: {stderr}");
    }
}

#[test]
fn busy_port_fails_with_one_line() {
    let server = RoomServer::start(&[]);
    let (code, stdout, stderr) = run(&["--listen", &server.address]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    let error = format!("room: cannot listen on {}: Address already in use", server.address);
    assert!(stderr.starts_with(&error) && stderr.lines().count() == 1, "{stderr}");
}

#[test]
fn help_lists_every_flag() {
    let (code, stdout, stderr) = run(&["--help"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let flags = [
        "--listen",
        "--no-dedup",
        "--repeat",
        "--repeat-delay-ms",
        "--repeat-seed",
        "--lose-answers",
        "--queue",
        "--newest-wins",
        "--window-ms",
        "--cooldown-ms",
    ];
    for flag in flags
        .into_iter()
        .chain(["--answer-timeout-ms", "RUST_LOG=tower_offer_dedup=debug"])
    {
        assert!(stdout.contains(flag), "{flag}");
    }
}

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = RoomServer::command()
        .args(args)
        .output()
        .expect("the server should run");
    let text = |bytes| String::from_utf8(bytes).expect("the output should be UTF-8");
    (status.code(), text(stdout), text(stderr))
}
