//! Random histories one after another, until so many steps are taken.
//!
//! A million steps in a release build and a tenth of it in a debug build, which is slow; `<NAME>_STEPS` sets another
//! number. Each walk has a seed of its own, which `<NAME>_SEED` sets. A failure prints the seed that brings it back at once,
//! and the shortest history found that still fails.

use std::{
    cell::Cell,
    env,
    io::{Write, stderr},
    panic::{set_hook, take_hook},
    time::{Duration, Instant},
};

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};
use tokio::runtime::{self, Runtime};

/// Histories under one seed.
const BATCH: u32 = 1000;

/// How long a history may be held up. moka's clock cannot be paused: in real time, memories go after 4 s at the least.
const IN_TIME: Duration = Duration::from_secs(3);

/// Walks, and prints how far. `run` takes one history, on a runtime whose clock is paused, and says how many steps it was.
pub(crate) fn walk<H: Strategy>(
    name: &str,
    histories: &H,
    run: impl Fn(&Runtime, &H::Value) -> Result<u64, TestCaseError>,
) {
    let setting = |what| {
        let value = env::var(format!("{}_{what}", name.to_uppercase())).ok()?;
        let number = value.replace('_', "").parse();
        Some(number.unwrap_or_else(|_| panic!("{value} is no number of {what}")))
    };
    let default = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
    let least = setting("STEPS").unwrap_or(default);
    let seed = setting("SEED").unwrap_or_else(|| getrandom::u64().unwrap() >> 16);

    let (start, hook) = (Instant::now(), take_hook());
    // The inner service panics on purpose.
    set_hook(Box::new(|_| ()));
    let walked = batches(least, seed, histories, run);
    set_hook(hook);
    let steps = walked.unwrap_or_else(|(seed, error)| {
        panic!("{}_SEED={seed} brings this back:\n{error}", name.to_uppercase());
    });
    assert!(steps >= least, "{steps} steps");
    // Past the harness, which keeps to itself what a test prints.
    let per_second = steps as f64 / start.elapsed().as_secs_f64();
    let line = format!("{name}: {steps} steps from seed {seed}, {per_second:.0} a second\n");
    stderr().write_all(line.as_bytes()).unwrap();
}

fn batches<H: Strategy>(
    least: u64,
    first_seed: u64,
    histories: &H,
    run: impl Fn(&Runtime, &H::Value) -> Result<u64, TestCaseError>,
) -> Result<u64, (u64, String)> {
    let steps = Cell::new(0);
    for seed in first_seed.. {
        if steps.get() >= least {
            break;
        }
        let config = Config {
            cases: BATCH,
            failure_persistence: None,
            ..Config::default()
        };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let runtime = runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let result = TestRunner::new_with_rng(config, rng).run(histories, |history| {
            steps.set(steps.get() + in_time(|| run(&runtime, &history))?);
            Ok(())
        });
        result.map_err(|error| (seed, error.to_string()))?;
    }
    Ok(steps.get())
}

/// Takes a history once more if the machine was too busy for it.
fn in_time(run: impl Fn() -> Result<u64, TestCaseError>) -> Result<u64, TestCaseError> {
    for _ in 0..100 {
        let start = Instant::now();
        let result = run();
        if start.elapsed() < IN_TIME {
            return result;
        }
    }
    Err(TestCaseError::fail("it takes too long"))
}
