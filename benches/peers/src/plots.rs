//! The plots of the report.

use crate::{
    contenders::WHIP,
    memory::Memory,
    report::{Bar, Report},
    steady::{Runs, Work},
    storm::{PEERS, Storm, Storms, TIMES},
};

pub(crate) fn all(report: &mut Report, storms: &Storms, runs: &[Runs], memory: &[Memory]) {
    let the_storm = format!("Storm of {PEERS} peers × {TIMES} equal offers");
    report.plot(
        "peers-storm-calls",
        &format!("{the_storm}: offers processed"),
        "calls",
        "linear",
        storm(storms, |storm| storm.calls as f64, Some(PEERS as f64)),
    );
    report.plot(
        "peers-storm-cpu",
        &format!("{the_storm}: CPU of the server"),
        "ms",
        "linear",
        storm(storms, |storm| storm.cpu.as_secs_f64() * 1e3, None),
    );
    report.plot(
        "peers-duplicate",
        "A completed duplicate: CPU of the server",
        "µs",
        "linear",
        steady(runs, Work::Duplicates),
    );
    report.plot(
        "peers-new",
        "A new offer: CPU of the server",
        "µs",
        "linear",
        steady(runs, Work::New),
    );
    report.plot(
        "peers-memory",
        "Growth of RSS per offer sent within the window",
        "bytes per offer",
        "log",
        memory.iter().filter_map(|one| bar(&one.label(), one.bytes())).collect(),
    );
}

/// `limit` is the budget of our own contender.
fn storm(storms: &Storms, value: fn(&Storm) -> f64, limit: Option<f64>) -> Vec<Bar> {
    let bars = storms.iter().filter_map(|(contender, rounds)| {
        let bar = bar(contender.label, rounds.median(value))?;
        let limit = limit.filter(|_| contender.name == WHIP);
        Some(Bar { limit, ..bar })
    });
    bars.collect()
}

fn steady(runs: &[Runs], work: Work) -> Vec<Bar> {
    let cpu = |runs: &Runs| runs.of(work).median(|run| run.cpu.as_secs_f64() * 1e6);
    runs.iter()
        .filter_map(|runs| bar(runs.contender.label, cpu(runs)))
        .collect()
}

fn bar(label: &str, value: Option<f64>) -> Option<Bar> {
    // The labels of a plot cannot show code.
    let label = label.replace('`', "");
    value.map(|value| Bar::new(label, value, None))
}
