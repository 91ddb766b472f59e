//! Compares tower-offer-dedup with its alternatives under the same load:
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml             # about ten minutes
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- --quick  # small, for CI
//! ```
//!
//! Each contender runs as a server in its own process, one at a time, under the same load over loopback. Memory is
//! measured in a fresh process each, without HTTP. The result goes where the results of the crate's own benchmarks go.

mod args;
mod checks;
mod contenders;
mod endpoint;
mod fill;
mod load;
mod memory;
mod offers;
mod plots;
mod process;
#[path = "../../report/mod.rs"]
mod report;
mod rounds;
mod server;
mod steady;
mod storm;
mod tables;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use tokio::runtime::Builder;

use self::{args::Command, report::Report, steady::Work};

/// The folder of this package.
pub(crate) fn package() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of the crate that this package measures.
pub(crate) fn root() -> PathBuf {
    let package = package();
    package.ancestors().nth(2).map(Path::to_path_buf).unwrap_or(package)
}

fn main() -> ExitCode {
    let done = Command::parse(std::env::args_os().skip(1)).and_then(|command| match command {
        Command::Help => {
            print!("{}", args::HELP);
            Ok(())
        }
        // The load uses one thread, so that the server has a core to itself on a machine with two.
        Command::Compare(size) => run(&mut Builder::new_current_thread(), compare(size)),
        Command::Serve(serve) => run(&mut Builder::new_multi_thread(), server::run(serve)),
        Command::Fill(fill) => run(&mut Builder::new_multi_thread(), fill::run(fill)),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs everything in turn. Fails if a check on our own contenders fails.
async fn compare(size: args::Size) -> Result<(), String> {
    let node = contenders::node()?;
    let offers = offers::Offers::load()?;
    load::allow_connections(storm::CONNECTIONS)?;

    let storms = storm::run(&size, &offers).await;
    let steady = steady::run(&size, &offers).await;
    let memory = memory::run(&size).await?;

    let mut report = Report::new(
        "Beside the alternatives",
        &size.command(),
        &tables::about(&size, &offers),
    );
    tables::storm(&mut report, &storms);
    tables::steady(&mut report, size.duplicates, Work::Duplicates, &steady);
    tables::steady(&mut report, size.new_offers, Work::New, &steady);
    tables::memory(&mut report, size.remembered, &memory);
    tables::contenders(&mut report, &node);
    plots::all(&mut report, &storms, &steady, &memory);
    report.write("peers");
    checks::all(&size, &storms, &steady, &memory)
}

/// Runs `work` and waits for nothing else. A pending read of stdin would keep the process alive until its parent ends.
fn run(runtime: &mut Builder, work: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let runtime = runtime.enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    done
}
