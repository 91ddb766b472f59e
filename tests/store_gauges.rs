//! The gauges of a store are 0 again whichever way its trouble ends.

#[path = "support/faulty_store.rs"]
mod faulty_store;
#[path = "support/shared_nodes.rs"]
mod shared_nodes;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use faulty_store::FaultyStore;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use shared_nodes::{Handler, Node, OPTIONS, SECOND, node, offer};
use tokio::{
    runtime::{Builder, Runtime},
    time::{sleep, timeout},
};
use tower_offer_dedup::store::MemoryStore;

fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

/// The sums of two gauges: a snapshot yields only what has changed.
struct Gauges {
    snapshotter: Snapshotter,
    messages: f64,
    down: f64,
}

impl Gauges {
    fn by(recorder: &DebuggingRecorder) -> Self {
        Self {
            snapshotter: recorder.snapshotter(),
            messages: 0.0,
            down: 0.0,
        }
    }

    fn read(&mut self) -> (f64, f64) {
        for (key, _, _, value) in self.snapshotter.snapshot().into_vec() {
            match (key.key().name(), value) {
                ("offer_dedup_store_messages", DebugValue::Gauge(step)) => self.messages += step.0,
                ("offer_dedup_store_down", DebugValue::Gauge(step)) => self.down += step.0,
                _ => {}
            }
        }
        (self.messages, self.down)
    }
}

/// A node whose store fails from now on, and takes a while for that.
fn failing_node() -> (Node, Arc<AtomicBool>) {
    let (mut faulty, is_down) = FaultyStore::new(&MemoryStore::new(), false);
    faulty.reply_delay = Duration::from_millis(20);
    is_down.store(true, Relaxed);
    (node(faulty, &Handler::ready(), &OPTIONS), is_down)
}

/// Opens the breaker, and leaves messages behind.
async fn fail(node: &Node) {
    for text in ["a", "b", "c", "d", "e"] {
        node.call(offer(text)).await;
    }
    for peer in 0..7 {
        node.handle.forget(peer);
    }
}

fn held(node: &Node) -> (u64, u64) {
    let stats = node.stats();
    (stats.store_messages, stats.store_down)
}

/// Runs a test whose metrics go to gauges of its own.
fn with_gauges(test: impl FnOnce(&mut Gauges)) {
    let recorder = DebuggingRecorder::new();
    let mut gauges = Gauges::by(&recorder);
    metrics::with_local_recorder(&recorder, || test(&mut gauges));
    assert_eq!(gauges.read(), (0.0, 0.0));
}

fn assert_failing(node: &Node, gauges: &mut Gauges) {
    let (messages, down) = held(node);
    assert!(messages >= 7, "{messages} messages");
    assert_eq!(down, 1);
    assert_eq!(gauges.read(), (messages as f64, 1.0));
}

#[test]
fn gauges_fall_when_store_recovers() {
    with_gauges(|gauges| {
        runtime().block_on(async {
            let (node, is_down) = failing_node();
            fail(&node).await;
            assert_failing(&node, gauges);
            is_down.store(false, Relaxed);
            sleep(3 * SECOND).await;
            assert_eq!((held(&node), gauges.read()), ((0, 0), (0.0, 0.0)));
        });
    });
}

#[test]
fn gauges_fall_with_dropped_layer() {
    for recovers in [false, true] {
        with_gauges(|gauges| {
            runtime().block_on(async {
                let (node, is_down) = failing_node();
                fail(&node).await;
                assert_failing(&node, gauges);
                is_down.store(!recovers, Relaxed);
                drop(node);
                // Messages keep the layer until they are delivered or expire.
                sleep(12 * SECOND).await;
                assert_eq!(gauges.read(), (0.0, 0.0), "recovers: {recovers}");
            });
        });
    }
}

#[test]
fn gauges_fall_with_runtime_and_layer() {
    for drops_layer_first in [false, true] {
        with_gauges(|gauges| {
            let (node, _is_down) = failing_node();
            let runtime = runtime();
            runtime.block_on(fail(&node));
            assert_failing(&node, gauges);
            if drops_layer_first {
                drop(node);
                drop(runtime);
            } else {
                drop(runtime);
                let messages = held(&node).0 as f64;
                assert_eq!((held(&node).1, gauges.read()), (0, (messages, 0.0)));
                drop(node);
            }
            assert_eq!(gauges.read(), (0.0, 0.0), "layer first: {drops_layer_first}");
        });
    }
}

#[test]
fn gauges_fall_on_next_runtime() {
    with_gauges(|gauges| {
        let (node, is_down) = failing_node();
        runtime().block_on(fail(&node));
        let (messages, down) = held(&node);
        assert!(messages >= 7, "they wait for a runtime");
        assert_eq!((down, gauges.read()), (0, (messages as f64, 0.0)));
        is_down.store(false, Relaxed);
        runtime().block_on(async {
            node.call(offer("f")).await;
            let drained = timeout(20 * SECOND, node.handle.drain());
            drained.await.expect("the messages are delivered");
            assert_eq!((held(&node), gauges.read()), ((0, 0), (0.0, 0.0)));
        });
    });
}
