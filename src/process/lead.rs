//! [`Lead`]: holds the claim from the call of the inner service until its answer is settled.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project::pin_project;
use tower_service::Service;

use super::invoke::Invoke;
use crate::{
    Reason, Refusal,
    answer::{Answer, Duplicates},
    gate::{Attendance, Claim, Record, Revoked},
    layer::Core,
    observe,
    outcome::Outcome,
};

/// Holds the claim from the call of the inner service until its answer is settled.
#[pin_project]
pub(crate) struct Lead<S, R, A>
where
    S: Service<R>,
    A: Answer<S::Response, S::Error>,
{
    #[pin]
    stage: Stage<S, R, A>,
    core: Arc<Core<A>>,
    /// `None` once the offer is processed. Dropped last: the processing is gone before the peer is released.
    claim: Option<Claim>,
}

#[pin_project(project = StageProj)]
enum Stage<S, R, A>
where
    S: Service<R>,
    A: Answer<S::Response, S::Error>,
{
    Invoking(#[pin] Invoke<S, R>),
    Settling(#[pin] A::Settle),
    Done,
}

impl<S, R, A> Lead<S, R, A>
where
    S: Service<R>,
    A: Answer<S::Response, S::Error>,
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
            stage: Stage::Invoking(invoke),
            core,
            claim: Some(claim),
        }
    }

    pub(crate) fn core(&self) -> &Arc<Core<A>> {
        &self.core
    }

    pub(crate) fn attend(&self) -> Attendance {
        let claim = self.claim.as_ref();
        claim.expect("the claim is held until the offer is processed").attend()
    }
}

impl<S, R, A> Future for Lead<S, R, A>
where
    S: Service<R>,
    A: Answer<S::Response, S::Error>,
{
    type Output = Result<A::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        // Taken out while user code runs, so that a panic of it releases the peer at once.
        let claim = this.claim.take().expect("`ResponseFuture` polled after completion");
        loop {
            // Before each poll: a claim that is lost must not go on.
            match (claim.poll_revoked(cx), this.stage.as_mut().project()) {
                // The inner service has answered already, and its answer goes out.
                (None | Some(Revoked::Superseded), StageProj::Settling(settle)) => match settle.poll(cx) {
                    Poll::Pending => break,
                    Poll::Ready(settled) => {
                        let session = settled.session_uri();
                        let (response, outcome, record) = settled.into_parts();
                        if let (Outcome::Success, Some(uri)) = (outcome, session) {
                            // Before the completion, which answers the followers: any of them may end the session then.
                            this.core.sessions.insert(uri, claim.memory());
                        }
                        let record = record.map(|(record, bytes)| Record::new(record, bytes));
                        let replays = this.core.answer.duplicates() != Duplicates::Refuse;
                        claim.complete(outcome, record, replays);
                        return Poll::Ready(Ok(response));
                    }
                },
                (Some(cause), _) => {
                    this.stage.set(Stage::Done);
                    return Poll::Ready(end_revoked(claim, cause, this.core));
                }
                (None, StageProj::Invoking(invoke)) => match invoke.poll(cx, || claim.start_lease()) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(response)) => {
                        let settle = this.core.answer.settle(response, claim.offer());
                        this.stage.set(Stage::Settling(settle));
                    }
                    Poll::Ready(Err(error)) => {
                        claim.complete(Outcome::Broken, None, false);
                        return Poll::Ready(Err(error));
                    }
                },
                (None, StageProj::Done) => unreachable!("the claim is gone before the stage is `Done`"),
            }
        }
        *this.claim = Some(claim);
        Poll::Pending
    }
}

/// Ends a claim that was lost, and refuses its offer. The inner future has been dropped.
fn end_revoked<A, Res, E>(claim: Claim, cause: Revoked, core: &Core<A>) -> Result<A::Response, E>
where
    A: Answer<Res, E>,
{
    let (outcome, reason) = match cause {
        Revoked::Superseded => (Outcome::Superseded, Reason::Superseded),
        Revoked::Overdue => (Outcome::Abandoned, Reason::TimedOut),
        Revoked::Abandoned => (Outcome::Abandoned, Reason::Aborted),
    };
    let offer = claim.offer().clone();
    claim.complete(outcome, None, false);
    observe::revoked(&offer, cause);
    core.answer.refuse(&Refusal::new(reason))
}
