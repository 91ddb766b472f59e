//! The layer works on in a process whose standard output and error are full. There its subscriber panics at every
//! event.
//!
//! This test has no harness, because a harness prints to standard output and fails in the child.

#[path = "../support/mod.rs"]
mod support;

use std::{
    fs::OpenOptions,
    panic::{AssertUnwindSafe, catch_unwind},
    process::Stdio,
    time::Duration,
};

use support::{
    End, SECOND, child,
    layered::{Layered, Pending, Policy},
    offer, settle,
};
use tokio::time::advance;
use tokio_test::task::spawn;
use tower_offer_dedup::{OfferDedupBuilder, WhenBusy};
use tracing::Level;

/// A peer and its offers. Each step catches the panics of the subscriber.
struct Peer {
    layered: Layered,
    calls: Vec<Option<Pending>>,
}

impl Peer {
    fn new(policy: Policy) -> Self {
        Self {
            layered: Layered::new(policy, settings),
            calls: Vec::new(),
        }
    }

    async fn send(&mut self, text: &str) {
        let mut call = attempt(|| self.layered.call(offer("p", text)));
        let is_over = call
            .as_mut()
            .is_some_and(|call| attempt(|| call.poll().is_ready()).unwrap_or(true));
        self.calls.push(call.filter(|_| !is_over));
        settle().await;
    }

    async fn end(&mut self, end: End) {
        let manual = &self.layered.manual;
        if let Some(n) = (0..manual.calls()).find(|n| manual.is_open(*n)) {
            manual.end_nth(n, end);
        }
        settle().await;
        for call in &mut self.calls {
            let is_over = |call: &mut Pending| attempt(|| call.poll().is_ready()).unwrap_or(true);
            drop(call.take_if(is_over));
        }
    }

    fn leave(&mut self, n: usize) {
        let call = self.calls[n].take();
        attempt(|| drop(call));
    }
}

fn settings(builder: OfferDedupBuilder) -> OfferDedupBuilder {
    let timeout = 10 * SECOND;
    builder
        .cooldown(Duration::ZERO)
        .lease(3 * SECOND)
        .when_busy(WhenBusy::Queue { depth: 1, timeout })
}

/// Runs a step that may panic where the subscriber does.
fn attempt<T>(act: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(act)).ok()
}

const TASKS: [&str; 7] = [
    "processed",
    "failed",
    "panicked",
    "dropped",
    "refused",
    "taken over",
    "detached",
];

async fn perform(task: &str) -> Peer {
    let policy = match task {
        "detached" => Policy::ReplayDetached,
        _ => Policy::Refuse,
    };
    let mut peer = Peer::new(policy);
    peer.send("f").await;
    match task {
        "processed" => peer.end(End::Answer).await,
        "failed" => peer.end(End::Broken).await,
        "panicked" => peer.end(End::Panic).await,
        "dropped" => peer.leave(0),
        "refused" => {
            for text in ["f", "g", "h"] {
                peer.send(text).await;
            }
        }
        "taken over" | "detached" => {
            advance(3 * SECOND).await;
            peer.send("g").await;
            peer.end(End::Answer).await;
        }
        _ => unreachable!("the parent knows the tasks"),
    }
    peer
}

/// Drops all calls, and describes what is left of the peer.
async fn what_is_left(mut peer: Peer) -> String {
    for n in 0..peer.calls.len() {
        peer.leave(n);
    }
    while peer.layered.manual.open() > 0 {
        peer.end(End::Broken).await;
    }
    let stats = peer.layered.stats();
    let is_drained = spawn(peer.layered.handle.drain()).poll().is_ready();
    let calls = peer.layered.manual.calls();
    peer.send("probe").await;
    let is_free = peer.layered.manual.calls() == calls + 1;
    peer.leave(peer.calls.len() - 1);
    match (stats.claims, stats.waiters, is_drained, is_free) {
        (0, 0, true, true) => "nothing is left".to_owned(),
        left => format!("claims, waiters, whether drained and free: {left:?}"),
    }
}

fn work(task: &str) {
    tracing_subscriber::fmt().with_max_level(Level::DEBUG).init();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let left = runtime.block_on(async { what_is_left(perform(task).await).await });
    child::report(&left);
}

fn full() -> Stdio {
    OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("a device that is full")
        .into()
}

fn main() {
    if let Some(task) = child::task() {
        return work(&task);
    }
    let mut problems = Vec::new();
    for task in TASKS {
        let mut command = child::this_binary();
        command.stdout(full()).stderr(full());
        let ended = child::run(command, task);
        if !ended.status.success() || ended.lines != ["nothing is left"] {
            problems.push(format!("{task}: {}, {:?}", ended.status, ended.lines));
        }
    }
    assert!(
        problems.is_empty(),
        "a full output breaks the layer:\n{}",
        problems.join("\n")
    );
    println!("full output breaks nothing");
}
