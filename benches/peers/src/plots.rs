//! The plots.

use crate::{
    contenders::WHIP,
    memory::Memory,
    report::{Bar, Plot},
    steady::{Runs, Work},
    storm::{PEERS, Storm, Storms, TIMES},
};

pub(crate) fn all(storms: &Storms, runs: &[Runs], memory: &[Memory]) -> Vec<Plot> {
    let the_storm = format!("Storm of {PEERS} peers × {TIMES} equal offers");
    vec![
        Plot {
            name: "peers-storm-calls",
            title: format!("{the_storm}: how many were processed"),
            unit: "calls",
            scale: "linear",
            bars: storm(storms, |storm| storm.calls as f64, Some(PEERS as f64)),
        },
        Plot {
            name: "peers-storm-cpu",
            title: format!("{the_storm}: CPU of the server"),
            unit: "ms",
            scale: "linear",
            bars: storm(storms, |storm| storm.cpu.as_secs_f64() * 1e3, None),
        },
        Plot {
            name: "peers-duplicate",
            title: "A completed duplicate: CPU of the server".to_owned(),
            unit: "µs",
            scale: "linear",
            bars: steady(runs, Work::Duplicates),
        },
        Plot {
            name: "peers-new",
            title: "A new offer: CPU of the server".to_owned(),
            unit: "µs",
            scale: "linear",
            bars: steady(runs, Work::New),
        },
        Plot {
            name: "peers-memory",
            title: "What RSS grows by for each offer sent within the window".to_owned(),
            unit: "bytes an offer",
            scale: "log",
            bars: memory.iter().filter_map(|one| bar(&one.label(), one.bytes())).collect(),
        },
    ]
}

/// `limit` is what must hold of ours.
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
    // A plot has no code in its labels.
    let label = label.replace('`', "");
    value.map(|value| Bar {
        label,
        value,
        limit: None,
    })
}
