//! The place where an offer is processed: [`Inline`], in the response future, or [`Detached`], in a task of its own.
//!
//! A response future that is being polled polls a detached offer first, and spawns the task only if the offer is then
//! pending. So an inner service that answers at once needs no task. Nothing else runs between the admission and that
//! first poll: the response future cannot be dropped with the offer in it.

use std::{
    panic::resume_unwind,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project::{pin_project, pinned_drop};
use tokio::task::JoinHandle;
use tower_service::Service;
use tracing::{Span, span::Entered};

use super::lead::Lead;
use crate::{Reason, Refusal, answer::Answer, gate::Attendance, layer::Core, quiet::quietly};

/// Processes offers in the response future: dropped, it drops the processing with it. Inner futures need not be `Send`.
#[derive(Clone, Copy, Debug)]
pub enum Inline {}

/// Processes offers in tasks of their own, which outlive the response future. See
/// [`finish_abandoned`](crate::OfferDedupBuilder::finish_abandoned).
#[derive(Clone, Copy, Debug)]
pub enum Detached {}

/// An offer that is being processed.
#[pin_project(project = RunningProj)]
pub(crate) enum Running<S, R, A>
where
    S: Service<R>,
    A: Answer<S::Response, S::Error>,
{
    Inline(#[pin] Lead<S, R, A>),
    /// Polled once, right after it was made.
    First {
        /// `None` once it has been polled.
        lead: Option<Pin<Box<Lead<S, R, A>>>>,
        detach: Detach<S, R, A>,
    },
    Detached {
        task: JoinHandle<Result<A::Response, S::Error>>,
        /// `None` once the task is done.
        attendance: Option<Attendance>,
        core: Arc<Core<A>>,
    },
}

/// The two ways to process offers, [`Inline`] and [`Detached`], where the inner service allows it.
///
/// Sealed. Only [`Detached`] needs `Send`, which is why this is a trait with two implementations.
#[diagnostic::on_unimplemented(
    message = "`finish_abandoned` needs a service, a request and an answer that can be sent to a task of their own",
    label = "something in here is not `Send`",
    note = "the inner service, its future, its error, the request, the response and the answer must be `Send + 'static`; \
            without `finish_abandoned` they need not be"
)]
pub trait SpawnMode<S, R, A>: sealed::Sealed
where
    S: Service<R>,
    A: Answer<S::Response, S::Error>,
{
    #[doc(hidden)]
    #[allow(private_interfaces, reason = "sealed: used by this crate alone")]
    const SPAWN: Spawn<S, R, A>;
}

mod sealed {
    #[allow(unnameable_types, reason = "that is what seals `SpawnMode`")]
    pub trait Sealed {}

    impl Sealed for super::Inline {}
    impl Sealed for super::Detached {}
}

/// Starts the processing of an offer.
pub(crate) struct Spawn<S, R, A>
where
    S: Service<R>,
    A: Answer<S::Response, S::Error>,
{
    /// `None` for processing in the response future, which then is spared the call.
    detach: Option<Detach<S, R, A>>,
}

/// Spawns a task. The offer is boxed, because it may have been polled before.
type Detach<S, R, A> = fn(Pin<Box<Lead<S, R, A>>>) -> Running<S, R, A>;

impl<S, R, A> Spawn<S, R, A>
where
    S: Service<R>,
    A: Answer<S::Response, S::Error>,
{
    pub(crate) fn is_detached(&self) -> bool {
        self.detach.is_some()
    }

    /// Starts the processing. With `is_polling`, the caller polls the result at once.
    pub(crate) fn start(self, lead: Lead<S, R, A>, is_polling: bool) -> Running<S, R, A> {
        match self.detach {
            None => Running::Inline(lead),
            Some(detach) if is_polling => Running::First {
                lead: Some(Box::pin(lead)),
                detach,
            },
            Some(detach) => detach(Box::pin(lead)),
        }
    }
}

impl<S, R, A> Clone for Spawn<S, R, A>
where
    S: Service<R>,
    A: Answer<S::Response, S::Error>,
{
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, R, A> Copy for Spawn<S, R, A>
where
    S: Service<R>,
    A: Answer<S::Response, S::Error>,
{
}

impl<S, R, A> SpawnMode<S, R, A> for Inline
where
    S: Service<R>,
    A: Answer<S::Response, S::Error>,
{
    #[allow(private_interfaces, reason = "sealed: used by this crate alone")]
    const SPAWN: Spawn<S, R, A> = Spawn { detach: None };
}

impl<S, R, A> SpawnMode<S, R, A> for Detached
where
    S: Service<R> + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    R: Send + 'static,
    A: Answer<S::Response, S::Error> + Send + Sync + 'static,
    A::Response: Send,
    A::Settle: Send,
{
    #[allow(private_interfaces, reason = "sealed: used by this crate alone")]
    const SPAWN: Spawn<S, R, A> = Spawn {
        detach: Some(|lead| {
            let core = Arc::clone(lead.core());
            let attendance = Some(lead.attend());
            let task = tokio::spawn(InSpan {
                future: Some(lead),
                span: Span::current(),
            });
            Running::Detached { task, attendance, core }
        }),
    };
}

impl<S, R, A> Future for Running<S, R, A>
where
    S: Service<R>,
    A: Answer<S::Response, S::Error>,
{
    type Output = Result<A::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let RunningProj::First { lead, detach } = self.as_mut().project() {
            let mut lead = lead.take().expect("`ResponseFuture` polled after completion");
            if let Poll::Ready(answer) = lead.as_mut().poll(cx) {
                return Poll::Ready(answer);
            }
            let detached = detach(lead);
            self.set(detached);
        }
        match self.project() {
            RunningProj::Inline(lead) => lead.poll(cx),
            RunningProj::First { .. } => unreachable!("it was detached above"),
            RunningProj::Detached { task, attendance, core } => {
                let joined = ready!(Pin::new(task).poll(cx));
                let attendance = attendance.take().expect("`ResponseFuture` polled after completion");
                Poll::Ready(match joined.map_err(tokio::task::JoinError::try_into_panic) {
                    Ok(answer) => {
                        attendance.end();
                        answer
                    }
                    Err(Ok(panic)) => {
                        attendance.end();
                        resume_unwind(panic)
                    }
                    // Nothing in this crate aborts the task, so its runtime has shut down.
                    Err(Err(_cancelled)) => {
                        attendance.end_aborted();
                        core.answer.refuse(&Refusal::new(Reason::Aborted))
                    }
                })
            }
        }
    }
}

/// Polls and drops a future in a span.
///
/// `tracing`'s own `Instrumented` does not drop the future if the subscriber panics at that moment: a claim in it would
/// be held for ever.
#[pin_project(PinnedDrop)]
struct InSpan<F> {
    #[pin]
    future: Option<F>,
    span: Span,
}

impl<F: Future> Future for InSpan<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = this.span.enter();
        this.future.as_pin_mut().expect("it is dropped last").poll(cx)
    }
}

#[pinned_drop]
impl<F> PinnedDrop for InSpan<F> {
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        let mut entered = QuietExit(None);
        quietly(|| entered.0 = Some(this.span.enter()));
        this.future.set(None);
    }
}

/// Leaves a span without letting a panic of the subscriber out.
struct QuietExit<'a>(Option<Entered<'a>>);

impl Drop for QuietExit<'_> {
    fn drop(&mut self) {
        let entered = self.0.take();
        quietly(|| drop(entered));
    }
}
