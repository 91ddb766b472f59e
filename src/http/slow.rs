//! [`Slow`]: a body that is waited for.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::{Sleep, sleep};

use crate::{metrics, quiet::quietly};

const BODY_READS: &str = "offer_dedup_body_reads";

/// Limits how long a body is waited for. Made at the first wait, so that a body that is there at once needs no timer.
#[pin_project]
pub(super) struct Slow {
    #[pin]
    timer: Sleep,
    _read: BodyRead,
}

impl Slow {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            timer: sleep(timeout),
            _read: BodyRead::new(),
        }
    }
}

impl Future for Slow {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().timer.poll(cx)
    }
}

/// Counts as one body being read for as long as it lives.
struct BodyRead;

impl BodyRead {
    fn new() -> Self {
        // It exists before the recorder is called, which may panic.
        let read = Self;
        metrics::step(BODY_READS, 1.0);
        read
    }
}

impl Drop for BodyRead {
    fn drop(&mut self) {
        quietly(|| metrics::step(BODY_READS, -1.0));
    }
}
