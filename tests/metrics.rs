//! Metrics: the counters, histograms and gauges of each outcome.

mod support;

use std::{collections::BTreeMap, time::Duration};

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use support::{End, ManualService, offer, offers, other, refuse};
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready, task::spawn};
use tower::{Layer, Service};
use tower_offer_dedup::{OfferDedupLayer, Replay};

/// The metrics since the last snapshot, by name and outcome. A histogram yields its count, and its sum in milliseconds.
fn measured(recorder: &DebuggingRecorder) -> BTreeMap<String, i64> {
    let mut measured = BTreeMap::new();
    for (key, _, _, value) in recorder.snapshotter().snapshot().into_vec() {
        let outcome = key
            .key()
            .labels()
            .map(|label| format!("/{}", label.value()))
            .collect::<String>();
        let name = format!("{}{outcome}", key.key().name().trim_start_matches("offer_dedup_"));
        match value {
            DebugValue::Counter(count) => _ = measured.insert(name, count as i64),
            DebugValue::Gauge(gauge) => _ = measured.insert(name, gauge.0 as i64),
            DebugValue::Histogram(values) => {
                let sum: f64 = values.iter().map(|value| value.0 * 1000.0).sum();
                measured.insert(format!("{name}/count"), values.len() as i64);
                measured.insert(format!("{name}/ms"), sum.round() as i64);
            }
        }
    }
    measured
}

#[tokio::test(start_paused = true)]
async fn each_outcome_is_measured() {
    let recorder = DebuggingRecorder::new();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let manual = ManualService::default();
    let mut service = OfferDedupLayer::builder()
        .offers(offers as fn(&support::Message) -> _)
        .answer(Replay::with(refuse))
        .build()
        .layer(manual.clone());

    let mut first = spawn(service.call(offer("p", "f")));
    let mut waiting = spawn(service.call(offer("p", "f")));
    assert_pending!(first.poll());
    assert_pending!(waiting.poll());
    let held = measured(&recorder);
    assert_eq!(
        (held["claims"], held["waiters"], held["offers_total/admitted"]),
        (1, 1, 1)
    );

    advance(Duration::from_millis(250)).await;
    manual.end(End::Answer);
    assert!(assert_ready!(first.poll()).is_ok());
    assert!(assert_ready!(waiting.poll()).is_ok());
    assert!(assert_ready!(spawn(service.call(offer("p", "g"))).poll()).is_ok());
    let mut passing = spawn(service.call(other("p")));
    assert_pending!(passing.poll());
    let mut failing = spawn(service.call(offer("q", "f")));
    assert_pending!(failing.poll());
    drop(spawn(service.call(offer("q", "f"))));
    manual.end(End::Answer);
    manual.end(End::Broken);
    assert!(assert_ready!(failing.poll()).is_err());
    drop(spawn(service.call(offer("r", "f"))));

    drop((first, waiting, passing, failing));
    tokio::time::sleep(Duration::from_millis(150)).await;
    let measured = measured(&recorder);
    let expected = [
        ("offers_total/admitted", 2),
        ("offers_total/replayed", 1),
        ("offers_total/cooling_down", 1),
        ("offers_total/passed", 1),
        ("offers_total/abandoned", 1),
        ("processed_total/completed", 1),
        ("processed_total/failed", 1),
        ("processed_total/abandoned", 1),
        ("claims", -1),
        ("waiters", -1),
        ("processing_seconds/count", 3),
        ("processing_seconds/ms", 250),
        ("wait_seconds/count", 2),
        ("wait_seconds/ms", 250),
    ];
    for (name, value) in expected {
        assert_eq!(measured.get(name), Some(&value), "{name} in {measured:#?}");
    }
}
