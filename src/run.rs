//! Where an offer is processed: [`Inline`], in the response future, or [`Detached`], in a task of its own.

use std::{
    panic::resume_unwind,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tokio::task::JoinHandle;
use tower_service::Service;
use tracing::Instrument;

use crate::{Answer, gate::Tether, layer::Core, process::Process};

/// Processes offers in the response future: dropped, it drops the processing with it. Inner futures need not be `Send`.
#[derive(Clone, Copy, Debug)]
pub enum Inline {}

/// Processes offers in tasks of their own, which outlive the response future; see
/// [`finish_abandoned`](crate::OfferDedupBuilder::finish_abandoned).
#[derive(Clone, Copy, Debug)]
pub enum Detached {}

/// An offer that is being processed.
#[pin_project(project = RunningProj)]
pub(crate) enum Running<S, R, A>
where
    S: Service<R>,
    A: Answer<S::Response>,
{
    Inline(#[pin] Process<S, R, A>),
    Detached {
        task: JoinHandle<Result<A::Response, S::Error>>,
        tether: Tether,
        core: Arc<Core<A>>,
    },
}

/// Sets an offer going; which of the two is a matter of type, since only one asks for `Send`.
pub(crate) type Start<S, R, A> = fn(Process<S, R, A>) -> Running<S, R, A>;

pub(crate) fn inline<S, R, A>(process: Process<S, R, A>) -> Running<S, R, A>
where
    S: Service<R>,
    A: Answer<S::Response>,
{
    Running::Inline(process)
}

pub(crate) fn detached<S, R, A>(process: Process<S, R, A>) -> Running<S, R, A>
where
    S: Service<R> + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    R: Send + 'static,
    A: Answer<S::Response> + Send + Sync + 'static,
    A::Response: Send,
    A::Take: Send,
{
    let (core, tether) = (Arc::clone(process.core()), process.tether());
    let task = tokio::spawn(process.in_current_span());
    tether.tie(task.abort_handle());
    Running::Detached { task, tether, core }
}

impl<S, R, A> Future for Running<S, R, A>
where
    S: Service<R>,
    A: Answer<S::Response>,
{
    type Output = Result<A::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            RunningProj::Inline(process) => process.poll(cx),
            RunningProj::Detached { task, tether, core } => Poll::Ready(match ready!(Pin::new(task).poll(cx)) {
                Ok(answer) => answer,
                Err(failed) => match failed.try_into_panic() {
                    Ok(panic) => resume_unwind(panic),
                    Err(_aborted) => Ok(core.answer.refuse(&tether.refuse_aborted())),
                },
            }),
        }
    }
}
