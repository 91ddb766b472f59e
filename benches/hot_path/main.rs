//! Measures the layer's cost per offer in one run, and compares it with the work that no such layer can avoid.
//!
//! B is that work: the peer's digest, the offer's fingerprint, one clock read and one moka `get`. The gate alone gets
//! digest and fingerprint ready made, so its B is the clock read and the `get`.

#[path = "../report/mod.rs"]
mod report;
#[path = "../traffic/mod.rs"]
mod traffic;

mod measure;
mod rows;

use std::{process::ExitCode, time::Duration};

use measure::Measured;
use report::{Bar, Budget, Report};
use rows::{Field, Scale};
use tokio::runtime;
use traffic::sample;

const ABOUT: &str = "Nanoseconds per offer, and their ratio to the work that no such layer can avoid, measured in turns. B is \
    the peer's digest, the offer's fingerprint, one clock read and one moka `get` (of a cache like the layer's, with \
    moka's own hasher). Where the layer processes a new offer, one moka `insert` is added. The gate alone gets digest \
    and fingerprint ready made, and so does its reference. The bare service is the reference for requests that are not \
    offers; all other work comes on top of it. Times are medians. A ratio is the median of the ratios of all rounds.";

/// One path of an offer through the layer.
struct Row {
    name: &'static str,
    budget: Option<f64>,
    measure: fn(&Field) -> Measured,
}

const NOT_AN_OFFER: &str = "not an offer / bare service";

const ROWS: [Row; 9] = [
    Row::new(NOT_AN_OFFER, None, Field::pass),
    Row::new("duplicate, processed / B", Some(1.3), |field| field.processed(false)),
    Row::new("duplicate, in flight / B", Some(1.0), Field::in_flight),
    Row::new("duplicate, replayed / B", None, Field::replayed),
    Row::new("new offer, new peer / (B + insert)", Some(1.4), |field| {
        field.new_peer(false)
    }),
    Row::new("new offer, known peer / (B + insert)", Some(1.4), Field::known_peer),
    Row::new("two offers, one queued / 2 B", None, Field::queued),
    Row::new("gate alone: duplicate, processed / its B", Some(1.5), |field| {
        field.processed(true)
    }),
    Row::new("gate alone: new offer / (its B + insert)", Some(2.0), |field| {
        field.new_peer(true)
    }),
];

const COOLING: Row = Row::new("new offer, new peer, 2 s cooldown / (B + insert)", Some(1.4), |field| {
    field.new_peer(false)
});

impl Row {
    const fn new(name: &'static str, budget: Option<f64>, measure: fn(&Field) -> Measured) -> Self {
        Self { name, budget, measure }
    }

    fn is_of_gate_alone(&self) -> bool {
        self.name.starts_with("gate alone")
    }

    fn line(&self, second: String, measured: Measured) -> Vec<String> {
        vec![
            self.name.into(),
            second,
            format!("{:.0}", measured.layer_nanos),
            format!("{:.0}", measured.reference_nanos),
            format!("{:.2}", measured.ratio),
            self.budget
                .map_or_else(|| "none".to_owned(), |budget| budget.to_string()),
        ]
    }
}

fn main() -> ExitCode {
    let (rounds, crowds) = if report::is_set("quick") {
        (21, &[1_000, 20_000][..])
    } else {
        (101, &[1_000, 100_000, 1_000_000][..])
    };
    // The layer collects expired entries in the background, as in a server.
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("the runtime should start");
    let _runtime = runtime.enter();
    let mut report = Report::new("Hot path", "cargo bench -p benches --bench hot_path", ABOUT);

    let mut gate_alone = Vec::new();
    for &peers in crowds {
        gate_alone.push((peers, crowd(&mut report, peers, rounds)));
    }
    sizes(&mut report, crowds[1], rounds);
    growth(&mut report, &gate_alone);
    report.write("hot_path")
}

/// Measures all rows at this number of live peers. Returns the nanoseconds of the gate alone.
fn crowd(report: &mut Report, peers: u32, rounds: u32) -> Vec<f64> {
    let (sample, threads) = (sample(3500), 1);
    let scale = Scale { peers, threads, rounds };
    let mut plain = Field::new(scale, sample, Duration::ZERO);
    let mut cooling = Field::new(scale, sample, Duration::from_secs(2));
    let (mut lines, mut bars, mut gate_alone) = (Vec::new(), Vec::new(), Vec::new());
    let mut passed = Vec::new();
    for threads in [1, 2] {
        (plain, cooling) = (plain.with_threads(threads), cooling.with_threads(threads));
        let rows = ROWS.iter().map(|row| (row, &plain)).chain([(&COOLING, &cooling)]);
        for (row, field) in rows {
            let measured = (row.measure)(field);
            lines.push(row.line(threads.to_string(), measured));
            if row.name == NOT_AN_OFFER {
                passed.push(measured.layer_nanos);
            }
            let Some(budget) = row.budget else { continue };
            let what = format!("{}, {peers} peers, {threads} threads", row.name);
            report.check(&what, measured.ratio, Budget::AtMost(budget));
            if threads == 1 {
                bars.push(Bar::new(row.name, measured.ratio, row.budget));
                gate_alone.extend(row.is_of_gate_alone().then_some(measured.layer_nanos));
            }
        }
    }
    if let [one, two] = passed[..] {
        let what = format!("not an offer, {peers} peers, nanoseconds on two threads over those on one");
        report.check(&what, two / one, Budget::AtMost(1.5));
    }
    let title = format!(
        "{peers} live peers, offers of {} bytes ({})",
        sample.sdp.len(),
        sample.name
    );
    let columns = ["", "threads", "layer, ns", "reference, ns", "ratio", "budget"];
    report.table(&title, &columns, lines);
    report.plot(&format!("hot-path-{peers}"), &title, "ratio", "linear", bars);
    gate_alone
}

/// Measures the rows that depend on size, with the smallest and the largest offers. The budgets are for 3.5 KB.
fn sizes(report: &mut Report, peers: u32, rounds: u32) {
    let threads = 1;
    let lines = [600, 8000].map(|bytes| {
        let sample = sample(bytes);
        let field = Field::new(Scale { peers, threads, rounds }, sample, Duration::ZERO);
        let rows = ROWS.iter().filter(|row| !row.is_of_gate_alone());
        let line = |row: &Row| row.line(format!("{} ({})", sample.sdp.len(), sample.name), (row.measure)(&field));
        rows.map(line).collect::<Vec<_>>()
    });
    let columns = ["", "bytes", "layer, ns", "reference, ns", "ratio", "budget at 3.5 KB"];
    let title = format!("Other sizes of offers, {peers} live peers");
    report.table(&title, &columns, lines.into_iter().flatten());
}

/// The growth of the gate's time from the smallest to the largest number of peers.
fn growth(report: &mut Report, gate_alone: &[(u32, Vec<f64>)]) {
    let ((few, least), (many, most)) = (&gate_alone[0], &gate_alone[gate_alone.len() - 1]);
    let rows = ROWS.iter().filter(|row| row.is_of_gate_alone());
    let mut lines = Vec::new();
    for (row, (least, most)) in rows.zip(least.iter().zip(most)) {
        let growth = most / least;
        report.check(
            &format!("{}, {few} to {many} peers", row.name),
            growth,
            Budget::AtMost(6.0),
        );
        lines.push([
            row.name.to_owned(),
            format!("{few} to {many}"),
            format!("{growth:.1}"),
            "6".to_owned(),
        ]);
    }
    let columns = ["", "peers", "times as long", "budget"];
    report.table("The gate alone, by the number of live peers", &columns, lines);
}
