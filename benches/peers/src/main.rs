//! The same work through tower-offer-dedup and through what a user would otherwise pick:
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml             # about ten minutes
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- --quick  # small, for CI
//! ```
//!
//! Each contender is a server in a process of its own, one at a time, under the same load over loopback; memory is measured
//! in a fresh process each, without HTTP. The result goes where those of the crate's own benchmarks go.

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

/// Where this package is.
pub(crate) fn package() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Where the crate is that this package is about.
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
        // The load comes from one thread, so that the server has a core to itself where there are two.
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

/// Everything, one after the other; what must hold of ours decides how it ends.
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

/// Runs it to its end, and waits for nothing else: a process that reads its stdin would wait for whoever started it.
fn run(runtime: &mut Builder, work: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let runtime = runtime.enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    done
}
