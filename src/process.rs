//! [`Process`]: an admitted offer on its way through the inner service, and its answer back.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use pin_project::pin_project;
use tower_service::Service;

use crate::{
    Answer, Duplicates, Taken,
    answer::End,
    gate::{self, Claim, Record, Tether},
    layer::Core,
};

/// Holds the claim from the call of the inner service until its answer is taken.
#[pin_project]
pub(crate) struct Process<S, R, A>
where
    S: Service<R>,
    A: Answer<S::Response>,
{
    #[pin]
    stage: Stage<S, R, A>,
    core: Arc<Core<A>>,
    /// There until the offer is processed. Last, so that the processing is gone before the peer is released.
    claim: Option<Claim>,
}

#[pin_project(project = StageProj)]
enum Stage<S, R, A>
where
    S: Service<R>,
    A: Answer<S::Response>,
{
    Invoking(#[pin] Invoke<S, R>),
    Taking(#[pin] A::Take),
}

impl<S, R, A> Process<S, R, A>
where
    S: Service<R>,
    A: Answer<S::Response>,
{
    pub(crate) fn new(inner: &mut S, request: R, claim: Claim, core: Arc<Core<A>>) -> Self
    where
        S: Clone,
    {
        let invoke = Invoke::new(inner, request);
        if let Invoke::Waiting { .. } = invoke {
            claim.await_capacity();
        }
        Self {
            claim: Some(claim),
            core,
            stage: Stage::Invoking(invoke),
        }
    }

    pub(crate) fn core(&self) -> &Arc<Core<A>> {
        &self.core
    }

    pub(crate) fn tether(&self) -> Tether {
        self.claim
            .as_ref()
            .expect("`Process` holds its claim until it is done")
            .tether()
    }
}

impl<S, R, A> Future for Process<S, R, A>
where
    S: Service<R>,
    A: Answer<S::Response>,
{
    type Output = Result<A::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        // Out of the future while the service runs, so that a panic releases the peer at once.
        let claim = this.claim.take().expect("`Process` polled after completion");
        loop {
            match this.stage.as_mut().project() {
                StageProj::Invoking(invoke) => match invoke.poll(cx, || claim.start_lease()) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(response)) => this.stage.set(Stage::Taking(this.core.answer.take(response))),
                    Poll::Ready(Err(error)) => {
                        claim.fail();
                        return Poll::Ready(Err(error));
                    }
                },
                StageProj::Taking(take) => match take.poll(cx) {
                    Poll::Pending => break,
                    Poll::Ready(taken) => {
                        let is_replayed = this.core.answer.duplicates() != Duplicates::Refuse;
                        return Poll::Ready(Ok(complete(claim, taken, is_replayed)));
                    }
                },
            }
        }
        *this.claim = Some(claim);
        Poll::Pending
    }
}

fn complete<Res, Rec: Send + Sync + 'static>(claim: Claim, taken: Taken<Res, Rec>, is_replayed: bool) -> Res {
    let record = taken.record.map(|(record, bytes)| Record::new(record, bytes));
    match taken.end {
        End::Success => {
            if is_replayed && record.is_none() {
                claim.note_not_recorded();
            }
            claim.complete(gate::Result::Success, record);
        }
        End::Failure => claim.complete(gate::Result::Failure, record),
        End::Broken => claim.fail(),
    }
    taken.response
}

/// A call of the inner service, which waits for its capacity first.
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
    /// Calls `inner` if it is ready, without a clone. Otherwise the polled service goes along and a clone takes its
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

    /// Polls the call; `before_call` runs before the inner service is called, if that has not happened yet.
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
