//! `forget` in its three scopes.

use super::{
    super::{Claimed, Completed, Completion, Fence, Renewed, Scope},
    node::{LONG, NO_WAIT, Pair, after_short, assert_admitted, assert_processed, fingerprint, plain},
};

pub(super) async fn forgotten_peer_is_free(pair: &mut Pair) {
    let completion = Completion {
        cooldown: LONG,
        ..plain()
    };
    pair.process("f", completion).await;
    assert!(
        pair.second.forget(Scope::Peer).await,
        "a forget returns that there was something"
    );
    let claimed = pair.second.ask("f").await;
    assert_admitted(&claimed, "a forgotten peer has no memory and no cooldown");
    pair.second.set_peer(pair.peer("bob"));
    assert!(
        !pair.second.forget(Scope::Peer).await,
        "a forget returns that there was nothing"
    );
}

pub(super) async fn forgotten_claim_cannot_complete(pair: &mut Pair) {
    let (old, lower) = pair.first.admitted("f").await;
    assert!(
        pair.second.forget(Scope::Peer).await,
        "a claim counts as something to forget"
    );
    let renewed = pair.first.renew(old, LONG, false).await;
    assert_eq!(renewed, Renewed::Lost, "a forgotten claim is not renewed");
    let completed = pair.first.try_complete(old, plain()).await;
    assert_eq!(completed, Completed::Lost, "a forgotten claim does not complete");
    let (_, fence) = pair.second.admitted("f").await;
    assert!(
        fence > lower,
        "numbers rise through a forget: {fence:?} comes after {lower:?}"
    );
}

pub(super) async fn forget_wakes_waiting_nodes(pair: &mut Pair) {
    for scope in [Scope::Peer, Scope::Offer(fingerprint("f"))] {
        pair.first.admitted("f").await;
        pair.wait_for("g").await;
        pair.first.forget(scope).await;
        pair.second.expect_wake().await;
    }
}

pub(super) async fn forgotten_offer_keeps_cooldown(pair: &mut Pair) {
    let completion = Completion {
        cooldown: LONG,
        ..plain()
    };
    pair.process("f", completion).await;
    let scope = Scope::Offer(fingerprint("f"));
    assert!(
        pair.second.forget(scope).await,
        "a forget returns that there was something"
    );
    let claimed = pair.second.ask("f").await;
    assert!(
        matches!(claimed, Claimed::CoolingDown { .. }),
        "a forgotten offer leaves the cooldown, but the answer is {claimed:?}"
    );
    assert!(
        !pair.second.forget(scope).await,
        "a forget returns that there was nothing"
    );
}

pub(super) async fn forgotten_offer_in_flight_frees_peer(pair: &mut Pair) {
    let (old, _) = pair.first.admitted("f").await;
    assert!(
        pair.second.forget(Scope::Offer(fingerprint("f"))).await,
        "a claim counts as something to forget"
    );
    let completed = pair.first.try_complete(old, plain()).await;
    assert_eq!(completed, Completed::Lost, "a forgotten claim does not complete");
    let claimed = pair.second.ask("g").await;
    assert_admitted(&claimed, "a forgotten offer in flight frees the peer");
}

pub(super) async fn forget_of_other_offer_keeps_claim(pair: &mut Pair) {
    pair.process("f", plain()).await;
    let (held, _) = pair.first.admitted("g").await;
    assert!(pair.second.forget(Scope::Offer(fingerprint("f"))).await);
    pair.first.complete(held, plain()).await;
    let claimed = pair.second.ask("g").await;
    assert_processed(&claimed, "a forgotten offer leaves the others");
}

pub(super) async fn forget_keeps_late_claim(pair: &mut Pair) {
    for scope in [
        Scope::Offer(fingerprint("g")),
        Scope::Claim(fingerprint("g"), Fence::new(1)),
    ] {
        let (held, _) = pair.first.admitted_for_short("f").await;
        pair.second.forget(scope).await;
        after_short().await;
        let completion = Completion {
            window: NO_WAIT,
            ..plain()
        };
        // A late completion counts, whatever else was forgotten.
        pair.first.complete(held, completion).await;
    }
}

pub(super) async fn forgotten_claim_number_is_exact(pair: &mut Pair) {
    let number = pair.process("f", plain()).await;
    let other = Fence::new(number.get() + 1);
    let was_known = pair.second.forget(Scope::Claim(fingerprint("f"), other)).await;
    assert!(!was_known, "a forget returns that there was nothing");
    let was_known = pair.second.forget(Scope::Claim(fingerprint("g"), number)).await;
    assert!(!was_known, "a forget returns that there was nothing");
    let claimed = pair.second.ask("f").await;
    assert_processed(&claimed, "the forget of another claim leaves this one's memory");
    let was_known = pair.second.forget(Scope::Claim(fingerprint("f"), number)).await;
    assert!(was_known, "a forget returns that there was something");
    let claimed = pair.second.ask("f").await;
    assert_admitted(&claimed, "the memory of a forgotten claim is gone");
}

pub(super) async fn forgotten_claim_in_flight_goes_on(pair: &mut Pair) {
    let (held, number) = pair.first.admitted("f").await;
    let was_known = pair.second.forget(Scope::Claim(fingerprint("f"), number)).await;
    assert!(was_known, "a claim counts as something to forget");
    let claimed = pair.second.ask("g").await;
    assert!(
        matches!(claimed, Claimed::Busy { .. }),
        "a claim that was forgotten by its number goes on, but the answer is {claimed:?}"
    );
    pair.first.complete(held, plain()).await;
    let claimed = pair.second.ask("f").await;
    assert_admitted(&claimed, "a claim that was forgotten by its number is not remembered");
}

pub(super) async fn next_claim_is_not_forgotten(pair: &mut Pair) {
    let (old, number) = pair.first.admitted("f").await;
    pair.first.renew(old, LONG, true).await;
    pair.first.forget(Scope::Claim(fingerprint("f"), number)).await;
    let (new, _) = pair.second.admitted("g").await;
    pair.second.complete(new, plain()).await;
    let claimed = pair.first.ask("g").await;
    assert_processed(
        &claimed,
        "the forget of a claim does not affect the one that takes over",
    );
}

pub(super) async fn other_node_is_notified(pair: &mut Pair) {
    let number = pair.process("f", plain()).await;
    for scope in [
        Scope::Claim(fingerprint("f"), number),
        Scope::Offer(fingerprint("f")),
        Scope::Peer,
    ] {
        pair.first.forget(scope).await;
        let (notified, up_to) = pair.second.expect_forgotten().await;
        assert_eq!(notified, scope, "the notice names the scope");
        assert!(
            up_to >= number,
            "the notice covers every claim so far: {up_to:?} is not below {number:?}"
        );
    }
    // The first node must see what the second one forgets, but nothing of its own.
    pair.second.forget(Scope::Peer).await;
    let (notified, _) = pair.first.expect_forgotten().await;
    assert_eq!(
        notified,
        Scope::Peer,
        "a node is not notified of what it forgets itself"
    );
    let (_, fence) = pair.second.admitted("f").await;
    assert!(
        fence > number,
        "numbers rise through a forget: {fence:?} comes after {number:?}"
    );
}
