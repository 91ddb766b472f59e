//! The memory of the process over time.

use std::{alloc::System, fmt, fs, time::Duration};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::time::{Instant, sleep_until};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MIB: f64 = 1024.0 * 1024.0;

/// Number of samples. Only their medians count, because a load that comes and goes is not a leak.
const SAMPLES: u32 = 300;

/// The bytes in use, early after the warm-up and late.
#[derive(Debug)]
pub(crate) struct Flat {
    live: Change,
    resident: Change,
}

/// Medians of the first and the last third of the samples.
#[derive(Debug)]
struct Change {
    early: f64,
    late: f64,
}

impl Flat {
    /// Samples the memory for `time`. The first sixth is the warm-up.
    pub(crate) async fn watch(time: Duration) -> Self {
        let (start, warm_up) = (Instant::now(), time / 6);
        let (mut live, mut resident) = ([0.0; SAMPLES as usize], [0.0; SAMPLES as usize]);
        for n in 0..SAMPLES {
            sleep_until(start + warm_up + (time - warm_up) * n / SAMPLES).await;
            (live[n as usize], resident[n as usize]) = (live_bytes(), resident_bytes());
        }
        Self {
            live: Change::of(&live),
            resident: Change::of(&resident),
        }
    }

    /// Asserts that live bytes grow by at most 5 % and 1 MiB. Resident bytes are never returned in full and may grow by
    /// 10 % and 8 MiB. A leak of a hundred bytes per peer would exceed that within a minute.
    pub(crate) fn assert_flat(&self) {
        for (what, Change { early, late }, share, bytes) in [
            ("live", &self.live, 1.05, MIB),
            ("resident", &self.resident, 1.1, 8.0 * MIB),
        ] {
            assert!(*late <= early * share + bytes, "{what} bytes grow: {self}");
        }
    }
}

impl Change {
    fn of(samples: &[f64]) -> Self {
        let third = samples.len() / 3;
        let median = |samples: &[f64]| {
            let mut sorted = samples.to_vec();
            sorted.sort_unstable_by(f64::total_cmp);
            sorted[sorted.len() / 2]
        };
        Self {
            early: median(&samples[..third]),
            late: median(&samples[samples.len() - third..]),
        }
    }
}

impl fmt::Display for Flat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [live, resident] = [&self.live, &self.resident].map(|change| (change.early / MIB, change.late / MIB));
        write!(
            f,
            "live {:.2} MiB, then {:.2}; resident {:.2} MiB, then {:.2}",
            live.0, live.1, resident.0, resident.1
        )
    }
}

fn live_bytes() -> f64 {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.wrapping_sub(stats.bytes_deallocated) as f64
}

fn resident_bytes() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc should be mounted");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.expect("VmRSS should be present") * 1024.0
}
