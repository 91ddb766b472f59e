//! Every outcome but plain admission emits an event, and every outcome moves exactly its own counters.

mod cases;
#[path = "../support/mod.rs"]
mod support;

use std::{collections::BTreeMap, convert::Infallible, future::Ready};

use cases::{Case, cases};
use support::{
    End, ManualService, Message, Reply, SECOND, at_once, builder,
    captured_events::{CapturedEvent, CapturedEvents},
    layered::{Layered, Pending},
    offer, pending, refuse, settle, through,
};
use tokio::{
    runtime::{self, Runtime},
    time::advance,
};
use tower::Layer;
use tower_offer_dedup::{
    Fingerprint, Offer, OfferDedupLayer, PeerKey, Reason, Refusal, Refuse, Replay, Stats,
    extract::{ExtractOffer, Found},
};
use tracing::debug_span;

/// A layer whose events and counters are recorded.
struct Scene {
    layered: Layered,
    requests: Vec<Pending>,
    /// Number of offers sent.
    sent: u64,
    runtime: Runtime,
    captured: CapturedEvents,
    before: Stats,
}

impl Scene {
    fn play(case: &Case) -> (Vec<CapturedEvent>, BTreeMap<String, i64>) {
        Self::stage(case, |scene| {
            debug_span!("connection").in_scope(|| (case.script)(scene));
            (scene.captured.take(), moved(&scene.before, &scene.layered.stats()))
        })
    }

    fn stage<T>(case: &Case, act: impl FnOnce(&mut Self) -> T) -> T {
        let runtime = runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let entered = runtime.handle().clone();
        let _entered = entered.enter();
        let (captured, _guard) = CapturedEvents::capture();
        act(&mut Self {
            layered: Layered::new(case.policy, case.settings),
            requests: Vec::new(),
            sent: 0,
            runtime,
            captured,
            before: Stats::default(),
        })
    }

    /// Starts the measurement: discards the events and counts so far.
    fn act(&mut self) -> &mut Self {
        self.captured.take();
        self.before = self.layered.stats();
        self
    }

    /// Sends an offer that must not be answered at once.
    fn wait(&mut self, text: &str) -> &mut Self {
        self.sent += 1;
        let request = pending(&mut self.layered.service, offer("alice", text));
        self.requests.push(request);
        self
    }

    /// Sends an offer that must be answered at once.
    fn send(&mut self, text: &str) -> &mut Self {
        self.sent += 1;
        let _ = at_once(&mut self.layered.service, offer("alice", text));
        self
    }

    /// Sends an offer and ends its processing.
    fn through(&mut self, text: &str, end: End) -> &mut Self {
        self.sent += 1;
        let _ = through(
            &mut self.layered.service,
            &self.layered.manual,
            offer("alice", text),
            end,
        );
        self
    }

    fn pass(&mut self, seconds: u32) -> &mut Self {
        self.runtime.block_on(async {
            advance(seconds * SECOND).await;
            settle().await;
        });
        self
    }

    fn poll(&mut self, n: usize) -> &mut Self {
        let _ = self.requests[n].poll();
        self
    }
}

/// The counters that changed, and by how much. Gauges are left out.
fn moved(before: &Stats, after: &Stats) -> BTreeMap<String, i64> {
    let moved = before.counters().zip(after.counters());
    moved
        .map(|((name, before), (_, after))| (name.to_owned(), after as i64 - before as i64))
        .filter(|(_, by)| *by != 0)
        .collect()
}

#[test]
fn every_outcome_emits_event_and_counts() {
    for case in cases() {
        let name = case.name;
        let (entries, moved) = Scene::play(&case);
        let expected: BTreeMap<_, _> = case.counters.iter().map(|counter| ((*counter).to_owned(), 1)).collect();
        assert_eq!(moved, expected, "{name}");

        let messages: Vec<_> = entries.iter().map(|entry| &*entry.message).collect();
        assert_eq!(messages.len(), case.says.len(), "{name}: {messages:?}");
        for (entry, says) in entries.iter().zip(case.says) {
            assert!(entry.message.contains(says.words), "{name}: {}", entry.message);
            assert_eq!(
                (entry.level, &*entry.spans),
                (says.level, &["connection"][..]),
                "{name}"
            );
            let reason = says.reason.map(Reason::as_str);
            assert_eq!(entry.field("reason"), reason, "{name}: {}", entry.fields);
            if let Some(offer) = says.offer {
                let fingerprint = Fingerprint::exact(offer.as_bytes()).to_string();
                assert_eq!(fingerprint.len(), 8);
                assert_eq!(entry.field("fingerprint"), Some(&*fingerprint), "{name}");
                assert_eq!(entry.field("peer"), Some("alice"), "{name}");
            }
            if let Some(age) = says.age_ms {
                let is = entry.number("age_ms").or(entry.number("held_ms"));
                assert_eq!(is, Some(age.parse().unwrap()), "{name}");
            }
            let retry_after = says.reason.and_then(|reason| Refusal::new(reason).retry_after());
            let retry_after = retry_after.map(|time| time.as_millis() as u64);
            assert_eq!(entry.number("retry_after_ms"), retry_after, "{name}");
        }
    }
}

#[test]
fn counters_add_up_when_idle() {
    for case in cases() {
        let (name, script) = (case.name, case.script);
        let mut sum = 0;
        let after = Scene::stage(&case, |scene| {
            script(scene);
            scene.requests.clear();
            for call in 0..scene.layered.manual.calls() {
                scene.layered.manual.end_nth(call, End::Answer);
            }
            scene.pass(1);
            sum = scene.sent;
            scene.layered.stats()
        });
        assert_eq!((after.waiters, after.claims), (0, 0), "{name}");
        assert_eq!(
            after.admitted + after.replayed + after.refused() + after.waits_abandoned,
            sum,
            "{name}"
        );
        assert_eq!(
            after.admitted,
            after.completed + after.failed + after.abandoned,
            "{name}"
        );
    }
}

/// Refuses every request with the given reason, unread.
struct Unread(Reason);

impl ExtractOffer<Message> for Unread {
    type Request = Message;
    type Read = Ready<Found<Message, Infallible>>;

    fn extract(&self, _: Message) -> Found<Message, Self::Read> {
        Found::Refused(Refusal::new(self.0))
    }
}

#[test]
fn unread_refusal_emits_event_and_counts() {
    for reason in [Reason::BodyTooLarge, Reason::PeerMissing, Reason::StoreUnavailable] {
        let (captured, _guard) = CapturedEvents::capture();
        let layer = OfferDedupLayer::builder()
            .offers(Unread(reason))
            .answer(Refuse::with(refuse))
            .build();
        assert_eq!(
            support::reason(at_once(&mut layer.layer(ManualService::default()), offer("p", "f"))),
            reason
        );
        let stats = layer.handle().stats();
        let refused: Vec<_> = stats.counters().filter(|(_, count)| *count > 0).collect();
        assert_eq!(refused, [(&*format!("refused_{reason}"), 1)]);
        let entries = captured.take();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].field("reason"), Some(reason.as_str()));
        let is_temporary = reason == Reason::StoreUnavailable;
        assert_eq!(entries[0].number("retry_after_ms"), is_temporary.then_some(1000));
    }
}

#[test]
fn label_cannot_forge_log_lines() {
    let label = "eve\n2026-01-01 INFO admin logged in \u{1b}[2K\r\u{2028}\"";
    let offers = move |message: &Message| Some(Offer::new(message.peer, Fingerprint::exact(b"f")).label(label));
    let (captured, _guard) = CapturedEvents::capture();
    let layer = OfferDedupLayer::builder()
        .offers(offers)
        .answer(Refuse::with(refuse))
        .build();
    let mut service = layer.layer(ManualService::default());
    let _first = pending(&mut service, offer("p", "f"));
    let _ = at_once(&mut service, offer("p", "f"));
    let entry = &captured.take()[0];
    let peer = entry.field("peer").unwrap();
    assert!(peer.starts_with("eve\\n2026") && peer.ends_with("\\\""), "{peer}");
    assert!(!peer.contains(|c: char| c.is_control() || c == '\u{2028}'), "{peer}");
}

#[test]
fn unlabelled_peer_is_named_by_digest() {
    let offers = |message: &Message| Some(Offer::new(message.peer, Fingerprint::exact(b"f")));
    let (captured, _guard) = CapturedEvents::capture();
    let layer = OfferDedupLayer::builder()
        .offers(offers)
        .answer(Refuse::with(refuse))
        .build();
    let mut service = layer.layer(ManualService::default());
    let _first = pending(&mut service, offer("p", "f"));
    let _ = at_once(&mut service, offer("p", "f"));
    layer.handle().forget("p");
    let unkeyed = format!("{:?}", PeerKey::from("p"));
    let names: Vec<_> = captured
        .take()
        .iter()
        .map(|entry| entry.field("peer").unwrap().to_owned())
        .collect();
    assert_eq!(names.len(), 2);
    for name in &names {
        assert_eq!((name.len(), name), (8, &names[0]));
        assert!(!unkeyed.contains(name.as_str()), "{name} of {unkeyed}");
    }
}

#[test]
fn events_contain_no_secrets() {
    const SDP: &str = "v=0\r\no=- 4611 2 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\na=ice-pwd:SECRETPWD\r\n";
    let key = |token: &str| PeerKey::from(("/whip/stream", token));
    let offers = move |message: &Message| {
        let offer = Fingerprint::sdp(message.offer.as_deref()?);
        Some(Offer::new(key(message.peer), offer))
    };
    let (captured, _guard) = CapturedEvents::capture();
    let layer = OfferDedupLayer::builder()
        .offers(offers)
        .answer(Refuse::with(refuse))
        .build();
    let (manual, handle) = (ManualService::default(), layer.handle());
    let mut service = layer.layer(manual.clone());
    let first = pending(&mut service, offer("SECRETTOKEN", SDP));
    for text in [SDP, "v=0\r\no=- SECRETOTHER"] {
        let _ = at_once(&mut service, offer("SECRETTOKEN", text));
    }
    let debug = format!("{layer:?} {handle:?} {first:?} {:?}", key("SECRETTOKEN"));
    drop(first);
    manual.was_dropped();
    for end in [End::Failure, End::Broken, End::Answer] {
        let _ = through(&mut service, &manual, offer("SECRETTOKEN", SDP), end);
        handle.forget(key("SECRETTOKEN"));
    }
    let messages = format!("{debug} {:?}", captured.take());
    assert!(
        !messages.contains("SECRET") && !messages.contains("192.0.2.1"),
        "{messages}"
    );
    assert!(messages.len() > 1000);
}

#[tokio::test(start_paused = true)]
async fn unrecorded_answer_emits_event() {
    for (is_recorded, expected) in [(true, 0), (false, 1)] {
        let (captured, _guard) = CapturedEvents::capture();
        let manual = ManualService::default();
        let answer = Replay::with(refuse).weigher(move |_: &Reply| is_recorded.then_some(1));
        let mut service = builder(answer).build().layer(manual.clone());
        through(&mut service, &manual, offer("p", "f"), End::Answer).unwrap();
        let entries = captured.take();
        let messages = entries
            .iter()
            .filter(|entry| entry.message.contains("answer not recorded"));
        assert_eq!(messages.count(), expected, "{entries:?}");
    }
}
