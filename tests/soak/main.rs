//! A mixed load for a minute, or `SOAK_SECONDS=1800`. Memory stays flat after the warm-up, the counters add up to the
//! offers sent, and nothing is left at the end.

#[path = "../support/collectors.rs"]
mod collectors;
mod load;
mod memory;
mod sites;

use std::{
    env,
    io::{Write, stderr},
    panic::{set_hook, take_hook},
    sync::Arc,
    time::{Duration, Instant},
};

use load::Load;
use memory::Flat;
use sites::Site;
use tokio::{
    runtime::{Builder, Handle},
    time::{sleep, timeout},
};

const CLIENTS: u64 = 32;

/// Time limit for everything to expire after the last offer. Longer than the longest window.
const CLEANUP_LIMIT: Duration = Duration::from_secs(30);

#[test]
fn mixed_load_leaks_nothing() {
    let seconds = env::var("SOAK_SECONDS").map_or(60, |value| value.parse().expect("SOAK_SECONDS should be a number"));
    // The inner services panic on purpose.
    let hook = take_hook();
    set_hook(Box::new(move |panic| {
        if !panic.to_string().contains(sites::PANIC) {
            hook(panic);
        }
    }));
    // Uses half of two cores, and leaves the rest to others.
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let report = runtime.block_on(async { runtime.spawn(soak(Duration::from_secs(seconds))).await.unwrap() });
    let _ = take_hook();
    // Writes past the test harness, which captures the output of a test.
    stderr().write_all(report.as_bytes()).unwrap();
}

async fn soak(time: Duration) -> String {
    let sites: Arc<[Site]> = sites::all().into();
    let load = Arc::new(Load::new(Arc::clone(&sites)));
    let end = Instant::now() + time;
    let clients: Vec<_> = (1..=CLIENTS)
        .map(|seed| tokio::spawn(Arc::clone(&load).client(seed, end)))
        .collect();
    let flat = Flat::watch(time).await;
    for client in clients {
        client.await.unwrap();
    }
    drop(load);

    let mut report = format!("soak: {} s, {flat}\n", time.as_secs());
    for site in &*sites {
        let drained = timeout(CLEANUP_LIMIT, site.handle.drain()).await;
        assert!(drained.is_ok(), "{}: stuck with {:?}", site.name, site.handle.stats());
        eventually(site.name, || {
            let stats = site.handle.stats();
            (stats.memories, stats.bytes, stats.claims, stats.waiters) == (0, 0, 0, 0)
        })
        .await;
        let (stats, sent) = (site.handle.stats(), site.sent());
        let decided = stats.admitted + stats.replayed + stats.refused() + stats.waits_abandoned;
        assert_eq!(decided, sent, "{}: {stats:?}", site.name);
        let ended = stats.completed + stats.failed + stats.abandoned + stats.superseded;
        assert_eq!(stats.admitted, ended, "{}: {stats:?}", site.name);
        assert_eq!(stats.passed, 0, "{}", site.name);
        report += &format!("  {}: {sent} offers, {stats:?}\n", site.name);
        site.assert_mixed(&stats);
    }
    // This task is still alive.
    eventually("tasks", || Handle::current().metrics().num_alive_tasks() == 1).await;
    collectors::end().await;
    flat.assert_flat();
    report
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < CLEANUP_LIMIT, "{what}: not cleaned up in time");
        sleep(Duration::from_millis(20)).await;
    }
}
