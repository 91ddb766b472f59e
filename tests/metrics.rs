//! Metrics: each field of `Stats` has one, and both agree.

#[path = "support/faulty_store.rs"]
mod faulty_store;
mod support;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::{Ready, ready},
    sync::atomic::Ordering::Relaxed,
    thread,
    time::{Duration, Instant},
};

use faulty_store::FaultyStore;
use http::{Request, Response, StatusCode, header};
use http_body_util::{Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Bytes;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use support::{
    End, ManualService, Message, Refuser, SECOND, at_once,
    layered::{Layered, Policy},
    offer, offers, other, pending, refuse, settle, through,
};
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready, task::spawn};
use tower::{Layer, Service, service_fn};
use tower_offer_dedup::{
    Offer, OfferDedupHandle, OfferDedupLayer, Reason, Refusal, Refuse, Replay, Stats, WhenBusy,
    extract::{ExtractOffer, Found},
    store::{MemoryStore, SharedStore},
};

type Held = Box<dyn std::any::Any>;

/// A layer after its part of the workload, with what keeps its gauges up.
struct Scene {
    name: &'static str,
    handle: OfferDedupHandle,
    held: Held,
}

/// The metric of a field: the name without its prefix, and the outcome if it has one.
fn metric_of(field: &str) -> String {
    match field {
        "admitted" | "replayed" | "waits_abandoned" => format!("offers_total/{field}"),
        "completed" | "failed" | "abandoned" | "superseded" => format!("processed_total/{field}"),
        "claims" | "waiters" | "body_reads" | "store_messages" | "store_down" | "memories" | "cooldowns"
        | "sessions" => field.to_owned(),
        "bytes" => "memory_bytes".to_owned(),
        "max_bytes" => "max_memory_bytes".to_owned(),
        _ => match field.strip_prefix("refused_") {
            Some(reason) => format!("offers_total/{reason}"),
            None => format!("{field}_total"),
        },
    }
}

/// Sums of the metrics by layer and name. A histogram yields its count, and its sum in milliseconds.
struct Measured {
    snapshotter: Snapshotter,
    sums: BTreeMap<(String, String), i64>,
}

impl Measured {
    fn by(recorder: &DebuggingRecorder) -> Self {
        Self {
            snapshotter: recorder.snapshotter(),
            sums: BTreeMap::new(),
        }
    }

    /// A snapshot yields the change since the last one.
    fn update(&mut self) {
        for (key, _, _, value) in self.snapshotter.snapshot().into_vec() {
            let label = |name| {
                key.key()
                    .labels()
                    .find(|label| label.key() == name)
                    .map(|label| label.value())
            };
            let layer = label("layer").expect("each metric has a layer").to_owned();
            let outcome = label("outcome")
                .map(|outcome| format!("/{outcome}"))
                .unwrap_or_default();
            let name = format!("{}{outcome}", key.key().name().strip_prefix("offer_dedup_").unwrap());
            let mut add = |name, value| *self.sums.entry((layer.clone(), name)).or_default() += value;
            match value {
                DebugValue::Counter(count) => add(name, count as i64),
                DebugValue::Gauge(gauge) => add(name, gauge.0 as i64),
                DebugValue::Histogram(values) => {
                    let sum: f64 = values.iter().map(|value| value.0 * 1000.0).sum();
                    add(format!("{name}/count"), values.len() as i64);
                    add(format!("{name}/ms"), sum.round() as i64);
                }
            }
        }
    }

    fn get(&self, layer: &str, metric: &str) -> Option<i64> {
        self.sums.get(&(layer.to_owned(), metric.to_owned())).copied()
    }

    /// Compares each field with its metric. Some are reported by a thread of their own, so this waits for them.
    fn assert_agrees(&mut self, layer: &str, stats: impl Fn() -> Stats) {
        let start = Instant::now();
        loop {
            self.update();
            let differs: Vec<_> = stats()
                .iter()
                .map(|(field, value)| (field, Some(value as i64), self.get(layer, &metric_of(field))))
                .filter(|(_, value, metric)| value != metric)
                .collect();
            if differs.is_empty() {
                return;
            }
            assert!(start.elapsed() < 10 * SECOND, "{layer}: {differs:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn refusing() -> Scene {
    // The other scenes advance the clock. What this one holds must still be there.
    let mut layered = Layered::new(Policy::Refuse, |builder| {
        builder.name("refusing").cooldown(3600 * SECOND).window(3600 * SECOND)
    });
    let Layered { manual, service, .. } = &mut layered;
    drop(spawn(service.call(other("p"))));
    drop(pending(service, offer("p", "dropped")));
    assert!(manual.was_dropped() && manual.was_dropped());
    let _ = through(service, manual, offer("p", "failing"), End::Broken);
    let _ = through(service, manual, offer("q", "f"), End::Failure);
    let mut first = pending(service, offer("p", "f"));
    let _ = at_once(service, offer("p", "f"));
    let _ = at_once(service, offer("p", "g"));
    manual.end(End::Answer);
    assert!(assert_ready!(first.poll()).is_ok());
    let _ = at_once(service, offer("p", "f"));
    let _ = at_once(service, offer("p", "g"));
    let _ = through(service, manual, offer("r", "f"), End::Answer);
    layered.handle.forget("r");
    scene("refusing", layered, ())
}

fn scene(name: &'static str, layered: Layered, held: impl std::any::Any) -> Scene {
    Scene {
        name,
        handle: layered.handle.clone(),
        held: Box::new((layered.service, layered.manual, held)),
    }
}

fn replaying() -> Scene {
    let mut layered = Layered::new(Policy::Replay, |builder| {
        builder.name("replaying").remember_failures(true)
    });
    let Layered { manual, service, .. } = &mut layered;
    let _ = through(service, manual, offer("p", "f"), End::Answer);
    let _ = at_once(service, offer("p", "f"));
    let _ = through(service, manual, offer("q", "f"), End::Broken);
    let _ = at_once(service, offer("q", "f"));
    let leader = pending(service, offer("r", "f"));
    drop(pending(service, offer("r", "f")));
    let follower = pending(service, offer("r", "f"));
    scene("replaying", layered, (leader, follower))
}

/// Answers that the weigher vetoes.
fn unrecorded() -> Scene {
    let answer = Replay::with(refuse).weigher(|_: &support::Reply| None);
    let layer = OfferDedupLayer::builder()
        .offers(offers as fn(&Message) -> _)
        .answer(answer)
        .name("unrecorded")
        .build();
    let manual = ManualService::default();
    let mut service = layer.layer(manual.clone());
    let _ = through(&mut service, &manual, offer("p", "f"), End::Answer);
    Scene {
        name: "unrecorded",
        handle: layer.handle(),
        held: Box::new(service),
    }
}

async fn queueing() -> Scene {
    let when_busy = WhenBusy::Queue {
        depth: 1,
        timeout: SECOND,
    };
    let mut layered = Layered::new(Policy::Refuse, |builder| builder.name("queueing").when_busy(when_busy));
    let service = &mut layered.service;
    let busy = pending(service, offer("p", "f"));
    let mut late = pending(service, offer("p", "g"));
    let _ = at_once(service, offer("p", "h"));
    advance(SECOND).await;
    assert!(late.poll().is_ready());
    scene("queueing", layered, busy)
}

fn superseding() -> Scene {
    let mut layered = Layered::new(Policy::Refuse, |builder| {
        builder.name("superseding").when_busy(WhenBusy::Supersede)
    });
    let service = &mut layered.service;
    let mut loser = pending(service, offer("p", "f"));
    let mut winner = spawn(service.call(offer("p", "g")));
    assert_pending!(winner.poll());
    assert!(assert_ready!(loser.poll()).is_ok());
    assert_pending!(winner.poll());
    let _ = at_once(service, offer("p", "f"));
    scene("superseding", layered, winner)
}

fn leasing() -> Scene {
    let mut layered = Layered::new(Policy::Refuse, |builder| builder.name("leasing").lease(Duration::ZERO));
    let overdue = pending(&mut layered.service, offer("p", "f"));
    let next = pending(&mut layered.service, offer("p", "g"));
    scene("leasing", layered, (overdue, next))
}

/// A memory too small for all offers.
fn small() -> Scene {
    let mut layered = Layered::new(Policy::Refuse, |builder| builder.name("small").max_memory(8_000));
    let Layered { manual, service, .. } = &mut layered;
    for n in 0..60 {
        let peer: &'static str = format!("peer {n}").leak();
        let _ = through(service, manual, offer(peer, "f"), End::Answer);
    }
    scene("small", layered, ())
}

/// Refuses each request with this reason, unread.
struct Unread(Reason);

impl ExtractOffer<Message> for Unread {
    type Request = Message;
    type Read = Ready<Found<Message, Infallible>>;

    fn extract(&self, _: Message) -> Found<Message, Self::Read> {
        Found::Refused(Refusal::new(self.0))
    }
}

fn unread() -> Scene {
    let layer = OfferDedupLayer::builder()
        .answer(Refuse::with(refuse))
        .name("unread")
        .build();
    for reason in [
        Reason::Aborted,
        Reason::BodyTooLarge,
        Reason::BodyTimedOut,
        Reason::PeerMissing,
        Reason::StoreUnavailable,
    ] {
        let mut service = layer.offers(Unread(reason)).layer(ManualService::default());
        let _ = at_once(&mut service, offer("p", "f"));
    }
    Scene {
        name: "unread",
        handle: layer.handle(),
        held: Box::new(()),
    }
}

type RequestBody = UnsyncBoxBody<Bytes, Infallible>;

/// A session, a request that cannot be read, and a body that never ends.
async fn http() -> Scene {
    let layer = OfferDedupLayer::whip().name("http").build();
    let inner = service_fn(|_| {
        let response = Response::builder()
            .status(StatusCode::CREATED)
            .header(header::LOCATION, "/session/1");
        ready(Ok::<_, Infallible>(
            response.body(Full::new(Bytes::from("an answer"))).unwrap(),
        ))
    });
    let mut service = layer.layer(inner);
    let post = |media: &str, body: RequestBody| {
        let request = Request::post("/whip/stage").header(header::CONTENT_TYPE, media);
        request.body(body).unwrap()
    };
    let full = |text: &'static str| RequestBody::new(Full::new(Bytes::from(text)));
    let answered = service.clone().oneshot(post("application/sdp", full("v=0\r\n"))).await;
    assert_eq!(answered.unwrap().status(), StatusCode::CREATED);
    let passed = service
        .clone()
        .oneshot(post("text/plain", RequestBody::new(Empty::new())))
        .await;
    assert_eq!(passed.unwrap().status(), StatusCode::CREATED);
    let endless = StreamBody::new(futures_util::stream::pending::<
        Result<http_body::Frame<Bytes>, Infallible>,
    >());
    let mut reading = spawn(service.call(post("application/sdp", RequestBody::new(endless))));
    assert_pending!(reading.poll());
    Scene {
        name: "http",
        handle: layer.handle(),
        held: Box::new(reading),
    }
}

type Shared = OfferDedupLayer<fn(&Message) -> Option<Offer>, Refuse<Refuser>>;

fn shared(name: &'static str, store: impl SharedStore) -> Shared {
    OfferDedupLayer::builder()
        .offers(offers as fn(&Message) -> _)
        .answer(Refuse::with(refuse as Refuser))
        .when_busy(WhenBusy::Supersede)
        .store(store)
        .name(name)
        .build()
}

/// Messages to a store that does not answer are dropped after a while.
async fn messages_expire() {
    for _ in 0..24 {
        advance(SECOND / 2).await;
        settle().await;
    }
}

/// A node that loses a claim to another one, and then its store.
async fn sharing() -> Scene {
    let store = MemoryStore::new();
    let (faulty, is_down) = FaultyStore::new(&store, false);
    let (layer, other) = (shared("sharing", faulty), shared("other", store.node()));
    let manual = ManualService::default();
    let _loser = tokio::spawn(layer.layer(manual.clone()).oneshot(offer("p", "f")));
    settle().await;
    let _winner = tokio::spawn(other.layer(manual.clone()).oneshot(offer("p", "g")));
    settle().await;

    is_down.store(true, Relaxed);
    let manual = ManualService::default();
    for peer in ["a", "b", "c", "d", "e"] {
        let alone = tokio::spawn(layer.layer(manual.clone()).oneshot(offer(peer, "f")));
        settle().await;
        manual.end(End::Answer);
        assert!(alone.await.unwrap().is_ok());
    }
    messages_expire().await;
    layer.handle().forget("p");
    settle().await;
    Scene {
        name: "sharing",
        handle: layer.handle(),
        held: Box::new(()),
    }
}

#[tokio::test(start_paused = true)]
async fn each_field_agrees_with_its_metric() {
    let recorder = DebuggingRecorder::new();
    let mut measured = Measured::by(&recorder);
    // The thread that collects reports to the global recorder.
    recorder.install().unwrap();
    let scenes = [
        refusing(),
        replaying(),
        unrecorded(),
        queueing().await,
        superseding(),
        leasing(),
        small(),
        unread(),
        http().await,
        sharing().await,
    ];
    settle().await;
    let mut seen = BTreeMap::<_, u64>::new();
    for Scene { name, handle, .. } in &scenes {
        measured.assert_agrees(name, || handle.stats());
        for (field, value) in &handle.stats() {
            *seen.entry(field).or_default() += value;
        }
    }
    let unmoved: Vec<_> = seen.iter().filter(|(_, value)| **value == 0).collect();
    assert_eq!(unmoved, [], "the workload does not reach these fields");

    for Scene { name, handle, held } in scenes {
        drop(held);
        // A message on its way keeps the layer.
        messages_expire().await;
        let stats = handle.stats();
        drop(handle);
        measured.assert_agrees(name, || {
            let mut gone = stats.clone();
            for held in [
                &mut gone.claims,
                &mut gone.waiters,
                &mut gone.body_reads,
                &mut gone.memories,
                &mut gone.cooldowns,
                &mut gone.sessions,
                &mut gone.store_messages,
                &mut gone.store_down,
                &mut gone.bytes,
                &mut gone.max_bytes,
            ] {
                *held = 0;
            }
            gone
        });
    }
}

#[test]
fn layers_of_one_name_add_up() {
    let recorder = DebuggingRecorder::new();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let mut layers: Vec<_> = (0..2)
        .map(|_| Layered::new(Policy::Refuse, |builder| builder))
        .collect();
    let _calls: Vec<_> = layers
        .iter_mut()
        .map(|layered| pending(&mut layered.service, offer("p", "f")))
        .collect();
    let mut measured = Measured::by(&recorder);
    measured.update();
    assert_eq!(measured.get("default", "claims"), Some(2));
    assert_eq!(measured.get("default", "max_memory_bytes"), Some(2 * 64 * 1024 * 1024));
}

#[test]
fn metrics_are_described_from_the_start() {
    let recorder = DebuggingRecorder::new();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let layered = Layered::new(Policy::Refuse, |builder| builder);
    let described = recorder.snapshotter().snapshot().into_vec();
    assert_eq!(described.len(), layered.stats().iter().count());
    let guide = include_str!("../src/guide/metrics.md");
    let mut helps = BTreeMap::new();
    for (key, unit, help, _) in &described {
        let name = key.key().name();
        let (unit, help) = (unit.expect(name).as_str(), help.as_ref().expect(name));
        let expected = if name.ends_with("_bytes") { "bytes" } else { "count" };
        assert_eq!(unit, expected, "{name}");
        assert!(guide.contains(&format!("`{name}`")), "the guide lacks {name}");
        helps.insert(help, name);
    }
    let names: Vec<_> = described.iter().map(|(key, ..)| key.key().name()).collect();
    let mut families = names.clone();
    families.sort_unstable();
    families.dedup();
    assert_eq!(helps.len(), families.len(), "each family has a help text of its own");
}

#[tokio::test(start_paused = true)]
async fn times_are_measured() {
    let recorder = DebuggingRecorder::new();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let mut layered = Layered::new(Policy::Replay, |builder| builder);
    let Layered { manual, service, .. } = &mut layered;
    let mut first = pending(service, offer("p", "f"));
    let mut waiting = pending(service, offer("p", "f"));
    advance(Duration::from_millis(250)).await;
    manual.end(End::Answer);
    assert!(assert_ready!(first.poll()).is_ok());
    assert!(assert_ready!(waiting.poll()).is_ok());
    drop((first, waiting));
    let mut measured = Measured::by(&recorder);
    measured.update();
    for name in ["processing_seconds", "wait_seconds"] {
        assert_eq!(measured.get("default", &format!("{name}/count")), Some(1), "{name}");
        assert_eq!(measured.get("default", &format!("{name}/ms")), Some(250), "{name}");
    }
}
