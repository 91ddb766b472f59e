//! The result of a benchmark: printed as Markdown, and written to `target/benchmarks` for `benches/report.py` unless
//! the run is a quick one.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each benchmark uses a part of this module"
)]

use std::{env, fs, path::Path, process::ExitCode};

use serde::Serialize;

/// The result of a benchmark, in the order in which it is shown.
#[derive(Debug, Serialize)]
pub struct Report {
    title: String,
    command: String,
    about: String,
    tables: Vec<Table>,
    plots: Vec<Plot>,
    missed: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Table {
    title: String,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

#[derive(Debug, Serialize)]
struct Plot {
    name: String,
    title: String,
    unit: String,
    scale: &'static str,
    bars: Vec<Bar>,
}

/// A bar of a plot, with a mark at its budget.
#[derive(Debug, Serialize)]
pub struct Bar {
    pub label: String,
    pub value: f64,
    pub limit: Option<f64>,
    /// `true` if the budget is a minimum, `false` if it is a maximum.
    pub at_least: bool,
}

impl Bar {
    pub fn new(label: impl Into<String>, value: f64, limit: impl Into<Option<f64>>) -> Self {
        Self {
            label: label.into(),
            value,
            limit: limit.into(),
            at_least: false,
        }
    }

    pub fn at_least(label: impl Into<String>, value: f64, limit: f64) -> Self {
        Self {
            at_least: true,
            ..Self::new(label, value, limit)
        }
    }
}

/// A budget, as listed in `docs/design.md`.
#[derive(Clone, Copy, Debug)]
pub enum Budget {
    AtMost(f64),
    AtLeast(f64),
}

impl Report {
    pub fn new(title: &str, command: &str, about: &str) -> Self {
        Self {
            title: title.into(),
            command: command.into(),
            about: about.into(),
            tables: Vec::new(),
            plots: Vec::new(),
            missed: Vec::new(),
        }
    }

    /// Adds a table. The first column is left-aligned, the others hold figures.
    pub fn table<R>(&mut self, title: &str, columns: &[&str], rows: impl IntoIterator<Item = R>)
    where
        R: IntoIterator<Item = String>,
    {
        self.tables.push(Table {
            title: title.into(),
            columns: columns.iter().map(|&column| column.into()).collect(),
            rows: rows.into_iter().map(|row| row.into_iter().collect()).collect(),
        });
    }

    /// Adds a plot. `name` is the stem of the SVG's file name. `scale` is "linear" or "log".
    pub fn plot(&mut self, name: &str, title: &str, unit: &str, scale: &'static str, bars: Vec<Bar>) {
        self.plots.push(Plot {
            name: name.into(),
            title: title.into(),
            unit: unit.into(),
            scale,
            bars,
        });
    }

    /// Checks `value` against its budget. With `--check`, a missed budget fails the benchmark.
    pub fn check(&mut self, what: &str, value: f64, budget: Budget) {
        let (is_kept, words, limit) = match budget {
            Budget::AtMost(limit) => (value <= limit, "at most", limit),
            Budget::AtLeast(limit) => (value >= limit, "at least", limit),
        };
        if !is_kept {
            self.missed.push(format!("{what}: {value:.3}, budget: {words} {limit}"));
        }
    }

    /// Prints the report, and writes it to `target/benchmarks/<name>.json` of the repository unless `--quick` is given.
    pub fn write(self, name: &str) -> ExitCode {
        print!("{}", self.markdown());
        if !is_set("quick") {
            self.write_json(name);
        }

        for missed in &self.missed {
            eprintln!("budget missed: {missed}");
        }
        if is_set("check") && !self.missed.is_empty() {
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
    }

    fn write_json(&self, name: &str) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .find(|folder| folder.join("benches/report.py").exists())
            .expect("benches/report.py should exist");
        let folder = root.join("target/benchmarks");
        fs::create_dir_all(&folder).expect("target/benchmarks should be writable");
        let json = serde_json::to_string_pretty(self).expect("a report should serialize");
        fs::write(folder.join(format!("{name}.json")), json + "\n").expect("the result should be writable");
    }

    fn markdown(&self) -> String {
        let mut text = format!("# {}\n\n`{}`\n\n{}\n", self.title, self.command, self.about);
        for table in &self.tables {
            text += &format!("\n## {}\n\n| {} |\n", table.title, table.columns.join(" | "));
            text += &format!("|---|{}\n", "--:|".repeat(table.columns.len() - 1));
            for row in &table.rows {
                text += &format!("| {} |\n", row.join(" | "));
            }
        }
        text
    }
}

/// Returns `true` if `--<flag>` was given, as in `cargo bench -p benches --bench stall -- --quick --check`.
pub fn is_set(flag: &str) -> bool {
    env::args().any(|arg| arg.strip_prefix("--") == Some(flag))
}
