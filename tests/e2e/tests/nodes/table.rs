//! [`Row`]: a row of the table of faults, with what was counted.

use std::{
    fmt::Write as _,
    sync::{Mutex, PoisonError},
};

/// One row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) fault: &'static str,
    pub(crate) mode: &'static str,
    /// Offers sent. Unless the fault says otherwise, each goes to two nodes or to one twice.
    pub(crate) offers: usize,
    pub(crate) processed: usize,
    pub(crate) refused: usize,
    /// The most calls of one peer at once.
    pub(crate) overlap: usize,
}

static ROWS: Mutex<Vec<Row>> = Mutex::new(Vec::new());

/// Notes a row, and prints the table so far: `cargo test -p e2e --test nodes -- --nocapture`.
pub(crate) fn note(row: Row) {
    let mut rows = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
    rows.push(row);
    rows.sort_by_key(|row| (row.fault, row.mode));
    let mut table =
        String::from("| fault | mode | requests | processed | refused | at once |\n|---|---|---|---|---|---|\n");
    for row in rows.iter() {
        let Row {
            fault,
            mode,
            offers,
            processed,
            refused,
            overlap,
        } = row;
        let _ = writeln!(
            table,
            "| {fault} | {mode} | {offers} | {processed} | {refused} | {overlap} |"
        );
    }
    println!("{table}");
}
