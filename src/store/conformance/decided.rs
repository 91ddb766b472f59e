//! The decision on an offer, and renewal.

use std::time::Duration;

use super::{
    super::{Ask, Claimed, Lost, Notice, Renewed},
    node::{LONG, Pair, SHORT, after_short, assert_admitted, assert_in_lease},
};

pub(super) async fn free_peer_admits(pair: &mut Pair) {
    let claimed = pair.first.ask("f").await;
    let Claimed::Admitted { displaced, .. } = claimed else {
        panic!("a free peer admits, but the answer is {claimed:?}");
    };
    assert_eq!(displaced, None, "the claim of a free peer displaces nothing");
}

pub(super) async fn same_token_gets_same_claim(pair: &mut Pair) {
    let ask = pair.first.question("f");
    let first = pair.first.claim(ask).await;
    let again = pair.first.claim(ask).await;
    assert_eq!(again, first, "a repeated claim with the same token is the same claim");
}

pub(super) async fn same_offer_is_in_flight(pair: &mut Pair) {
    pair.first.admitted("f").await;
    match pair.second.ask("f").await {
        Claimed::InFlight { left } => assert_in_lease(left, LONG),
        other => panic!("an offer that another node processes is in flight, not {other:?}"),
    }
}

pub(super) async fn different_offer_is_busy(pair: &mut Pair) {
    pair.first.admitted("f").await;
    match pair.second.ask("g").await {
        Claimed::Busy { left, age } => {
            assert_in_lease(left, LONG);
            assert!(age < LONG, "a claim is as old as its grant, not {age:?}");
        }
        other => panic!("a peer whose offer another node processes is busy, not {other:?}"),
    }
}

pub(super) async fn peers_are_independent(pair: &mut Pair) {
    pair.first.admitted("f").await;
    pair.second.set_peer(pair.peer("bob"));
    let claimed = pair.second.ask("f").await;
    assert_admitted(&claimed, "the claim of one peer leaves others free");
}

pub(super) async fn claim_past_lease_is_taken_over(pair: &mut Pair) {
    let (lost, lower) = pair.first.admitted_for_short("f").await;
    after_short().await;
    let claimed = pair.second.ask("f").await;
    let Claimed::Admitted { fence, displaced } = claimed else {
        panic!("a claim past its lease is taken over, but the answer is {claimed:?}");
    };
    assert!(fence > lower, "numbers rise: {fence:?} comes after {lower:?}");
    assert_eq!(displaced, None, "a claim past its lease is taken over, not displaced");
    let notice = Notice::Lost(lost.token, Lost::TakenOver);
    pair.first
        .expect(notice, "the node of a claim past its lease is notified")
        .await;
}

pub(super) async fn renewal_extends_lease(pair: &mut Pair) {
    let (held, _) = pair.first.admitted_for_short("f").await;
    let renewed = pair.first.renew(held, LONG, false).await;
    assert_eq!(renewed, Renewed::Yes, "a held claim is renewed");
    after_short().await;
    let claimed = pair.second.ask("g").await;
    assert!(
        matches!(claimed, Claimed::Busy { .. }),
        "a renewed claim holds others off, but the answer is {claimed:?}"
    );
}

pub(super) async fn renewal_never_acquires(pair: &mut Pair) {
    let (held, _) = pair.first.admitted("f").await;
    pair.first.release(held).await;
    let renewed = pair.first.renew(held, LONG, false).await;
    assert_eq!(renewed, Renewed::Lost, "a claim that ended is not renewed");
    let claimed = pair.second.ask("g").await;
    assert_admitted(&claimed, "renewal never acquires a claim");
}

pub(super) async fn unclaimed_renewal_is_lost(pair: &mut Pair) {
    let ask = pair.first.question("f");
    let renewed = pair.first.renew(ask.held(), LONG, false).await;
    assert_eq!(renewed, Renewed::Lost, "a claim that was never granted is not renewed");
}

pub(super) async fn late_renewal_keeps_claim(pair: &mut Pair) {
    let ask = Ask {
        lease: SHORT,
        ..pair.first.question("f")
    };
    pair.first.admitted_as(ask).await;
    after_short().await;
    let renewed = pair.first.renew(ask.held(), LONG, false).await;
    assert_eq!(
        renewed,
        Renewed::Yes,
        "a claim past its lease that nobody took is renewed"
    );
    let claimed = pair.second.ask("g").await;
    assert!(
        matches!(claimed, Claimed::Busy { .. }),
        "a claim that was renewed late holds others off, but the answer is {claimed:?}"
    );
}

pub(super) async fn waiting_keeps_late_claim(pair: &mut Pair) {
    let (held, _) = pair.first.admitted_for_short("f").await;
    let ask = Ask {
        lease: Duration::from_millis(1),
        ..pair.second.question("g")
    };
    pair.second.claim(ask).await;
    after_short().await;
    let renewed = pair.first.renew(held, LONG, false).await;
    assert_eq!(renewed, Renewed::Yes, "the lease of an offer that waits is its own");
}
