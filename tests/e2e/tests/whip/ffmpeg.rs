//! FFmpeg's WHIP muxer. It sends its offer once, gives up without an answer, and takes the first answer it gets.

use e2e::{
    http::Message,
    whip_server::{TIMEOUT, WhipServer, packets},
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    time::timeout,
};

use crate::{
    clients::{endless_ffmpeg, ffmpeg, lossy},
    proxy::{Fault, Proxy},
};

/// Publishes through FFmpeg for three seconds.
async fn publish(address: &str) {
    let output = ffmpeg(&format!("http://{address}/whip/ffmpeg"), &[]).await;
    assert!(output.status.success(), "{}", lossy(&output.stderr));
}

/// Asserts that the session received FFmpeg's media, and that FFmpeg ended it.
fn assert_published(session: &Value) {
    assert_eq!(
        (&session["state"], &session["end"]),
        (&"ended".into(), &"deleted".into()),
        "{session:#}"
    );
    // 3 s are 150 Opus packets and 45 pictures, some of several packets. The first ones may be lost.
    assert!(packets(session, "opus") > 75, "{session:#}");
    assert!(packets(session, "H264") > 22, "{session:#}");
}

#[tokio::test]
async fn ffmpeg_publishes() {
    let server = WhipServer::start(&[]);
    publish(&server.address).await;
    let stats = server.stats().await;
    assert_eq!((&stats["created"], &stats["live"]), (&1.into(), &0.into()), "{stats:#}");
    assert_eq!(
        (&stats["offers"]["admitted"], &stats["offers"]["forgotten"]),
        (&1.into(), &1.into()),
        "{stats:#}"
    );
    assert_published(&stats["sessions"][0]);
}

#[tokio::test]
async fn ffmpeg_needs_the_right_token() {
    let server = WhipServer::start(&["--token", "sesame"]);
    let url = format!("http://{}/whip/ffmpeg", server.address);
    for (flags, is_allowed) in [
        (&[][..], false),
        (&["-authorization", "simsim"], false),
        (&["-authorization", "sesame"], true),
    ] {
        let output = ffmpeg(&url, flags).await;
        assert_eq!(
            output.status.success(),
            is_allowed,
            "{flags:?}: {}",
            lossy(&output.stderr)
        );
    }
    let stats = server.stats().await;
    assert_eq!(stats["created"], 1);
    assert_published(&stats["sessions"][0]);
}

#[tokio::test]
async fn proxy_retry_gets_the_lost_answer() {
    let server = WhipServer::start(&[]);
    let proxy = Proxy::start(&server.address, Fault::Retries).await;
    publish(&proxy.address).await;
    let posts = proxy.exchanges("POST");
    let [lost, given] = posts.as_slice() else {
        panic!("{posts:#?}")
    };
    assert_same_answer(&lost.response, &given.response);
    let stats = server.stats().await;
    assert_eq!(
        (&stats["created"], &stats["offers"]["replayed"]),
        (&1.into(), &1.into()),
        "{stats:#}"
    );
    assert_published(&stats["sessions"][0]);
}

#[tokio::test]
async fn proxy_retry_without_layer_leaves_session() {
    let server = WhipServer::start(&["--no-dedup"]);
    let proxy = Proxy::start(&server.address, Fault::Retries).await;
    publish(&proxy.address).await;
    let stats = server.stats().await;
    assert_eq!((&stats["created"], &stats["live"]), (&2.into(), &1.into()), "{stats:#}");
    let [abandoned, used] = [&stats["sessions"][0], &stats["sessions"][1]];
    assert_eq!(
        (&abandoned["state"], &abandoned["packets"]),
        (&"connecting".into(), &0.into()),
        "{stats:#}"
    );
    assert_published(used);
}

#[tokio::test]
async fn doubled_post_makes_one_session() {
    let server = WhipServer::start(&["--answer-delay-ms", "200"]);
    let proxy = Proxy::start(&server.address, Fault::SendsTwice).await;
    publish(&proxy.address).await;
    let posts = proxy.exchanges("POST");
    let [one, other] = posts.as_slice() else {
        panic!("{posts:#?}")
    };
    let [first, again] = if one.response.field("offer-replayed").is_none() {
        [one, other]
    } else {
        [other, one]
    };
    assert_same_answer(&first.response, &again.response);
    let stats = server.stats().await;
    assert_eq!(
        (&stats["created"], &stats["offers"]["replayed"]),
        (&1.into(), &1.into()),
        "{stats:#}"
    );
    assert_published(&stats["sessions"][0]);
}

#[tokio::test]
async fn doubled_post_without_layer_makes_two() {
    let server = WhipServer::start(&["--no-dedup"]);
    let proxy = Proxy::start(&server.address, Fault::SendsTwice).await;
    publish(&proxy.address).await;
    assert_eq!(server.stats().await["created"], 2);
}

/// FFmpeg does not repeat its offer. A client that repeats it gets the lost answer, and no second session.
#[tokio::test]
async fn lost_answer_is_kept_for_retries() {
    let server = WhipServer::start(&[]);
    let proxy = Proxy::start(&server.address, Fault::LosesFirstAnswer).await;
    let url = format!("http://{}/whip/ffmpeg", proxy.address);
    let mut ffmpeg = endless_ffmpeg(&url, &[]).await.spawn().expect("FFmpeg should start");
    let mut log = BufReader::new(ffmpeg.stderr.take().expect("stderr is piped")).lines();
    let gives_up = async {
        // FFmpeg stays alive after it has given up.
        while !log
            .next_line()
            .await
            .expect("the log should be UTF-8")
            .expect("FFmpeg should give up")
            .contains("Failed to request url")
        {}
    };
    timeout(TIMEOUT, gives_up).await.expect("FFmpeg should give up in time");

    let posts = proxy.exchanges("POST");
    let [lost] = posts.as_slice() else { panic!("{posts:#?}") };
    let given = lost
        .request
        .exchange(&server.address)
        .await
        .expect("the endpoint should answer");
    assert_same_answer(&lost.response, &given);
    let stats = server.stats().await;
    assert_eq!((&stats["created"], &stats["live"]), (&1.into(), &1.into()), "{stats:#}");
}

fn assert_same_answer(first: &Message, again: &Message) {
    assert_eq!(
        (first.status(), first.field("offer-replayed")),
        (201, None),
        "{first:?}"
    );
    assert_eq!(
        (again.status(), again.field("offer-replayed")),
        (201, Some("true")),
        "{again:?}"
    );
    for field in ["location", "etag", "content-type", "content-length"] {
        assert!(first.field(field).is_some(), "{field} is missing: {first:?}");
        assert_eq!(first.field(field), again.field(field));
    }
    assert_eq!(first.text(), again.text());
}
