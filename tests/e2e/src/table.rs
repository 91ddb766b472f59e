//! [`Row`]: a row of the table of faults, with what was counted.

use std::{
    io::{Write as _, stderr},
    sync::Once,
};

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The fault of the nodes or of their server.
    pub fault: &'static str,
    /// The nodes' mode on store errors.
    pub mode: &'static str,
    /// Offers sent, copies included.
    pub offers: usize,
    /// Calls of the handler.
    pub processed: usize,
    /// Offers refused.
    pub refused: usize,
    /// The most calls of one peer at once.
    pub overlap: usize,
}

/// Prints a row, the first time with the head of the table.
pub fn note(row: Row) {
    static HEAD: Once = Once::new();
    HEAD.call_once(|| {
        print("| fault | mode | requests | processed | refused | at once |\n|---|---|---|---|---|---|\n");
    });
    let Row {
        fault,
        mode,
        offers,
        processed,
        refused,
        overlap,
    } = row;
    print(&format!(
        "| {fault} | {mode} | {offers} | {processed} | {refused} | {overlap} |\n"
    ));
}

/// Writes past the test harness, which captures the output of a test.
fn print(text: &str) {
    // The table is only shown. Nothing fails without it.
    let _ = stderr().write_all(text.as_bytes());
}
