//! Memory per offer: each contender in a fresh process, without HTTP.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::{
    args::Size,
    contenders::{ALL, Contender},
    process::Process,
};

/// Long enough that nothing expires during the measurement.
pub(crate) const WINDOW: Duration = Duration::from_secs(600);
/// Number of offers sent again at the end, evenly spread, to see which are still known.
pub(crate) const PROBES: u64 = 1000;

/// A limit that is never reached.
const ROOM: u64 = 1 << 40;

/// Limits at which a contender that does not finish is stopped.
const MOST_BYTES: u64 = 12 << 30;
const MOST_TIME: Duration = Duration::from_secs(240);

/// One contender's memory.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) contender: Contender,
    /// The limit in bytes, if there is one.
    pub(crate) bound: Option<u64>,
    /// The number of offers that it took.
    pub(crate) offers: u64,
    /// Bytes that its clients' sessions took before.
    pub(crate) sessions: u64,
    /// Growth of RSS since then.
    pub(crate) growth: u64,
    /// The number of probes that were still known, or how the process ended early.
    pub(crate) known: Result<u64, String>,
    pub(crate) time: Duration,
}

pub(crate) async fn run(size: &Size) -> Result<Vec<Memory>, String> {
    let mut all = Vec::new();
    for contender in ALL {
        // Once within its limit, and once with room for all.
        let bounds: &[Option<u64>] = if contender.bounded {
            &[Some(size.max_memory), None]
        } else {
            &[None]
        };
        for bound in bounds {
            let mut memory = Memory::none(contender, *bound);
            eprintln!("memory: {}", memory.label());
            memory.fill(size.remembered).await?;
            all.push(memory);
        }
    }
    Ok(all)
}

impl Memory {
    pub(crate) fn none(contender: Contender, bound: Option<u64>) -> Self {
        Self {
            contender,
            bound,
            offers: 0,
            sessions: 0,
            growth: 0,
            known: Err("not measured".to_owned()),
            time: Duration::ZERO,
        }
    }

    /// Its label in tables.
    pub(crate) fn label(&self) -> String {
        let label = self.contender.label;
        match (self.bound, self.contender.bounded) {
            (Some(bound), _) => format!("{label}, {} MiB", bound >> 20),
            (None, true) => format!("{label}, room for all"),
            (None, false) => label.to_owned(),
        }
    }

    /// Growth of RSS per offer sent.
    pub(crate) fn bytes(&self) -> Option<f64> {
        (self.offers > 0).then(|| self.growth as f64 / self.offers as f64)
    }

    async fn fill(&mut self, count: u64) -> Result<(), String> {
        let start = Instant::now();
        let mut process = Process::fill(&self.contender, count, self.bound.unwrap_or(ROOM), PROBES)?;
        let mut seen = Seen::default();
        let ended = seen.watch(&mut process, start + MOST_TIME).await;
        self.known = match (seen.known, ended) {
            (Some(known), _) => Ok(known),
            (None, Ended::Stopped(why)) => Err(format!("stopped: {why}")),
            (None, Ended::Gone) => {
                let status = process.status().await;
                Err(status.map_or("ended silently".to_owned(), |status| format!("died: {status}")))
            }
        };
        process.end().await;
        self.offers = seen.offers;
        self.sessions = seen.base.saturating_sub(seen.start);
        self.growth = seen.rss.saturating_sub(seen.base);
        self.time = start.elapsed();
        Ok(())
    }
}

/// Figures that a process has printed, or that were observed.
#[derive(Debug, Default)]
struct Seen {
    start: u64,
    base: u64,
    offers: u64,
    rss: u64,
    known: Option<u64>,
}

enum Ended {
    Gone,
    Stopped(String),
}

impl Seen {
    async fn watch(&mut self, process: &mut Process, until: Instant) -> Ended {
        loop {
            let line = match timeout_at(until, process.line()).await {
                Ok(Some(line)) => line,
                Ok(None) => return Ended::Gone,
                Err(_) => return Ended::Stopped(format!("not done within {MOST_TIME:?}")),
            };
            let Some((what, Ok(number))) = line.split_once(' ').map(|(what, number)| (what, number.parse())) else {
                return Ended::Stopped(format!("unexpected output: {line:?}"));
            };
            match what {
                "start" => self.start = number,
                "base" => self.base = number,
                "offers" => {
                    self.offers = number;
                    self.rss = process.rss().unwrap_or(self.rss);
                }
                "rss" => self.rss = number,
                "known" => self.known = Some(number),
                _ => return Ended::Stopped(format!("unexpected output: {line:?}")),
            }
            if self.rss > MOST_BYTES {
                return Ended::Stopped(format!("it took more than {} GiB", MOST_BYTES >> 30));
            }
        }
    }
}
