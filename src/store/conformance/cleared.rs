//! `clear`, `announce` and `ping`.

use super::{
    super::{Completed, Completion, Notice, Renewed},
    node::{LONG, Pair, assert_admitted, plain},
};
use crate::extract::SessionUri;

pub(super) async fn cleared_store_is_empty(pair: &mut Pair) {
    let completion = Completion {
        cooldown: LONG,
        ..plain()
    };
    pair.process("f", completion).await;
    pair.first.clear().await;
    let notice = Notice::Cleared;
    pair.second
        .expect(notice, "the other nodes are notified of a clear")
        .await;
    let claimed = pair.second.ask("f").await;
    assert_admitted(&claimed, "a cleared store has no memories and no cooldowns");
}

pub(super) async fn cleared_memory_stays_gone(pair: &mut Pair) {
    pair.process("f", plain()).await;
    pair.first.clear().await;
    pair.process("g", plain()).await;
    let claimed = pair.second.ask("f").await;
    assert_admitted(&claimed, "a claim after a clear brings no memory back");
}

pub(super) async fn cleared_claim_cannot_complete(pair: &mut Pair) {
    let (old, _) = pair.first.admitted("f").await;
    pair.second.clear().await;
    let renewed = pair.first.renew(old, LONG, false).await;
    assert_eq!(renewed, Renewed::Lost, "a cleared claim is not renewed");
    let completed = pair.first.try_complete(old, plain()).await;
    assert_eq!(completed, Completed::Lost, "a cleared claim does not complete");
    let claimed = pair.first.ask("g").await;
    assert_admitted(&claimed, "a cleared claim holds nobody off");
}

pub(super) async fn numbers_rise_through_clear(pair: &mut Pair) {
    let (_, mut lower) = pair.first.admitted("f").await;
    for _ in 0..3 {
        pair.first.clear().await;
        let (_, fence) = pair.second.admitted("f").await;
        assert!(
            fence > lower,
            "numbers rise through a clear: {fence:?} comes after {lower:?}"
        );
        lower = fence;
    }
}

pub(super) async fn announcement_reaches_other_node(pair: &mut Pair) {
    let uri = |path: &str| SessionUri::new(path.as_bytes(), b"example.com", b"Bearer s3cret");
    pair.first.announce(uri("/session/1")).await;
    let rule = "the other nodes are notified of a session's end";
    pair.second.expect(Notice::Ended(uri("/session/1")), rule).await;
    pair.second.announce(uri("/session/2")).await;
    let skipped = pair.first.expect(Notice::Ended(uri("/session/2")), rule).await;
    assert!(
        !skipped.contains(&Notice::Ended(uri("/session/1"))),
        "a node is not notified of what it announces itself"
    );
}

pub(super) async fn ping_succeeds(pair: &mut Pair) {
    pair.first.ping().await;
}
