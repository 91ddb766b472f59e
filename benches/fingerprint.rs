//! Compares `Fingerprint::sdp` with hashing the same bytes and with parsing them, on real offers.

mod report;

use std::{alloc::System, fs, hint::black_box, io::Cursor, path::Path, process::ExitCode, time::Instant};

use report::{Bar, Budget, Report};
use sdp::SessionDescription;
use sha2::{Digest, Sha256};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower_offer_dedup::Fingerprint;
use xxhash_rust::xxh3::xxh3_128;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Time of one contender's turn in a round, in nanoseconds.
const NANOS_PER_TURN: f64 = 1e6;

/// The work on an offer's text.
type Work = fn(&str);

const CONTENDERS: [(&str, Work); 4] = [
    ("`Fingerprint::sdp`", fingerprint),
    ("xxh3-128", xxh3),
    ("SHA-256", sha256),
    ("the `sdp` crate", parse),
];

struct Sample {
    name: String,
    texts: Vec<String>,
}

/// Medians over the rounds.
struct Measured {
    /// Nanoseconds per offer, for each contender.
    nanos: [f64; 4],
    /// The fingerprint's time divided by that of each contender.
    over: [f64; 4],
}

fn main() -> ExitCode {
    let rounds = if report::is_set("quick") { 21 } else { 201 };
    let corpus = corpus();
    let (parsed, not_parsed): (Vec<_>, Vec<_>) = corpus.iter().partition(|(_, text)| is_parsed(text));
    let allocated = allocations(fingerprint, &corpus);

    let mut samples = vec![sample(format!("all {}", corpus.len()), &corpus)];
    if !not_parsed.is_empty() {
        let parsed: Vec<_> = parsed.iter().map(|&offer| offer.clone()).collect();
        samples.push(sample(format!("the {} that `sdp` parses", parsed.len()), &parsed));
    }
    for bytes in [600, 3500, 8000] {
        let (file, text) = parsed
            .iter()
            .min_by_key(|(_, text)| text.len().abs_diff(bytes))
            .expect("the corpus should not be empty");
        samples.push(sample(
            format!("{file}, {} bytes", text.len()),
            &[(file.clone(), text.clone())],
        ));
    }
    let measured: Vec<_> = samples.iter().map(|sample| measure(sample, rounds)).collect();

    let mut report = Report::new(
        "Fingerprint of an offer",
        "cargo bench -p benches --bench fingerprint",
        &format!(
            "`Fingerprint::sdp` on real offers of {} bytes on average, compared with xxh3-128 and SHA-256 of the same \
             bytes and with parsing by the `sdp` crate. All take turns in each of {rounds} rounds, in alternating order. \
             A ratio is the median of the ratios of all rounds. The largest offer of the corpus stands for 8 KB.",
            corpus.iter().map(|(_, text)| text.len()).sum::<usize>() / corpus.len(),
        ),
    );
    report.table(
        "Time per offer, in nanoseconds",
        &[
            "offers",
            CONTENDERS[0].0,
            CONTENDERS[1].0,
            CONTENDERS[2].0,
            CONTENDERS[3].0,
        ],
        samples.iter().zip(&measured).map(|(sample, measured)| {
            let nanos = measured.nanos.iter().map(|nanos| format!("{nanos:.0}"));
            [sample.name.clone()].into_iter().chain(nanos).collect::<Vec<_>>()
        }),
    );
    report.table(
        "Ratios",
        &["offers", "× xxh3-128", "× SHA-256", "times faster than `sdp`"],
        samples.iter().zip(&measured).map(|(sample, Measured { over, .. })| {
            [
                sample.name.clone(),
                format!("{:.2}", over[1]),
                format!("{:.2}", over[2]),
                format!("{:.1}", 1.0 / over[3]),
            ]
        }),
    );
    let middle = &measured[measured.len() - 2];
    report.table(
        "Budgets",
        &["what", "measured", "budget"],
        [
            row(
                "× xxh3-128 over the same 3.5 KB",
                format!("{:.2}", middle.over[1]),
                "at most 8",
            ),
            row(
                "times faster than the `sdp` crate on 3.5 KB",
                format!("{:.1}", 1.0 / middle.over[3]),
                "at least 10",
            ),
            row(
                "allocations per call, maximum over all offers",
                allocated.to_string(),
                "0",
            ),
            row(
                "allocations of the `sdp` crate, maximum over all offers",
                allocations(parse, &corpus).to_string(),
                "–",
            ),
        ],
    );
    if !not_parsed.is_empty() {
        let rows = not_parsed
            .iter()
            .map(|(file, text)| row(file, text.len().to_string(), &parse_error(text)));
        report.table(
            "Offers that the `sdp` crate does not parse",
            &["offer", "bytes", "its error"],
            rows,
        );
    }
    report.plot(
        "fingerprint",
        &format!("Time to identify an offer: {}", samples[samples.len() - 2].name),
        "× xxh3-128",
        "log",
        [0, 2, 3]
            .map(|at| {
                let limit = (at == 0).then_some(8.0);
                Bar::new(
                    CONTENDERS[at].0.replace('`', ""),
                    middle.over[1] / middle.over[at],
                    limit,
                )
            })
            .into(),
    );
    report.check("× xxh3-128 on 3.5 KB", middle.over[1], Budget::AtMost(8.0));
    report.check(
        "faster than the `sdp` crate on 3.5 KB",
        1.0 / middle.over[3],
        Budget::AtLeast(10.0),
    );
    report.check("allocations per call", allocated as f64, Budget::AtMost(0.0));
    report.write("fingerprint")
}

/// Name and text of every offer.
fn corpus() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/corpus/offers");
    let files = fs::read_dir(folder)
        .expect("the corpus should exist")
        .map(|file| file.expect("the offer should be readable").path());
    let mut offers: Vec<_> = files
        .map(|path| {
            let name = path
                .file_stem()
                .expect("the file should have a name")
                .to_string_lossy()
                .into_owned();
            (name, fs::read_to_string(path).expect("the offer should be readable"))
        })
        .collect();
    offers.sort();
    offers
}

fn sample(name: String, offers: &[(String, String)]) -> Sample {
    Sample {
        name,
        texts: offers.iter().map(|(_, text)| text.clone()).collect(),
    }
}

fn row(what: &str, measured: String, budget: &str) -> [String; 3] {
    [what.to_owned(), measured, budget.to_owned()]
}

fn fingerprint(text: &str) {
    black_box(Fingerprint::sdp(text));
}

fn xxh3(text: &str) {
    black_box(xxh3_128(text.as_bytes()));
}

fn sha256(text: &str) {
    black_box(Sha256::digest(text.as_bytes()));
}

fn parse(text: &str) {
    let _ = black_box(SessionDescription::unmarshal(&mut Cursor::new(text.as_bytes())));
}

fn is_parsed(text: &str) -> bool {
    SessionDescription::unmarshal(&mut Cursor::new(text.as_bytes())).is_ok()
}

fn parse_error(text: &str) -> String {
    let parsed = SessionDescription::unmarshal(&mut Cursor::new(text.as_bytes()));
    parsed.err().map(|error| error.to_string()).unwrap_or_default()
}

/// The most allocations that the work makes for one offer.
fn allocations(work: Work, offers: &[(String, String)]) -> usize {
    let counts = offers.iter().map(|(_, text)| {
        let region = Region::new(ALLOCATOR);
        work(text);
        let change = region.change();
        change.allocations + change.reallocations
    });
    counts.max().unwrap_or_default()
}

fn measure(sample: &Sample, rounds: usize) -> Measured {
    let turns = CONTENDERS.map(|(_, work)| {
        let once = (0..5)
            .map(|_| nanos(work, &sample.texts, 1))
            .fold(f64::INFINITY, f64::min);
        (NANOS_PER_TURN / (once * sample.texts.len() as f64)).ceil() as usize
    });
    let times: Vec<[f64; 4]> = (0..rounds)
        .map(|round| {
            let mut times = [0.0; 4];
            for at in 0..times.len() {
                let at = if round % 2 == 0 { at } else { times.len() - 1 - at };
                times[at] = nanos(CONTENDERS[at].1, &sample.texts, turns[at]);
            }
            times
        })
        .collect();
    let medians = |figure: &dyn Fn(&[f64; 4], usize) -> f64| {
        [0, 1, 2, 3].map(|at| median(times.iter().map(|times| figure(times, at)).collect()))
    };
    Measured {
        nanos: medians(&|times, at| times[at]),
        over: medians(&|times, at| times[0] / times[at]),
    }
}

/// Nanoseconds per text.
fn nanos(work: Work, texts: &[String], turns: usize) -> f64 {
    let start = Instant::now();
    for _ in 0..turns {
        for text in texts {
            work(black_box(text));
        }
    }
    start.elapsed().as_nanos() as f64 / (turns * texts.len()) as f64
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
