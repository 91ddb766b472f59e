//! The slowest calls: after many offers have expired in silence, and at a steady rate of new offers.

mod report;
mod traffic;

use std::{
    array,
    convert::Infallible,
    future::{Ready, ready},
    hint::{black_box, spin_loop},
    process::ExitCode,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use moka::sync::Cache;
use report::{Bar, Budget, Report};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;
use tower::{Layer, Service, service_fn};
use tower_offer_dedup::{Fingerprint, Offer, OfferDedupLayer, Refuse};

/// An aiortc offer of 3 KB: audio and video.
const OFFER: &str = include_str!("../tests/data/corpus/offers/aiortc-av-first.sdp");

/// Enough for all offers that are remembered at once.
const MAX_MEMORY: u64 = 2 << 30;

const CALLS_AFTER_SILENCE: u64 = 20_000;
const STEADY_PER_SECOND: u64 = 20_000;

/// Takes a new offer of a peer, and answers it at once.
type Call = Box<dyn FnMut(u64)>;

/// The duration of a call in nanoseconds, by the clock and by the CPU time of its thread. CPU time excludes other
/// programs on the machine, and waiting for locks.
#[derive(Clone, Copy)]
struct Took {
    clock: u64,
    cpu: u64,
}

/// Durations of calls in nanoseconds, in ascending order.
struct Times(Vec<u64>);

fn main() -> ExitCode {
    let is_quick = report::is_set("quick");
    let mut report = Report::new(
        "The slowest calls",
        "cargo bench -p benches --bench stall",
        "New offers of 3 KB, each of a new peer and answered at once. \"Bare service\" is the layer's inner service, called \
         in the same way: its slowest calls come from the machine. \"Bare moka\" inserts into a cache with the layer's \
         settings. At the steady rate another thread runs its maintenance every millisecond, as for the layer. Both \
         memories hold all offers inside the window. CPU times are those of the calling thread alone. Budgets are \
         checked by the clock, which also shows a busy machine.",
    );
    silence(&mut report, if is_quick { &[100_000] } else { &[100_000, 1_000_000] });
    steady(&mut report, Duration::from_secs(if is_quick { 5 } else { 60 }));
    report.write("stall")
}

/// Lets offers expire while nobody calls, then times the next calls one by one.
fn silence(report: &mut Report, counts: &[u64]) {
    let mut rows = Vec::new();
    let mut bars = Vec::new();
    for &count in counts {
        // Filling must not take longer than the window, or the first offers expire before the last arrive.
        let window = Duration::from_secs(5 + count / 25_000);
        let runtime = runtime();
        let inside = runtime.enter();
        let with_runtime = after_silence(layer(window), count, window);
        drop(inside);
        drop(runtime);
        let without = after_silence(layer(window), count, window);
        let moka = after_silence(moka(window).0, count, window);
        let bare = after_silence(bare(), count, Duration::ZERO);

        for (what, [times, cpu], is_ours) in [
            ("layer in a runtime", with_runtime, true),
            ("layer without a runtime", without, true),
            ("bare moka", moka, false),
            ("bare service", bare, false),
        ] {
            let [worst, cpu] = [times.at(1.0), cpu.at(1.0)].map(|nanos| nanos as f64 / 1e6);
            let limit = is_ours.then_some(10.0);
            rows.push([
                format!("{what}, {count}"),
                format!("{:.1}", times.at(0.5) as f64 / 1e3),
                format!("{:.1}", times.at(0.999) as f64 / 1e3),
                format!("{worst:.3}"),
                format!("{cpu:.3}"),
                limit.map_or("–", |_| "10").to_owned(),
            ]);
            bars.push(Bar::new(format!("{what}, {count}"), worst, limit));
            if is_ours {
                report.check(
                    &format!("worst call, {what}, {count} offers expired (ms)"),
                    worst,
                    Budget::AtMost(10.0),
                );
            }
        }
    }
    let columns = [
        "what, and how many offers expired",
        "p50 (µs)",
        "p99.9 (µs)",
        "worst (ms)",
        "worst (ms of CPU)",
        "budget (ms)",
    ];
    let title = format!("The next {CALLS_AFTER_SILENCE} calls after offers expired in silence");
    report.table(&title, &columns, rows);
    report.plot(
        "stall-silence",
        "Worst call after offers expired in silence",
        "ms",
        "log",
        bars,
    );
}

/// Fills the memory, waits until everything has expired and a collector had time to run, and times the next calls.
fn after_silence(mut call: Call, count: u64, window: Duration) -> [Times; 2] {
    let start = Instant::now();
    (0..count).for_each(&mut call);
    assert!(
        start.elapsed() <= window || window.is_zero(),
        "filling took longer than the window"
    );
    thread::sleep(window + Duration::from_secs(2));
    let calls = count..count + CALLS_AFTER_SILENCE;
    both(&calls.map(|peer| timed(|| call(peer))).collect::<Vec<_>>())
}

/// Calls follow a schedule, however long earlier calls took. All three are called at every tick, each first in turn, so
/// that they meet the same disturbances.
fn steady(report: &mut Report, time: Duration) {
    let window = Duration::from_secs(1);
    let runtime = runtime();
    let inside = runtime.enter();
    let (insert, cache) = moka(window);
    runtime.spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let cache = Arc::clone(&cache);
            let collected = tokio::task::spawn_blocking(move || cache.run_pending_tasks());
            collected.await.expect("moka's maintenance should not panic");
        }
    });
    let mut calls = [layer(window), insert, bare()];
    let count = time.as_secs() * STEADY_PER_SECOND;
    let mut times: [_; 3] = array::from_fn(|_| Vec::with_capacity(count as usize));
    let mut late = Vec::with_capacity(count as usize);

    let tick = Duration::from_secs(1) / STEADY_PER_SECOND as u32;
    // Fills the window first.
    let warm_up = 2 * STEADY_PER_SECOND;
    let start = Instant::now();
    for at in 0..warm_up + count {
        let scheduled = start + tick * u32::try_from(at).expect("the run should be short");
        while Instant::now() < scheduled {
            spin_loop();
        }
        for turn in 0..3 {
            let which = (at as usize + turn) % 3;
            let took = timed(|| calls[which](at));
            if at >= warm_up {
                times[which].push(took);
                // Counts from the schedule, unless one of the others caused the wait.
                if which == 0 && turn == 0 {
                    late.push(scheduled.elapsed().as_nanos() as u64);
                }
            }
        }
    }
    drop(calls);
    drop(inside);
    runtime.shutdown_timeout(Duration::from_secs(10));

    let [layer, moka, bare] = times.map(|took| both(&took));
    let late = Times::new(late.into_iter());
    let limit = 100.0;
    let rows = [
        ("layer, CPU of the call", &layer[1], Some(limit)),
        ("layer, from the call", &layer[0], Some(limit)),
        ("layer, from when the call was due", &late, Some(limit)),
        ("bare moka, CPU of the call", &moka[1], None),
        ("bare moka, from the call", &moka[0], None),
        ("bare service, from the call", &bare[0], None),
    ];
    report.table(
        &format!(
            "{STEADY_PER_SECOND} new offers a second for {} s, in µs",
            time.as_secs()
        ),
        &["what", "p50", "p99", "p99.9", "max", "budget of p99.9"],
        rows.iter().map(|(what, times, limit)| {
            let figures = [0.5, 0.99, 0.999, 1.0].map(|share| format!("{:.1}", times.at(share) as f64 / 1e3));
            let budget = limit.map_or("–".to_owned(), |limit| limit.to_string());
            [(*what).to_owned()]
                .into_iter()
                .chain(figures)
                .chain([budget])
                .collect::<Vec<_>>()
        }),
    );
    let p999 = |times: &Times| times.at(0.999) as f64 / 1e3;
    let bars = rows
        .iter()
        .map(|(what, times, limit)| Bar::new(*what, p999(times), *limit))
        .collect();
    report.plot(
        "stall-steady",
        "p99.9 at 20,000 new offers a second, 1 s window",
        "µs",
        "log",
        bars,
    );
    for (what, times, limit) in rows {
        if let Some(limit) = limit {
            let what = format!("p99.9 at a steady rate, {what} (µs)");
            report.check(&what, p999(times), Budget::AtMost(limit));
        }
    }
}

fn layer(window: Duration) -> Call {
    let layer = OfferDedupLayer::builder()
        .offers(|peer: &u64| Some(Offer::new(*peer, Fingerprint::sdp(OFFER))))
        .answer(Refuse::with(|_| panic!("a new offer was refused")))
        .window(window)
        .max_memory(MAX_MEMORY)
        .build();
    let mut service = layer.layer(service_fn(answer));
    Box::new(move |peer| {
        let answer = service.call(peer).now_or_never();
        black_box(answer)
            .expect("the call should be ready at once")
            .expect("the call should succeed");
    })
}

fn bare() -> Call {
    let mut service = service_fn(answer);
    Box::new(move |peer| {
        let answer = service.call(peer).now_or_never();
        black_box(answer)
            .expect("the call should be ready at once")
            .expect("the call should succeed");
    })
}

/// An insert that remembers as much of an offer as the layer does.
fn moka(window: Duration) -> (Call, Arc<Cache<u128, [u64; 6]>>) {
    let cache = Arc::new(traffic::cache(MAX_MEMORY, window));
    let call = {
        let cache = Arc::clone(&cache);
        Box::new(move |peer| cache.insert(u128::from(peer), [peer; 6]))
    };
    (call, cache)
}

fn answer(_peer: u64) -> Ready<Result<(), Infallible>> {
    ready(Ok(()))
}

/// A server's runtime. The calls come from another thread; the layer's own tasks run here.
fn runtime() -> Runtime {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("the runtime should start")
}

fn timed(work: impl FnOnce()) -> Took {
    let (start, cpu) = (Instant::now(), cpu_nanos());
    work();
    Took {
        cpu: cpu_nanos() - cpu,
        clock: start.elapsed().as_nanos() as u64,
    }
}

/// CPU time of this thread, in nanoseconds.
fn cpu_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Splits durations into clock times and CPU times.
fn both(took: &[Took]) -> [Times; 2] {
    [
        Times::new(took.iter().map(|took| took.clock)),
        Times::new(took.iter().map(|took| took.cpu)),
    ]
}

impl Times {
    fn new(nanos: impl Iterator<Item = u64>) -> Self {
        let mut nanos: Vec<_> = nanos.collect();
        nanos.sort_unstable();
        Self(nanos)
    }

    /// The time that this share of the calls did not exceed.
    fn at(&self, share: f64) -> u64 {
        let rank = (self.0.len() as f64 * share).ceil() as usize;
        self.0[rank.clamp(1, self.0.len()) - 1]
    }
}
