//! `Ask::supersede`: the newest offer wins.

use super::{
    super::{Ask, ClaimToken, Claimed, Completed, Completion, Held, Lost, Notice, Renewed, Scope},
    node::{LONG, NO_WAIT, Pair, SHORT, after_short, assert_admitted, assert_superseded, fingerprint, plain},
};

/// Has the second node displace the claim of the first. Returns both.
async fn displaced(pair: &mut Pair) -> (Held, Held) {
    let (old, _) = pair.first.admitted("f").await;
    let (new, claimed) = pair.second.supersede("g").await;
    assert_admitted(&claimed, "a newer offer takes the claim away");
    (old, new)
}

pub(super) async fn newer_offer_displaces_older(pair: &mut Pair) {
    let (old, lower) = pair.first.admitted("f").await;
    pair.wait_for("f").await;
    let (_, claimed) = pair.second.supersede("g").await;
    let Claimed::Admitted { fence, displaced } = claimed else {
        panic!("a newer offer takes the claim away, but the answer is {claimed:?}");
    };
    assert!(fence > lower, "numbers rise: {fence:?} comes after {lower:?}");
    assert_eq!(
        displaced,
        Some(old.token),
        "the grant names the claim that it displaced"
    );
    let notice = Notice::Lost(old.token, Lost::Superseded);
    pair.first
        .expect(notice, "the node of a displaced claim is notified")
        .await;
    pair.second.expect_wake().await;
    let renewed = pair.first.renew(old, LONG, false).await;
    assert_eq!(renewed, Renewed::Lost, "a displaced claim is not renewed");
    let completed = pair.first.try_complete(old, plain()).await;
    assert_eq!(completed, Completed::Lost, "a displaced claim does not complete");
    let claimed = pair.first.ask("f").await;
    let Claimed::Superseded { left } = claimed else {
        panic!("a displaced offer is remembered as superseded, but the answer is {claimed:?}");
    };
    assert!(
        left <= LONG,
        "a mark lasts as long as the newer offer asked for, not {left:?}"
    );
}

pub(super) async fn displaced_node_confirms_stop(pair: &mut Pair) {
    let (old, new) = displaced(pair).await;
    pair.first.release(old).await;
    let rule = "the node that displaced a claim is notified when it has stopped";
    pair.second.expect(Notice::Stopped(old.token), rule).await;
    let claimed = pair.first.ask("f").await;
    assert_superseded(&claimed, "the release of a displaced claim leaves its mark");
    pair.second.complete(new, plain()).await;
}

#[track_caller]
fn assert_displaces(claimed: &Claimed, expected: ClaimToken, rule: &str) {
    assert!(
        matches!(claimed, Claimed::Admitted { displaced: Some(token), .. } if *token == expected),
        "{rule}: {expected:?}, but the answer is {claimed:?}"
    );
}

#[track_caller]
fn assert_displaces_none(claimed: &Claimed, rule: &str) {
    assert!(
        matches!(claimed, Claimed::Admitted { displaced: None, .. }),
        "{rule}, but the answer is {claimed:?}"
    );
}

pub(super) async fn unconfirmed_claim_is_handed_on(pair: &mut Pair) {
    let (old, _) = displaced(pair).await;
    let (_, claimed) = pair.second.supersede("h").await;
    assert_displaces(
        &claimed,
        old.token,
        "a node that displaces its own claim awaits the one that this displaced",
    );
    pair.first.release(old).await;
    let rule = "the last node that awaits a displaced claim is notified when it has stopped";
    pair.second.expect(Notice::Stopped(old.token), rule).await;
}

pub(super) async fn released_claim_hands_stop_on(pair: &mut Pair) {
    let (old, new) = displaced(pair).await;
    pair.second.release(new).await;
    let (next, claimed) = pair.second.supersede("h").await;
    let rule = "a released claim leaves the stop of the one that it displaced to the next";
    assert_displaces(&claimed, old.token, rule);
    pair.first.release(old).await;
    pair.second.expect(Notice::Stopped(old.token), rule).await;
    pair.second.release(next).await;
    let (_, claimed) = pair.first.supersede("f").await;
    assert_displaces_none(&claimed, "a claim that has stopped is not handed on");
}

pub(super) async fn completed_claim_hands_nothing_on(pair: &mut Pair) {
    let (_, new) = displaced(pair).await;
    pair.second.complete(new, plain()).await;
    let (_, claimed) = pair.second.supersede("h").await;
    assert_displaces_none(
        &claimed,
        "a claim that is processed has awaited the one that it displaced",
    );
}

pub(super) async fn stop_after_release_does_nothing(pair: &mut Pair) {
    let (old, new) = displaced(pair).await;
    pair.second.release(new).await;
    pair.first.release(old).await;
    let (_, claimed) = pair.second.supersede("h").await;
    assert_displaces_none(&claimed, "a claim that has stopped is not awaited");
}

pub(super) async fn confirmed_claim_is_not_handed_on(pair: &mut Pair) {
    let (old, new) = displaced(pair).await;
    pair.first.release(old).await;
    let (_, claimed) = pair.second.supersede("h").await;
    assert_displaces(&claimed, new.token, "a claim that has stopped is not awaited again");
}

pub(super) async fn other_node_awaits_holder(pair: &mut Pair) {
    let (_, new) = displaced(pair).await;
    let (_, claimed) = pair.first.supersede("h").await;
    assert_displaces(
        &claimed,
        new.token,
        "a node that displaces another's claim awaits that one",
    );
}

pub(super) async fn confirmed_stop_keeps_late_claim(pair: &mut Pair) {
    let (old, _) = pair.first.admitted("f").await;
    let ask = Ask {
        lease: SHORT,
        supersede: Some(NO_WAIT),
        ..pair.second.question("g")
    };
    pair.second.admitted_as(ask).await;
    pair.first.release(old).await;
    after_short().await;
    // A late completion counts, whatever the displaced claim has done.
    pair.second.complete(ask.held(), plain()).await;
}

pub(super) async fn marks_name_newest_claim(pair: &mut Pair) {
    displaced(pair).await;
    let (newest, claimed) = pair.first.supersede("h").await;
    assert_admitted(&claimed, "the newest offer takes the claim away");
    for offer in ["f", "g"] {
        let claimed = pair.first.ask(offer).await;
        assert_superseded(&claimed, "every displaced offer is remembered as superseded");
    }
    pair.first.release(newest).await;
    let (held, _) = pair.first.admitted("f").await;
    pair.first.release(held).await;
    let claimed = pair.second.ask("g").await;
    assert_admitted(&claimed, "marks name the newest claim, and go with it");
}

pub(super) async fn released_claim_frees_its_marks(pair: &mut Pair) {
    let (_, new) = displaced(pair).await;
    pair.second.release(new).await;
    let claimed = pair.first.ask("f").await;
    assert_admitted(&claimed, "a released claim forgets what it superseded");
}

pub(super) async fn completed_claim_keeps_its_marks(pair: &mut Pair) {
    let (_, new) = displaced(pair).await;
    pair.second.complete(new, plain()).await;
    let claimed = pair.first.ask("f").await;
    assert_superseded(&claimed, "a completed claim keeps what it superseded");
    let was_known = pair.second.forget(Scope::Offer(fingerprint("g"))).await;
    assert!(was_known, "a forget returns that there was something");
    let claimed = pair.first.ask("f").await;
    assert_admitted(&claimed, "the marks of an offer go when that is forgotten");
}

pub(super) async fn expired_offer_leaves_its_marks(pair: &mut Pair) {
    let (_, new) = displaced(pair).await;
    let completion = Completion {
        window: SHORT,
        ..plain()
    };
    pair.second.complete(new, completion).await;
    after_short().await;
    let was_known = pair.second.forget(Scope::Offer(fingerprint("g"))).await;
    assert!(!was_known, "a memory that is over is nothing to forget");
    let claimed = pair.first.ask("f").await;
    assert_superseded(&claimed, "marks outlive the memory of the offer that they name");
}

pub(super) async fn overdue_claim_frees_its_marks(pair: &mut Pair) {
    let (_, new) = displaced(pair).await;
    pair.second.renew(new, SHORT, false).await;
    after_short().await;
    let (held, _) = pair.first.admitted("h").await;
    pair.first.release(held).await;
    let claimed = pair.first.ask("f").await;
    assert_admitted(&claimed, "the marks of a claim go when that is taken over");
}

pub(super) async fn supersede_ignores_cooldown(pair: &mut Pair) {
    let completion = Completion {
        cooldown: LONG,
        ..plain()
    };
    pair.process("f", completion).await;
    let (_, claimed) = pair.second.supersede("g").await;
    assert_admitted(&claimed, "a newer offer does not wait for the cooldown");
}

pub(super) async fn same_offer_does_not_displace(pair: &mut Pair) {
    pair.first.admitted("f").await;
    let (_, claimed) = pair.second.supersede("f").await;
    assert!(
        matches!(claimed, Claimed::InFlight { .. }),
        "an offer does not displace itself, but the answer is {claimed:?}"
    );
}
