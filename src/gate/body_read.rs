//! [`BodyRead`]: counts a request while its body is being read.

use std::sync::Arc;

use super::gate::Gate;
use crate::{observe, quiet::quietly};

/// Counts one body as being read for as long as it lives. It holds no lock, and `drain` does not wait for it.
#[derive(Debug)]
pub(crate) struct BodyRead {
    gate: Arc<Gate>,
}

impl BodyRead {
    pub(crate) fn new(gate: &Arc<Gate>) -> Self {
        gate.live.body_read_started();
        // The guard exists before the recorder is called, which may panic.
        let guard = Self { gate: Arc::clone(gate) };
        observe::reading(gate.counters());
        guard
    }
}

impl Drop for BodyRead {
    fn drop(&mut self) {
        self.gate.live.body_read_ended();
        quietly(|| observe::read(self.gate.counters()));
    }
}
