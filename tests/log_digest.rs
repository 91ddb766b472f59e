//! Events name a peer without a label by a digest that is keyed per process. Two processes show different ones.

mod support;

use std::collections::BTreeSet;

use support::{
    End, ManualService, Message, at_once,
    captured_events::{CapturedEvent, CapturedEvents},
    child, offer, pending, refuse, through,
};
use tower::Layer;
use tower_offer_dedup::{Fingerprint, Offer, OfferDedupLayer, Refuse};

const PEERS: [&str; 2] = ["first secret token", "second secret token"];

/// Collects the events of a few outcomes of one peer.
fn events(peer: &'static str) -> Vec<CapturedEvent> {
    let (captured, _guard) = CapturedEvents::capture();
    let layer = OfferDedupLayer::builder()
        .offers(|message: &Message| {
            let text = message.offer.as_ref()?;
            Some(Offer::new(message.peer, Fingerprint::exact(text.as_bytes())))
        })
        .answer(Refuse::with(refuse))
        .build();
    let manual = ManualService::default();
    let mut service = layer.layer(manual.clone());
    let dropped = pending(&mut service, offer(peer, "f"));
    for text in ["f", "g"] {
        let _ = at_once(&mut service, offer(peer, text));
    }
    drop(dropped);
    assert!(manual.was_dropped());
    through(&mut service, &manual, offer(peer, "f"), End::Answer).unwrap();
    let _ = at_once(&mut service, offer(peer, "f"));
    assert!(layer.handle().forget(peer));
    captured.take()
}

/// Returns the digests under which the events name a peer.
fn digests(events: &[CapturedEvent]) -> BTreeSet<String> {
    let named = events.iter().filter_map(|entry| entry.field("peer"));
    named.map(str::to_owned).collect()
}

/// Returns the start of the unkeyed digest, which is the same on every machine.
fn plain_digest(peer: &str) -> String {
    let mut digest = blake3::Hasher::new();
    digest
        .update(b"b")
        .update(&(peer.len() as u64).to_le_bytes())
        .update(peer.as_bytes());
    digest.finalize().to_hex()[..8].to_owned()
}

#[test]
fn digest_names_one_peer_per_process() {
    let [first, second] = PEERS.map(|peer| digests(&events(peer)));
    assert_eq!((first.len(), second.len()), (1, 1), "{first:?}, {second:?}");
    assert_ne!(first, second);
    assert_eq!(digests(&events(PEERS[0])), first, "another layer has the same");
}

#[test]
fn plain_digest_is_not_logged() {
    for peer in PEERS {
        let events = format!("{:?}", events(peer));
        assert!(!events.contains(&plain_digest(peer)), "{events}");
    }
}

#[test]
fn digests_differ_between_processes() {
    const NAME: &str = "digests_differ_between_processes";
    if child::task().is_some() {
        for peer in PEERS {
            digests(&events(peer)).iter().for_each(|digest| child::report(digest));
        }
        return;
    }
    let [first, second] = [(); 2].map(|()| child::run_test(NAME, "report"));
    for ended in [&first, &second] {
        assert!(ended.status.success() && ended.lines.len() == 2, "{ended:?}");
    }
    let same = first.lines.iter().filter(|digest| second.lines.contains(digest));
    assert_eq!(same.count(), 0, "{first:?}, {second:?}");
}
