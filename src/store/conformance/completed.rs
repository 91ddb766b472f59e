//! Completion: memories, cooldowns, records.

use super::{
    super::{Ask, Claimed, Completed, Completion, Scope},
    node::{
        LONG, NO_WAIT, Pair, SHORT, after_short, assert_admitted, assert_in_lease, assert_processed, plain, with_record,
    },
};
use crate::answer::EncodedRecord;

/// The memories of a peer.
const MAX_OFFERS: usize = 16;
/// The largest answer that a layer records by default.
const MAX_RECORD: usize = 64 * 1024;

pub(super) async fn completed_offer_is_processed(pair: &mut Pair) {
    let number = pair.process("f", plain()).await;
    match pair.second.ask("f").await {
        Claimed::Processed { left, fence, record } => {
            assert_in_lease(left, LONG);
            assert_eq!(fence, number, "a memory has the number of the claim that made it");
            assert_eq!(record, None, "an offer completed without a record has none");
        }
        other => panic!("a completed offer is processed, not {other:?}"),
    }
}

pub(super) async fn memory_ends_with_window(pair: &mut Pair) {
    let completion = Completion {
        window: SHORT,
        ..plain()
    };
    let lower = pair.process("f", completion).await;
    after_short().await;
    let (_, fence) = pair.second.admitted("f").await;
    assert!(fence > lower, "numbers rise: {fence:?} comes after {lower:?}");
}

pub(super) async fn zero_window_remembers_nothing(pair: &mut Pair) {
    let completion = Completion {
        window: NO_WAIT,
        ..plain()
    };
    pair.process("f", completion).await;
    let claimed = pair.second.ask("f").await;
    assert_admitted(&claimed, "an empty window remembers nothing");
}

pub(super) async fn cooldown_closes_peer(pair: &mut Pair) {
    let completion = Completion {
        cooldown: SHORT,
        ..plain()
    };
    pair.process("f", completion).await;
    match pair.second.ask("g").await {
        Claimed::CoolingDown { left } => assert_in_lease(left, SHORT),
        other => panic!("a peer cools down after a completion, but the answer is {other:?}"),
    }
    let claimed = pair.second.ask("f").await;
    assert_processed(&claimed, "a memory precedes the cooldown");
    after_short().await;
    let claimed = pair.second.ask("g").await;
    assert_admitted(&claimed, "a cooldown ends");
}

pub(super) async fn memory_precedes_claim(pair: &mut Pair) {
    pair.process("f", plain()).await;
    pair.first.admitted("g").await;
    let claimed = pair.second.ask("f").await;
    assert_processed(&claimed, "an offer is remembered while another one is processed");
}

pub(super) async fn completion_wakes_waiting_nodes(pair: &mut Pair) {
    for offer in ["f", "g"] {
        let (held, _) = pair.first.admitted("f").await;
        pair.wait_for(offer).await;
        let completion = Completion {
            window: NO_WAIT,
            ..plain()
        };
        pair.first.complete(held, completion).await;
        pair.second.expect_wake().await;
    }
}

pub(super) async fn repeated_completion_is_done(pair: &mut Pair) {
    let (held, number) = pair.first.admitted("f").await;
    pair.first.complete(held, plain()).await;
    let completed = pair.first.try_complete(held, plain()).await;
    assert_eq!(completed, Completed::Done, "a repeated completion succeeds");
    let (other, _) = pair.second.admitted("g").await;
    let completed = pair.first.try_complete(held, plain()).await;
    assert_eq!(
        completed,
        Completed::Done,
        "a repeated completion succeeds while another offer is processed"
    );
    pair.second.complete(other, plain()).await;
    match pair.second.ask("f").await {
        Claimed::Processed { fence, .. } => assert_eq!(fence, number, "a repeated completion changes nothing"),
        answer => panic!("a repeated completion changes nothing, but the answer is {answer:?}"),
    }
}

pub(super) async fn completion_after_forget_changes_nothing(pair: &mut Pair) {
    let (held, _) = pair.first.admitted("f").await;
    pair.first.complete(held, plain()).await;
    pair.first.forget(Scope::Offer(held.fingerprint)).await;
    let completed = pair.first.try_complete(held, plain()).await;
    assert_eq!(
        completed,
        Completed::Done,
        "a repeated completion succeeds after its offer was forgotten"
    );
    let claimed = pair.second.ask("f").await;
    assert_admitted(&claimed, "a repeated completion does not bring a memory back");
}

pub(super) async fn late_completion_counts(pair: &mut Pair) {
    let (held, _) = pair.first.admitted_for_short("f").await;
    after_short().await;
    pair.first.complete(held, plain()).await;
    let claimed = pair.second.ask("f").await;
    assert_processed(&claimed, "a late completion that nobody overtook counts");
}

pub(super) async fn overtaken_completion_is_lost(pair: &mut Pair) {
    let (held, _) = pair.first.admitted_for_short("f").await;
    after_short().await;
    let (newer, _) = pair.second.admitted("g").await;
    let completed = pair.first.try_complete(held, plain()).await;
    assert_eq!(completed, Completed::Lost, "a completion that was overtaken is lost");
    pair.second.complete(newer, plain()).await;
    let claimed = pair.second.ask("f").await;
    assert_admitted(&claimed, "a lost completion remembers nothing");
}

pub(super) async fn sixteen_offers_are_remembered(pair: &mut Pair) {
    let offers: Vec<_> = (0..=MAX_OFFERS).map(|number| number.to_string()).collect();
    for offer in &offers {
        pair.process(offer, plain()).await;
    }
    for offer in &offers[1..] {
        let claimed = pair.second.ask(offer).await;
        assert_processed(&claimed, "the last 16 offers are remembered");
    }
    let claimed = pair.second.ask(&offers[0]).await;
    assert_admitted(&claimed, "past 16 offers, the oldest is forgotten");
}

pub(super) async fn oldest_offer_goes_first(pair: &mut Pair) {
    let shorter = Completion {
        window: LONG / 2,
        ..plain()
    };
    pair.process("oldest", plain()).await;
    for number in 0..MAX_OFFERS {
        pair.process(&number.to_string(), shorter.clone()).await;
    }
    let claimed = pair.second.ask("0").await;
    assert_processed(
        &claimed,
        "an offer that was processed later is kept, however short its window",
    );
    let claimed = pair.second.ask("oldest").await;
    assert_admitted(&claimed, "the oldest offer goes, however long its window");
}

pub(super) async fn record_travels_intact(pair: &mut Pair) {
    let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(MAX_RECORD).collect();
    for (offer, sent) in [
        ("empty", EncodedRecord::new(0, Vec::new())),
        ("binary", EncodedRecord::new(u32::MAX, b"\0\r\n\xff$-1\r\n".to_vec())),
        ("large", EncodedRecord::new(7, bytes)),
    ] {
        pair.process(offer, with_record(sent.clone())).await;
        match pair.second.ask(offer).await {
            Claimed::Processed { record, .. } => assert!(record == Some(sent), "a record travels intact: {offer}"),
            other => panic!("a completed offer is processed, not {other:?}"),
        }
    }
}

pub(super) async fn unwanted_record_stays(pair: &mut Pair) {
    pair.process("f", with_record(EncodedRecord::new(1, b"answer".to_vec())))
        .await;
    let ask = Ask {
        wants_record: false,
        ..pair.second.question("f")
    };
    match pair.second.claim(ask).await {
        Claimed::Processed { record, .. } => assert_eq!(record, None, "a record comes only where it is wanted"),
        other => panic!("a completed offer is processed, not {other:?}"),
    }
}
