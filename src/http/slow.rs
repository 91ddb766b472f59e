//! [`Slow`]: a body that is waited for.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::{Sleep, sleep};

/// Limits how long a body is waited for. Made at the first wait, so that a body that is there at once needs no timer.
#[pin_project]
pub(super) struct Slow {
    #[pin]
    timer: Sleep,
}

impl Slow {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timer: sleep(timeout) }
    }
}

impl Future for Slow {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().timer.poll(cx)
    }
}
