//! The tables of the report.

use std::thread::available_parallelism;

use crate::{
    args::Size,
    contenders::{ALL, BARE, Kind},
    load::Tally,
    memory::{Memory, PROBES, WINDOW},
    offers::Offers,
    report::Report,
    rounds::Rounds,
    steady::{self, Run, Runs, Work},
    storm::{self, PEERS, Storm, Storms, TIMES},
};

const MIB: f64 = 1024.0 * 1024.0;

/// Describes the measurement.
pub(crate) fn about(size: &Size, offers: &Offers) -> String {
    let rounds = match size.rounds {
        1 => "one round".to_owned(),
        n => format!("medians of {n} rounds in turn"),
    };
    format!(
        "Each contender is its own HTTP server around the same WHIP endpoint, one at a time, over loopback on {} \
         cores shared with the load. Offers are a real one from Chromium ({} bytes), varied for each peer. CPU is \
         the server's, over all its threads; {rounds}.",
        available_parallelism().map_or(0, usize::from),
        offers.length(),
    )
}

pub(crate) fn storm(report: &mut Report, storms: &Storms) {
    let rows = storms.iter().map(|(contender, rounds)| {
        let cpu = |storm: &Storm| storm.cpu.as_secs_f64() * 1e3;
        let millis = |value: fn(&Storm) -> f64| number(rounds.median(value), 0);
        vec![
            contender.label.to_owned(),
            range(rounds.whole().map(|storm| storm.calls)),
            answers(rounds, |storm| &storm.answers),
            millis(cpu),
            between(rounds.spread(cpu), 0),
            millis(|storm| storm.wall.as_secs_f64() * 1e3),
            millis(|storm| storm.sending.as_secs_f64() * 1e3),
        ]
    });
    report.table(
        &format!(
            "Storm: {PEERS} peers × {TIMES} equal `POST`s, each on its own connection and all completed at once; \
             the endpoint takes {} ms",
            storm::TAKES.as_millis()
        ),
        &[
            "contender",
            "calls of the endpoint",
            "answers",
            "CPU, ms",
            "min to max",
            "wall, ms",
            "requests completed within, ms",
        ],
        rows,
    );
}

pub(crate) fn steady(report: &mut Report, count: u64, work: Work, all: &[Runs]) {
    let cpu = |run: &Run| run.cpu.as_secs_f64() * 1e6;
    let bare = all.iter().find(|runs| runs.contender.name == BARE);
    let bare = bare.and_then(|runs| runs.of(work).median(cpu));
    let rows = all.iter().map(|runs| {
        let rounds = runs.of(work);
        let over = rounds.median(cpu).zip(bare).map(|(cpu, bare)| cpu - bare);
        vec![
            runs.contender.label.to_owned(),
            range(rounds.whole().map(|run| run.calls)),
            answers(rounds, |run| &run.answers),
            number(rounds.median(cpu), 1),
            between(rounds.spread(cpu), 1),
            over.map_or_else(|| number(None, 1), |over| format!("{over:+.1}")),
            number(rounds.median(|run| run.wall.as_secs_f64() * 1e6), 1),
        ]
    });
    let what = match work {
        Work::Duplicates => format!("{count} completed duplicates, of {} offers", steady::FIRST),
        Work::New => format!("{count} new peers with an offer each"),
    };
    report.table(
        &format!("{what}, over {} connections", steady::CONNECTIONS),
        &[
            "contender",
            "calls of the endpoint",
            "answers",
            "CPU per offer, µs",
            "min to max",
            "over bare, µs",
            "wall per offer, µs",
        ],
        rows,
    );
}

pub(crate) fn memory(report: &mut Report, count: u64, all: &[Memory]) {
    let rows = all.iter().map(|memory| {
        let sessions = memory.contender.sessions.then_some(memory.sessions as f64 / MIB);
        let known = match &memory.known {
            Ok(known) => format!("{:.1} %", *known as f64 * 100.0 / PROBES as f64),
            Err(error) => error.clone(),
        };
        vec![
            memory.label(),
            memory.offers.to_string(),
            number(sessions, 0),
            number(Some(memory.growth as f64 / MIB), 0),
            number(memory.bytes(), 0),
            known,
            number(Some(memory.time.as_secs_f64()), 1),
        ]
    });
    report.table(&format!(
            "Memory at {count} offers within a window of {} s, each contender in a fresh process, in-process without HTTP",
            WINDOW.as_secs()
        ), &[
            "contender",
            "offers taken",
            "sessions before, MiB",
            "RSS grown by, MiB",
            "bytes per offer sent",
            "still known at the end",
            "took, s",
        ], rows);
}

pub(crate) fn contenders(report: &mut Report, node: &str) {
    let rows = ALL.into_iter().map(|contender| {
        let version = match (contender.kind, contender.package) {
            (Kind::Original, _) => node,
            (Kind::App(_), package) => package.and_then(locked).unwrap_or("–"),
        };
        let texts = [contender.label, version, contender.set_up, contender.lacks];
        texts.map(ToOwned::to_owned).to_vec()
    });
    report.table(
        "The contenders",
        &["contender", "version", "set up as", "does not have"],
        rows,
    );
}

/// The version of a package in this package's lock file.
fn locked(package: &str) -> Option<&'static str> {
    let lock = include_str!("../Cargo.lock");
    let (_, after) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    after.split('"').next()
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:.digits$}"))
}

fn between(spread: Option<(f64, f64)>, digits: usize) -> String {
    spread.map_or("–".to_owned(), |(least, most)| {
        format!("{least:.digits$} to {most:.digits$}")
    })
}

fn range(values: impl Iterator<Item = u64>) -> String {
    let values: Vec<_> = values.collect();
    match (values.iter().min(), values.iter().max()) {
        (Some(least), Some(most)) if least == most => least.to_string(),
        (Some(least), Some(most)) => format!("{least} to {most}"),
        _ => "–".to_owned(),
    }
}

/// The answers of one round if all rounds agree, else of all rounds together. Adds the error of a failed round.
fn answers<T>(rounds: &Rounds<T>, of: fn(&T) -> &Tally) -> String {
    let mut tallies = rounds.whole().map(of);
    let first = tallies.next().cloned().unwrap_or_default();
    let text = if tallies.all(|tally| *tally == first) {
        first.to_string()
    } else {
        let mut all = Tally::default();
        rounds.whole().for_each(|round| all.add(of(round)));
        format!("{all} (in all rounds)")
    };
    match rounds.error() {
        Some(error) => format!("{text} – a round failed: {error}"),
        None => text,
    }
}
