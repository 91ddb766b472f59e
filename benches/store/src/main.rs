//! Measures the Redis store on a server of its own:
//!
//! ```sh
//! benches/run store             # about two minutes
//! benches/store/run --quick     # seconds, writes no results
//! ```
//!
//! Client and server share the machine. So each figure is a ratio to what the same server does for the same connection in
//! the same round, or to `redis-benchmark` with the same script in the next one.

mod calls;
mod capacity;
mod offers;
#[path = "../../report/mod.rs"]
mod report;
mod server;
mod times;
mod wake;

use std::process::ExitCode;

use report::{Budget, Report};
use tower_offer_dedup::store::{RedisOptions, RedisStore};

use server::Server;

/// The amount of work.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) rounds: usize,
    /// Calls of each kind in a round.
    pub(crate) calls: usize,
    /// Requests that a capacity round sends.
    pub(crate) requests: usize,
    /// Offers of each layer in a round.
    pub(crate) offers: u32,
}

fn main() -> ExitCode {
    let size = if report::is_set("quick") {
        Size {
            rounds: 2,
            calls: 300,
            requests: 5_000,
            offers: 500,
        }
    } else {
        Size {
            rounds: 15,
            calls: 1_500,
            requests: 60_000,
            offers: 3_000,
        }
    };
    let mut report = Report::new(
        "The Redis store",
        "benches/run store",
        "One server on the same machine, without persistence. Percentiles are medians over alternating rounds, with the \
         least and the most round behind them; a ratio is the median of the ratios of all rounds. Answers have 1.5 KB. \
         Ours are sealed, and those of the crate `idempotent` are not.",
    );
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("the runtime should start");
    let claim = runtime.block_on(calls::measure(&server, size, &mut report));
    capacity::measure(&server, size, &mut report);
    runtime.block_on(offers::measure(&server, size, &mut report));
    runtime.block_on(wake::measure(&server, size, &mut report));
    for (which, ratio) in claim {
        report.check(&format!("claim, {which}, of a PING"), ratio, Budget::AtMost(4.0));
    }
    report.write("store")
}

/// Connects a node.
pub(crate) async fn node(server: &Server) -> RedisStore {
    let options = RedisOptions::new(server.url()).secret(b"a secret of all nodes");
    let options = options.call_timeout(std::time::Duration::from_secs(5));
    options.connect().await.expect("the server should be reached")
}
