//! Measures the original problem: headless Chromium pages rejoin a room while the network repeats each offer or
//! loses an answer.
//!
//! `examples/trial/run` installs Chromium, builds the trial and the room server, and starts the trial. `--help` lists
//! the options.

use std::{fs, io, process::ExitCode};

use clap::Parser;
use e2e::chromium::Chromium;
use futures_util::{StreamExt, stream::iter};

use crate::{args::Settings, pair::Pair, report::Report};

mod args;
#[path = "../../room/src/chance.rs"]
mod chance;
mod figures;
mod pair;
mod plot;
mod report;
mod stages;
#[path = "../../shared/stop.rs"]
mod stop;

fn main() -> ExitCode {
    run(&Settings::parse())
}

#[tokio::main(flavor = "current_thread")]
async fn run(settings: &Settings) -> ExitCode {
    // Whatever ends first, dropping `measure` stops the servers and the browsers.
    let report = tokio::select! {
        report = measure(settings) => report,
        () = stop::requested() => return fail("interrupted"),
    };
    print!("{}", report.markdown());
    match write(settings, &report) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("cannot write to {}: {error}", settings.into.display())),
    }
}

async fn measure(settings: &Settings) -> Report {
    eprintln!("{}", settings.command());
    let chromium = Chromium::start().await;
    // Starts one pair after another, because browsers that start at once only slow each other down.
    let pairs: Vec<Pair> = iter(0..settings.pairs)
        .then(async |_| Pair::open(&chromium).await)
        .collect()
        .await;
    let browser = pairs[0].version().await;
    let measured = stages::run(settings, &pairs).await;
    chromium.quit(pairs.into_iter().flat_map(Pair::pages)).await;
    Report::new(settings, &browser, measured)
}

fn write(settings: &Settings, report: &Report) -> io::Result<()> {
    fs::create_dir_all(&settings.into)?;
    fs::write(settings.into.join("trial.json"), format!("{:#}\n", report.json()))?;
    fs::write(settings.into.join("trial.md"), report.markdown())?;
    fs::write(settings.into.join("trial.svg"), plot::svg(report))
}

fn fail(message: &str) -> ExitCode {
    eprintln!("trial: {message}");
    ExitCode::FAILURE
}
