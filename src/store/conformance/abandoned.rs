//! Abandoned claims: no request waits for them any more.

use super::{
    super::{Ask, Claimed, Completed, Lost, Notice, Renewed},
    node::{LONG, Pair, assert_admitted, plain},
};

pub(super) async fn different_offer_takes_abandoned_claim(pair: &mut Pair) {
    let (old, lower) = pair.first.admitted("f").await;
    let renewed = pair.first.renew(old, LONG, true).await;
    assert_eq!(renewed, Renewed::Yes, "a held claim is renewed");
    let (newer, fence) = pair.second.admitted("g").await;
    assert!(fence > lower, "numbers rise: {fence:?} comes after {lower:?}");
    let notice = Notice::Lost(old.token, Lost::TakenOver);
    pair.first
        .expect(notice, "the node of an abandoned claim is notified")
        .await;
    let renewed = pair.first.renew(old, LONG, false).await;
    assert_eq!(renewed, Renewed::Lost, "a claim that was taken over is not renewed");
    let completed = pair.first.try_complete(old, plain()).await;
    assert_eq!(
        completed,
        Completed::Lost,
        "a claim that was taken over does not complete"
    );
    pair.second.release(newer).await;
    let claimed = pair.second.ask("f").await;
    assert_admitted(&claimed, "an abandoned offer that was taken over leaves no mark");
}

pub(super) async fn same_offer_attends_claim_again(pair: &mut Pair) {
    let (old, _) = pair.first.admitted("f").await;
    pair.first.renew(old, LONG, true).await;
    let claimed = pair.second.ask("f").await;
    assert!(
        matches!(claimed, Claimed::InFlight { .. }),
        "the same offer joins an abandoned claim, but the answer is {claimed:?}"
    );
    let claimed = pair.second.ask("g").await;
    assert!(
        matches!(claimed, Claimed::Busy { .. }),
        "a claim that is attended again holds others off, but the answer is {claimed:?}"
    );
}

pub(super) async fn refused_offer_leaves_claim_abandoned(pair: &mut Pair) {
    let (old, _) = pair.first.admitted("f").await;
    pair.first.renew(old, LONG, true).await;
    let refused = Ask {
        wants_record: false,
        ..pair.second.question("f")
    };
    let claimed = pair.second.claim(refused).await;
    assert!(
        matches!(claimed, Claimed::InFlight { .. }),
        "an abandoned claim is in flight, but the answer is {claimed:?}"
    );
    let claimed = pair.second.ask("g").await;
    assert_admitted(&claimed, "a claim stays abandoned if no request waits for its answer");
}

pub(super) async fn renewal_attends_claim_again(pair: &mut Pair) {
    let (old, _) = pair.first.admitted("f").await;
    pair.first.renew(old, LONG, true).await;
    pair.first.renew(old, LONG, false).await;
    let claimed = pair.second.ask("g").await;
    assert!(
        matches!(claimed, Claimed::Busy { .. }),
        "a renewal notes that a request waits again, but the answer is {claimed:?}"
    );
}

pub(super) async fn abandonment_wakes_waiting_nodes(pair: &mut Pair) {
    let (old, _) = pair.first.admitted("f").await;
    pair.wait_for("g").await;
    pair.first.renew(old, LONG, true).await;
    pair.second.expect_wake().await;
}
