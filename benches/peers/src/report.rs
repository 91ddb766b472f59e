//! The result, as Markdown and as JSON, in the format that all benchmarks of the crate share.

use std::{fmt, fs, path::PathBuf};

use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) title: &'static str,
    pub(crate) command: String,
    pub(crate) about: String,
    pub(crate) tables: Vec<Table>,
    pub(crate) plots: Vec<Plot>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) columns: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Plot {
    pub(crate) name: &'static str,
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    pub(crate) scale: &'static str,
    pub(crate) bars: Vec<Bar>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) value: f64,
    pub(crate) limit: Option<f64>,
}

impl Report {
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

/// As Markdown.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "# {}\n\n`{}`\n\n{}\n", self.title, self.command, self.about)?;
        self.tables.iter().try_for_each(|table| write!(f, "\n{table}"))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "## {}\n\n", self.title)?;
        writeln!(f, "| {} |", self.columns.join(" | "))?;
        writeln!(f, "|{}", "---|".repeat(self.columns.len()))?;
        self.rows
            .iter()
            .try_for_each(|row| writeln!(f, "| {} |", row.join(" | ")))
    }
}
