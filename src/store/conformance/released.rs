//! Release: the end of a claim without a memory.

use super::{super::Claimed, node::Pair};

pub(super) async fn released_offer_is_admitted_again(pair: &mut Pair) {
    let (held, lower) = pair.first.admitted("f").await;
    pair.first.release(held).await;
    // The layer repeats a release whose reply was lost.
    pair.first.release(held).await;
    let (_, fence) = pair.second.admitted("f").await;
    assert!(fence > lower, "numbers rise: {fence:?} comes after {lower:?}");
}

pub(super) async fn release_wakes_waiting_nodes(pair: &mut Pair) {
    for offer in ["f", "g"] {
        let (held, _) = pair.first.admitted("f").await;
        pair.wait_for(offer).await;
        pair.first.release(held).await;
        pair.second.expect_wake().await;
    }
}

pub(super) async fn foreign_release_does_nothing(pair: &mut Pair) {
    pair.first.admitted("f").await;
    let other = pair.second.question("f");
    pair.second.release(other.held()).await;
    let claimed = pair.second.ask("g").await;
    assert!(
        matches!(claimed, Claimed::Busy { .. }),
        "the release of another token leaves the claim, but the answer is {claimed:?}"
    );
}

pub(super) async fn repeated_release_leaves_next_claim(pair: &mut Pair) {
    let (late, _) = pair.first.admitted("f").await;
    pair.first.release(late).await;
    pair.second.admitted("f").await;
    pair.first.release(late).await;
    let claimed = pair.first.ask("g").await;
    assert!(
        matches!(claimed, Claimed::Busy { .. }),
        "a repeated release leaves the next claim, but the answer is {claimed:?}"
    );
}
