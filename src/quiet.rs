//! Panics of code that the layer does not control: subscribers, recorders, wakers, the `Drop` of users' values.

use std::{
    any::Any,
    future::poll_fn,
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    task::Poll,
};

/// Runs `act` and discards a panic of it, also while the thread is unwinding.
///
/// For code in a `Drop`: a panic there would abort the process or skip what comes after.
pub(crate) fn quietly(act: impl FnOnce()) {
    drop(catch(act));
}

/// Runs `act` and returns a panic of it, to be resumed once the state is settled.
pub(crate) fn catch(act: impl FnOnce()) -> Caught {
    Caught(catch_unwind(AssertUnwindSafe(act)).err())
}

/// Runs a future. Resolves to `None` if it panics.
pub(crate) async fn catch_future<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut future).poll(cx))) {
            Ok(polled) => polled.map(Some),
            Err(panic) => {
                drop(Caught(Some(panic)));
                Poll::Ready(None)
            }
        },
    )
    .await
}

/// A panic that was caught, if there was one. Dropped, it is discarded.
#[derive(Debug, Default)]
#[must_use = "a panic goes on to the caller by `resume`"]
pub(crate) struct Caught(Option<Box<dyn Any + Send>>);

impl Caught {
    /// Returns the payload of the panic, if there was one.
    pub(crate) fn panic(mut self) -> Option<Box<dyn Any + Send>> {
        self.0.take()
    }

    /// Runs `act` as well. Keeps the first panic.
    pub(crate) fn and_also(self, act: impl FnOnce()) -> Self {
        let other = catch(act);
        if self.0.is_some() { self } else { other }
    }

    /// Goes on panicking if there was a panic.
    pub(crate) fn resume(mut self) {
        if let Some(payload) = self.0.take() {
            resume_unwind(payload);
        }
    }
}

impl Drop for Caught {
    fn drop(&mut self) {
        if let Some(payload) = self.0.take() {
            // A payload may panic when it is dropped. The payload of that panic may do so again, and is leaked.
            let _leaked = catch_unwind(AssertUnwindSafe(|| drop(payload))).map_err(ManuallyDrop::new);
        }
    }
}
