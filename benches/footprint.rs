//! Memory use of the layer: allocations per operation, and live bytes per peer.

mod report;
mod traffic;

use std::{
    alloc::System,
    convert::Infallible,
    future::pending,
    pin::pin,
    process::ExitCode,
    task::{Context, Waker},
    thread,
    time::Duration,
};

use report::{Bar, Budget, Report};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};
use tower::{Layer as _, Service, service_fn};
use tower_offer_dedup::{Fingerprint, OfferDedupHandle};
use traffic::{Bare, Found, HOUR, Request, layer, queueing_layer, replaying_layer, sample, send};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Number of operations that are counted, and of peers that are known before.
const OPERATIONS: u32 = 10_000;

/// Allocations of many operations.
struct Allocations {
    median: u32,
    mean: f64,
}

fn main() -> ExitCode {
    let mut report = Report::new(
        "Memory",
        "cargo bench -p benches --bench footprint",
        "Counted by the allocator. The inner service is trivial and allocates nothing. The mean exceeds the \
         median where tables grow now and then, and where moka's maintenance allocates, on every 64th lookup. Live bytes \
         are all allocated bytes while so many peers are remembered, divided by the peers. A cooling peer also has an entry \
         in the lock table: at a steady rate one peer in five, with the default window and cooldown. The row shows as many \
         peers that all cool at once.",
    );
    allocations(&mut report);
    let scales: &[u32] = if report::is_set("quick") {
        &[1_000, 100_000]
    } else {
        &[1_000, 100_000, 1_000_000]
    };
    live_bytes(&mut report, scales);
    report.write("footprint")
}

fn allocations(report: &mut Report) {
    let [sdp, other] = {
        let sample = sample(3500);
        [sample.sdp, sample.other].map(Found::Sdp)
    };
    let known = layer(Duration::ZERO);
    let mut service = known.layer(Bare);
    for peer in 0..OPERATIONS {
        send(&mut service, Request::new(peer, sdp));
    }
    let mut rows = vec![
        (
            "not an offer",
            count(|peer| send(&mut service, Request::new(peer, Found::Nothing))),
            Some(0.0),
        ),
        (
            "duplicate, processed",
            count(|peer| !send(&mut service, Request::new(peer, sdp))),
            Some(0.0),
        ),
    ];
    {
        let flying = layer(Duration::ZERO);
        let mut service = flying.layer(service_fn(|_: Request| pending::<Result<bool, Infallible>>()));
        let held: Vec<_> = (0..OPERATIONS)
            .map(|peer| service.call(Request::new(peer, sdp)))
            .collect();
        let refused = count(|peer| {
            let call = pin!(service.call(Request::new(peer, sdp)));
            call.poll(&mut Context::from_waker(Waker::noop())).is_ready()
        });
        rows.push(("duplicate, in flight", refused, Some(0.0)));
        drop(held);
    }
    rows.push((
        "new offer, known peer",
        count(|peer| send(&mut service, Request::new(peer, other))),
        None,
    ));
    rows.push((
        "new offer, new peer",
        count(|peer| send(&mut service, Request::new(OPERATIONS + peer, sdp))),
        None,
    ));
    rows.push(("duplicate, replayed", replayed(sdp), None));
    rows.push(("two offers, one queued", queued(sdp, other), None));

    for (what, allocations, limit) in &rows {
        if let Some(limit) = limit {
            report.check(
                &format!("allocations, {what}"),
                f64::from(allocations.median),
                Budget::AtMost(*limit),
            );
        }
    }
    let rows = rows.into_iter().map(|(what, allocations, limit)| {
        let budget = limit.map_or("–".to_owned(), |limit| limit.to_string());
        [
            what.to_owned(),
            allocations.median.to_string(),
            format!("{:.2}", allocations.mean),
            budget,
        ]
    });
    report.table(
        "Allocations per operation",
        &["what", "median", "mean", "budget of the median"],
        rows,
    );
}

fn replayed(sdp: Found) -> Allocations {
    let mut service = replaying_layer().layer(Bare);
    for peer in 0..OPERATIONS {
        send(&mut service, Request::new(peer, sdp));
    }
    count(|peer| send(&mut service, Request::new(peer, sdp)))
}

/// Runs from both calls to the place in the queue, then drops the futures.
fn queued(sdp: Found, other: Found) -> Allocations {
    let layer = queueing_layer();
    let mut service = layer.layer(service_fn(|_: Request| pending::<Result<bool, Infallible>>()));
    count(|peer| {
        let first = service.call(Request::new(peer, sdp));
        let second = service.call(Request::new(peer, other));
        drop((first, second));
        true
    })
}

/// Counts the allocations of many operations. Every operation must return `true`.
fn count(mut operation: impl FnMut(u32) -> bool) -> Allocations {
    let mut counts: Vec<_> = (0..OPERATIONS)
        .map(|peer| {
            let region = Region::new(ALLOCATOR);
            assert!(operation(peer), "an operation failed");
            let change = region.change();
            change.allocations + change.reallocations
        })
        .collect();
    counts.sort_unstable();
    Allocations {
        median: counts[counts.len() / 2] as u32,
        mean: counts.iter().sum::<usize>() as f64 / f64::from(OPERATIONS),
    }
}

fn live_bytes(report: &mut Report, scales: &[u32]) {
    let mut rows = Vec::new();
    let mut bars = Vec::new();
    for &peers in scales {
        for (what, cooldown) in [("processed", Duration::ZERO), ("processed, cooling", HOUR)] {
            let bytes = live_bytes_per_peer(peers, cooldown);
            let limit = (peers == 1_000_000 && cooldown.is_zero()).then_some(400.0);
            if let Some(limit) = limit {
                report.check("live bytes per peer at a million", bytes, Budget::AtMost(limit));
            }
            rows.push([
                what.to_owned(),
                peers.to_string(),
                format!("{bytes:.0}"),
                limit.map_or("–".to_owned(), |limit| limit.to_string()),
            ]);
            bars.push(Bar::new(format!("{what}, {peers} peers"), bytes, limit));
        }
    }
    report.table(
        "Live bytes per peer",
        &["peers", "how many", "bytes per peer", "budget"],
        rows,
    );
    report.plot("footprint", "Live bytes per peer", "bytes", "linear", bars);
}

fn live_bytes_per_peer(peers: u32, cooldown: Duration) -> f64 {
    let region = Region::new(ALLOCATOR);
    let layer = layer(cooldown);
    let mut service = layer.layer(Bare);
    let fingerprint = Fingerprint::exact(b"v=0");
    for peer in 0..peers {
        let key = Request::new(peer, Found::Nothing).peer();
        assert!(send(&mut service, Request::new(peer, Found::Ready(key, fingerprint))));
    }
    assert_remembered(&layer.handle(), peers);
    // moka's next maintenance frees what the growth of its tables left behind.
    thread::sleep(Duration::from_secs(1));
    let bytes = live(&region.change());
    assert_remembered(&layer.handle(), peers);
    bytes / f64::from(peers)
}

fn assert_remembered(handle: &OfferDedupHandle, peers: u32) {
    assert_eq!(handle.stats().memories, u64::from(peers));
}

fn live(change: &Stats) -> f64 {
    change.bytes_allocated as f64 - change.bytes_deallocated as f64
}
