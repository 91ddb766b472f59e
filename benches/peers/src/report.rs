//! The tables and plots, as Markdown and as JSON.

use std::{fmt::Write, fs, path::PathBuf, time::Duration};

use serde::Serialize;

use crate::{
    args::Size,
    contenders::{ALL, BARE, Contender, Kind, WHIP},
    load::Tally,
    memory::{Memory, PROBES, WINDOW},
    offers::Offers,
    steady::{self, Run, Runs},
    storm::{self, PEERS, Storm, Storms, TIMES},
};

/// The format that all benchmarks of the crate share.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    title: &'static str,
    command: String,
    about: String,
    tables: Vec<Table>,
    plots: Vec<Plot>,
}

#[derive(Debug, Serialize)]
struct Table {
    title: String,
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

#[derive(Debug, Serialize)]
struct Plot {
    name: &'static str,
    title: String,
    unit: &'static str,
    scale: &'static str,
    bars: Vec<Bar>,
}

#[derive(Debug, Serialize)]
struct Bar {
    label: String,
    value: f64,
    limit: Option<f64>,
}

const MIB: f64 = 1024.0 * 1024.0;

impl Report {
    pub(crate) fn new(
        size: &Size,
        node: &str,
        offers: &Offers,
        storms: &Storms,
        steady: &[Runs],
        memory: &[Memory],
    ) -> Self {
        let quick = if size.quick { " -- --quick" } else { "" };
        Self {
            title: "Beside the alternatives",
            command: format!("cargo run --release --manifest-path benches/peers/Cargo.toml{quick}"),
            about: format!(
                "Each contender is an HTTP server of its own around the same WHIP endpoint, one at a time, on {} cores \
                 that it shares with the load; offers are a real one of Chromium's ({} bytes), made each peer's own. \
                 CPU is the server's, over all its threads; medians of {} rounds in turn.",
                std::thread::available_parallelism().map_or(0, usize::from),
                offers.length(),
                size.rounds,
            ),
            tables: vec![
                storm_table(storms),
                steady_table(size.duplicates, steady::Work::Duplicates, steady),
                steady_table(size.new_offers, steady::Work::New, steady),
                memory_table(size, memory),
                contender_table(node),
            ],
            plots: plots(storms, steady, memory),
        }
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("# {}\n\n`{}`\n\n{}\n", self.title, self.command, self.about);
        for table in &self.tables {
            let lines = [table.columns.iter().map(|column| (*column).to_owned()).collect()];
            let rule = [vec!["---".to_owned(); table.columns.len()]];
            write!(text, "\n## {}\n\n", table.title).expect("a string takes all");
            for row in lines.iter().chain(&rule).chain(&table.rows) {
                writeln!(text, "| {} |", row.join(" | ")).expect("a string takes all");
            }
        }
        text
    }

    /// Writes it to the crate's target directory.
    pub(crate) fn write(&self) -> Result<PathBuf, String> {
        let folder = crate::root().join("target/benchmarks");
        let path = folder.join("peers.json");
        let json = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(&path, json + "\n"))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }
}

fn storm_table(storms: &Storms) -> Table {
    let rows = storms.iter().map(|(contender, rounds)| {
        let (good, error) = sorted(rounds);
        let mut row = vec![contender.label.to_owned()];
        row.extend(match median(&good, |storm| storm.cpu) {
            Some(cpu) => {
                let calls = good.iter().map(|storm| storm.calls);
                [
                    range(calls),
                    answers(good.iter().map(|storm| &storm.answers)),
                    millis(Some(cpu)),
                    millis(median(&good, |storm| storm.wall)),
                    millis(median(&good, |storm| storm.sending)),
                ]
            }
            None => failed(),
        });
        noting(row, error)
    });
    Table {
        title: format!(
            "Storm: {PEERS} peers × {TIMES} equal `POST`s, all open at once, the endpoint takes {} ms",
            storm::TAKES.as_millis()
        ),
        columns: vec![
            "contender",
            "calls of the endpoint",
            "answers",
            "CPU, ms",
            "wall, ms",
            "requests completed within, ms",
        ],
        rows: rows.collect(),
    }
}

fn steady_table(count: u64, work: steady::Work, all: &[Runs]) -> Table {
    let bare = all.iter().find(|runs| runs.contender.name == BARE);
    let bare = bare.and_then(|runs| median(&sorted(runs.of(work)).0, |run| run.cpu));
    let rows = all.iter().map(|runs| {
        let (good, error) = sorted(runs.of(work));
        let mut row = vec![runs.contender.label.to_owned()];
        row.extend(match median(&good, |run| run.cpu) {
            Some(cpu) => {
                let over = bare.map(|bare| (cpu.as_nanos() as f64 - bare.as_nanos() as f64) / 1e3);
                [
                    range(good.iter().map(|run| run.calls)),
                    answers(good.iter().map(|run| &run.answers)),
                    micros(Some(cpu)),
                    over.map_or("–".to_owned(), |over| format!("{over:+.1}")),
                    micros(median(&good, |run| run.wall)),
                ]
            }
            None => failed(),
        });
        noting(row, error)
    });
    let connections = steady::CONNECTIONS;
    let title = match work {
        steady::Work::Duplicates => format!(
            "{count} completed duplicates, of {} offers, over {connections} connections",
            steady::FIRST
        ),
        steady::Work::New => format!("{count} new peers with an offer each, over {connections} connections"),
    };
    Table {
        title,
        columns: vec![
            "contender",
            "calls of the endpoint",
            "answers",
            "CPU an offer, µs",
            "over bare, µs",
            "wall an offer, µs",
        ],
        rows: rows.collect(),
    }
}

impl Runs {
    fn of(&self, work: steady::Work) -> &[Result<Run, String>] {
        match work {
            steady::Work::Duplicates => &self.duplicates,
            steady::Work::New => &self.new_offers,
        }
    }
}

fn memory_table(size: &Size, all: &[Memory]) -> Table {
    let rows = all.iter().map(|memory| {
        vec![
            memory.label(),
            memory.offers.to_string(),
            match memory.contender.sessions {
                true => format!("{:.0}", memory.sessions as f64 / MIB),
                false => "–".to_owned(),
            },
            format!("{:.0}", memory.growth as f64 / MIB),
            memory.bytes().map_or("–".to_owned(), |bytes| format!("{bytes:.0}")),
            match &memory.known {
                Ok(known) => format!("{:.1} %", *known as f64 * 100.0 / PROBES as f64),
                Err(error) => error.clone(),
            },
            format!("{:.1}", memory.time.as_secs_f64()),
        ]
    });
    Table {
        title: format!(
            "Memory at {} offers within a window of {} s, each contender in a fresh process, without HTTP",
            size.remembered,
            WINDOW.as_secs()
        ),
        columns: vec![
            "contender",
            "offers taken",
            "sessions before, MiB",
            "RSS grown by, MiB",
            "bytes an offer sent",
            "still known at the end",
            "took, s",
        ],
        rows: rows.collect(),
    }
}

fn contender_table(node: &str) -> Table {
    let rows = ALL.into_iter().map(|contender| {
        let version = match (contender.kind, contender.package) {
            (Kind::Original, _) => node.to_owned(),
            (Kind::App(_), Some(package)) => locked(package).unwrap_or("–").to_owned(),
            (Kind::App(_), None) => "–".to_owned(),
        };
        let texts = [contender.label, &version, contender.set_up, contender.lacks];
        texts.map(ToOwned::to_owned).to_vec()
    });
    Table {
        title: "The contenders".to_owned(),
        columns: vec!["contender", "version", "set up as", "does not have"],
        rows: rows.collect(),
    }
}

/// The version of a package in this package's lock file.
fn locked(package: &str) -> Option<&'static str> {
    let lock = include_str!("../Cargo.lock");
    let (_, after) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    after.split('"').next()
}

fn plots(storms: &Storms, steady: &[Runs], memory: &[Memory]) -> Vec<Plot> {
    let storm = |value: fn(&Storm) -> f64, limit: fn(&Contender) -> Option<f64>| {
        let bars = storms.iter().filter_map(move |(contender, rounds)| {
            bar(
                contender.label,
                middle(sorted(rounds).0.into_iter().map(value)),
                limit(contender),
            )
        });
        bars.collect()
    };
    let cost = |work| {
        let bars = steady.iter().filter_map(move |runs| {
            let costs = sorted(runs.of(work))
                .0
                .into_iter()
                .map(|run| run.cpu.as_nanos() as f64 / 1e3);
            bar(runs.contender.label, middle(costs), None)
        });
        bars.collect()
    };
    let exact = |contender: &Contender| (contender.name == WHIP).then_some(PEERS as f64);
    let plot = |name, title: &str, unit, scale, bars| Plot {
        name,
        title: title.to_owned(),
        unit,
        scale,
        bars,
    };
    vec![
        plot(
            "peers-storm-calls",
            &format!("Storm of {PEERS} peers × {TIMES} equal offers: how many were processed"),
            "calls",
            "linear",
            storm(|storm| storm.calls as f64, exact),
        ),
        plot(
            "peers-storm-cpu",
            &format!("Storm of {PEERS} peers × {TIMES} equal offers: CPU of the server"),
            "ms",
            "log",
            storm(|storm| storm.cpu.as_micros() as f64 / 1e3, |_| None),
        ),
        plot(
            "peers-duplicate",
            "A completed duplicate: CPU of the server",
            "µs",
            "linear",
            cost(steady::Work::Duplicates),
        ),
        plot(
            "peers-new",
            "A new offer: CPU of the server",
            "µs",
            "linear",
            cost(steady::Work::New),
        ),
        plot(
            "peers-memory",
            "What RSS grows by for each offer in the window",
            "bytes an offer",
            "log",
            memory
                .iter()
                .filter_map(|memory| bar(&memory.label(), memory.bytes(), None))
                .collect(),
        ),
    ]
}

fn bar(label: &str, value: Option<f64>, limit: Option<f64>) -> Option<Bar> {
    // Labels of plots are plain text.
    let label = label.replace('`', "");
    value.map(|value| Bar { label, value, limit })
}

/// The rounds that went well, and what stopped the others.
fn sorted<T>(rounds: &[Result<T, String>]) -> (Vec<&T>, Option<&str>) {
    let good = rounds.iter().filter_map(|round| round.as_ref().ok()).collect();
    let error = rounds.iter().find_map(|round| round.as_ref().err());
    (good, error.map(String::as_str))
}

fn median<T>(rounds: &[&T], value: fn(&T) -> Duration) -> Option<Duration> {
    middle(rounds.iter().map(|round| value(round).as_secs_f64())).map(Duration::from_secs_f64)
}

fn middle(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn range(values: impl Iterator<Item = u64> + Clone) -> String {
    match (values.clone().min(), values.max()) {
        (Some(least), Some(most)) if least == most => least.to_string(),
        (Some(least), Some(most)) => format!("{least} to {most}"),
        _ => "–".to_owned(),
    }
}

/// The answers of one round, where all are alike; else of all rounds together.
fn answers<'a>(rounds: impl Iterator<Item = &'a Tally>) -> String {
    let rounds: Vec<_> = rounds.collect();
    match rounds.split_first() {
        Some((first, rest)) if rest.iter().all(|tally| tally == first) => first.to_string(),
        _ => {
            let mut all = Tally::default();
            rounds.iter().for_each(|tally| all.add(tally));
            format!("{all} (all rounds)")
        }
    }
}

fn millis(time: Option<Duration>) -> String {
    time.map_or("–".to_owned(), |time| format!("{:.0}", time.as_secs_f64() * 1e3))
}

fn micros(time: Option<Duration>) -> String {
    time.map_or("–".to_owned(), |time| format!("{:.1}", time.as_secs_f64() * 1e6))
}

fn failed() -> [String; 5] {
    std::array::from_fn(|_| "–".to_owned())
}

/// What stopped a round is shown where the answers are.
fn noting(mut row: Vec<String>, error: Option<&str>) -> Vec<String> {
    if let Some(error) = error {
        row[2] = format!("{}; a round failed: {error}", row[2]);
    }
    row
}
