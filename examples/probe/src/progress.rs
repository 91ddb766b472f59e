//! One line on a terminal that says what runs.

use std::io::{self, IsTerminal, Write};

use crate::check::Check;

pub(crate) struct Progress {
    is_shown: bool,
    total: usize,
}

impl Progress {
    /// Shows nothing unless standard error is a terminal.
    pub(crate) fn new(total: usize) -> Self {
        Self {
            is_shown: io::stderr().is_terminal(),
            total,
        }
    }

    pub(crate) fn begin(&self, number: usize, check: Check) {
        self.write(&format!("{number}/{} {} …", self.total, check.title()));
    }

    pub(crate) fn end(&self) {
        self.write("");
    }

    fn write(&self, text: &str) {
        if self.is_shown {
            // Returns to the start of the line and clears it.
            let _ = write!(io::stderr(), "\r\x1b[K{text}");
            let _ = io::stderr().flush();
        }
    }
}
