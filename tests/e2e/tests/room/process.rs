//! The process: flags, port, page and shutdown.

use std::process::{Command, Output};

use e2e::room_server::RoomServer;

use crate::client::{get, pair, sdp};

#[tokio::test]
async fn page_and_its_parts_are_served() {
    let server = RoomServer::start(&[]);
    let page = get(&server, "/").await;
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    let parts = page
        .split(['"', '\''])
        .filter(|part| part.ends_with(".js") || part.ends_with(".css"));
    for part in parts.chain(["chart.js", "mesh.js", "signaling.js", "view.js"]) {
        let response = get(&server, &format!("/{part}")).await;
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{part}: {response}");
    }
    assert!(get(&server, "/nothing").await.starts_with("HTTP/1.1 404"));
}

#[cfg(unix)]
#[tokio::test]
async fn interrupt_closes_sockets_and_exits() {
    let mut server = RoomServer::start(&[]);
    let (mut alice, mut bob) = pair(&server).await;
    alice.offer("bob", &sdp(1)).await;
    bob.next().await;
    let interrupt = Command::new("kill")
        .args(["-INT", &server.child.id().to_string()])
        .status();
    assert!(interrupt.expect("kill should run").success());
    for client in [&mut alice, &mut bob] {
        assert_eq!(client.closed().await, (1001, "the server is shutting down".into()));
    }
    drop((alice, bob));
    assert_eq!(server.child.wait().expect("the server should exit").code(), Some(0));
}

#[test]
fn wrong_flags_fail_with_one_line() {
    let wrong: &[(&[&str], &str)] = &[
        (&["--nonsense"], "invalid option '--nonsense'"),
        (&["-x"], "invalid option '-x'"),
        (&["3000"], "unexpected argument \"3000\""),
        (&["--listen"], "missing argument for option '--listen'"),
        (
            &["--listen", "here"],
            "--listen takes ADDRESS:PORT such as 127.0.0.1:3000, not \"here\"",
        ),
        (
            &["--repeat", "many"],
            "--repeat takes a whole number up to 100, not \"many\"",
        ),
        (
            &["--repeat", "101"],
            "--repeat takes a whole number up to 100, not \"101\"",
        ),
        (
            &["--window-ms", "-1"],
            "--window-ms takes a whole number up to 3600000, not \"-1\"",
        ),
        (
            &["--cooldown-ms", "1.5"],
            "--cooldown-ms takes a whole number up to 3600000, not \"1.5\"",
        ),
        (
            &["--repeat-delay-ms", "500..50"],
            "--repeat-delay-ms takes a whole number M up to 3600000, or M..N with N the larger, not \"500..50\"",
        ),
        (&["--repeat-delay-ms", "3600001"], "not \"3600001\""),
        (&["--repeat-delay-ms", "1..3600001"], "not \"1..3600001\""),
        (&["--repeat-delay-ms", "..5"], "not \"..5\""),
        (
            &["--repeat-seed", "x"],
            "--repeat-seed takes a whole number up to 4294967295, not \"x\"",
        ),
        (&["--no-dedup=1"], "unexpected argument for option '--no-dedup'"),
    ];
    for (args, error) in wrong {
        let (code, stdout, stderr) = run(args);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{args:?}");
        assert!(stderr.contains(error), "{args:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
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
