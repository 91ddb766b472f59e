//! An answer over its peer's share of the memory is not kept. An event reports it, and its duplicates are counted.

mod support;

use std::time::Duration;

use support::{
    End, ManualService, Reply, SECOND, at_once, builder,
    captured_events::{CapturedEvent, CapturedEvents},
    layered::Boxed,
    offer, reason, refuse, through,
};
use tower::Layer;
use tower_offer_dedup::{Fingerprint, OfferDedupHandle, Reason, Replay};

const KIB: usize = 1024;

/// Every answer weighs `bytes`; the whole memory is 1 MiB.
fn weighing(manual: &ManualService, bytes: usize) -> (Boxed, OfferDedupHandle) {
    let answer = Replay::with(refuse).weigher(move |_: &Reply| Some(bytes));
    let layer = builder(answer)
        .cooldown(Duration::ZERO)
        .window(3600 * SECOND)
        .max_memory(1024 * KIB as u64)
        .build();
    (Boxed::new(layer.layer(manual.clone())), layer.handle())
}

/// Counts the events that report the answer of one offer as not recorded.
fn not_recorded(entries: &[CapturedEvent], text: &str) -> usize {
    let fingerprint = Fingerprint::exact(text.as_bytes()).to_string();
    let is_one = |entry: &&CapturedEvent| {
        entry.message.contains("not recorded") && entry.field("fingerprint") == Some(fingerprint.as_str())
    };
    entries.iter().filter(is_one).count()
}

#[tokio::test(start_paused = true)]
async fn too_heavy_answer_has_its_event() {
    for (bytes, events) in [(KIB, 0), (128 * KIB, 1), (2048 * KIB, 1), (usize::MAX, 1)] {
        let (captured, _guard) = CapturedEvents::capture();
        let manual = ManualService::default();
        let (mut service, handle) = weighing(&manual, bytes);
        through(&mut service, &manual, offer("p", "f"), End::Answer).unwrap();
        assert_eq!(not_recorded(&captured.take(), "f"), events, "{bytes} bytes");

        let duplicate = at_once(&mut service, offer("p", "f"));
        if events == 0 {
            assert_eq!(duplicate, Ok(Reply::Answer(0)));
        } else {
            assert_eq!(reason(duplicate), Reason::NotRecorded, "{bytes} bytes");
            assert_eq!(handle.stats().refused_not_recorded, 1);
        }
        assert_eq!(manual.calls(), 1);
    }
}

/// A peer's share holds some of these eight answers, and not all.
#[tokio::test(start_paused = true)]
async fn displaced_answer_is_no_silent_loss() {
    let (captured, _guard) = CapturedEvents::capture();
    let manual = ManualService::default();
    let (mut service, handle) = weighing(&manual, 16 * KIB);
    let texts: Vec<_> = (0..8).map(|n| format!("offer {n}")).collect();
    for text in &texts {
        through(&mut service, &manual, offer("p", text), End::Answer).unwrap();
    }
    let entries = captured.take();
    let told = entries
        .iter()
        .filter(|entry| entry.message.contains("not recorded"))
        .count() as u64;
    let evicted = handle.stats().evicted;
    let mut lost = 0;
    for text in &texts {
        lost += u64::from(!matches!(at_once(&mut service, offer("p", text)), Ok(Reply::Answer(_))));
    }
    assert!((1..8).contains(&lost), "{lost} of 8 answers are lost");
    assert!(
        told == lost || evicted == lost,
        "{lost} lost, {told} events, {evicted} evicted"
    );
    assert_eq!(handle.stats().refused_not_recorded, lost);
    assert_eq!(manual.calls(), 8);
}
