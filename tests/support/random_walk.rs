//! Runs random histories until enough steps are taken.
//!
//! A release build takes a million steps. A debug build is slow and takes a tenth of that. `<NAME>_STEPS` sets another
//! number. Each run has its own seed, which `<NAME>_SEED` sets. A failure prints the seed that reproduces it at once,
//! and the shortest failing history found.

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

/// The number of histories per seed.
const BATCH: u32 = 1000;

/// Time limit of a history. moka's clock cannot be paused: in real time, memories expire after 4 s at the earliest.
const IN_TIME: Duration = Duration::from_secs(3);

/// Runs histories and prints the number of steps. `run` runs one history on a runtime with a paused clock, and returns
/// the number of its steps.
pub(crate) fn random_walk<H: Strategy>(
    name: &str,
    histories: &H,
    run: impl Fn(&Runtime, &H::Value) -> Result<u64, TestCaseError>,
) {
    let setting = |what| {
        let value = env::var(format!("{}_{what}", name.to_uppercase())).ok()?;
        let number = value.replace('_', "").parse();
        Some(number.unwrap_or_else(|_| panic!("{value} is not a number for {what}")))
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
        panic!("{}_SEED={seed} reproduces this:\n{error}", name.to_uppercase());
    });
    assert!(steps >= least, "{steps} steps");
    // Writes past the test harness, which captures the output of a test.
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

/// Repeats a history if the machine was too busy to run it in time.
fn in_time(run: impl Fn() -> Result<u64, TestCaseError>) -> Result<u64, TestCaseError> {
    for _ in 0..100 {
        let start = Instant::now();
        let result = run();
        if start.elapsed() < IN_TIME {
            return result;
        }
    }
    Err(TestCaseError::fail("the history takes too long"))
}
