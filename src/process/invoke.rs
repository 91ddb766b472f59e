//! [`Invoke`]: a call of the inner service, which waits for its readiness first.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use pin_project::pin_project;
use tower_service::Service;

/// A call of the inner service, which waits for its readiness first.
#[pin_project(project = InvokeProj, project_replace = InvokeOwned)]
pub(crate) enum Invoke<S, R>
where
    S: Service<R>,
{
    Waiting { service: S, request: R },
    Failed(S::Error),
    Called(#[pin] S::Future),
    Done,
}

impl<S, R> Invoke<S, R>
where
    S: Service<R>,
{
    /// Calls `inner` without a clone if it is ready. Otherwise the polled service moves in here and a clone takes its
    /// place: a place in line for capacity must not stay behind in the service of an idle connection.
    pub(crate) fn new(inner: &mut S, request: R) -> Self
    where
        S: Clone,
    {
        match inner.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => Self::Called(inner.call(request)),
            Poll::Ready(Err(error)) => Self::Failed(error),
            Poll::Pending => {
                let clone = inner.clone();
                Self::Waiting {
                    service: mem::replace(inner, clone),
                    request,
                }
            }
        }
    }

    /// Polls the call. `before_call` runs before the inner service is called, if that has not happened yet.
    pub(crate) fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        before_call: impl FnOnce(),
    ) -> Poll<Result<S::Response, S::Error>> {
        if let InvokeProj::Waiting { service, .. } = self.as_mut().project() {
            ready!(service.poll_ready(cx))?;
            if let InvokeOwned::Waiting { mut service, request } = self.as_mut().project_replace(Self::Done) {
                before_call();
                self.set(Self::Called(service.call(request)));
            }
        }
        if let InvokeProj::Called(called) = self.as_mut().project() {
            return called.poll(cx);
        }
        match self.project_replace(Self::Done) {
            InvokeOwned::Failed(error) => Poll::Ready(Err(error)),
            _ => panic!("`ResponseFuture` polled after completion"),
        }
    }
}
