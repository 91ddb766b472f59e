//! [`Lead`]: holds the claim from the call of the inner service until its answer is settled.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use super::{invoke::Invoke, shared_claim::SharedClaim};
use crate::{
    OfferSession, Refusal,
    answer::{Answer, Duplicates, Settled},
    gate::{Attendance, Claim, Record, Revoked},
    layer::Core,
    observe,
    outcome::Outcome,
    store::{Completed, Completion, client::CALL_TIMEOUT},
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
    /// The claim in the shared store, if there is one.
    shared: Option<Box<SharedClaim>>,
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
    /// The claim is completed in the shared store. Boxed: few layers have one.
    Committing(Box<Committing<A::Response, A::Record>>),
    Done,
}

type Answered<Res, Rec> = (Res, Outcome, Option<(Rec, usize)>);

/// An answer that goes out when the shared store has acknowledged it, or has had its time.
struct Committing<Res, Rec> {
    commit: Pin<Box<dyn Future<Output = Option<Completed>> + Send>>,
    /// When the processing ended.
    ended: Instant,
    /// `None` once it goes out.
    answer: Option<Answered<Res, Rec>>,
}

impl<S, R, A> Lead<S, R, A>
where
    S: Service<R>,
    A: Answer<S::Response, S::Error>,
{
    #[inline]
    pub(crate) fn new(
        inner: &mut S,
        request: R,
        claim: Claim,
        mut shared: Option<Box<SharedClaim>>,
        core: Arc<Core<A>>,
    ) -> Self
    where
        S: Clone,
    {
        let invoke = Invoke::new(inner, request);
        if let Invoke::Waiting { .. } = invoke {
            claim.await_capacity();
        } else if let Some(shared) = &mut shared {
            shared.start_lease(&claim);
        }
        Self {
            stage: Stage::Invoking(invoke),
            core,
            shared,
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
        // Taken out while user code runs, so that a panic of it releases the peer at once: in the store, then here.
        let claim = this.claim.take().expect("`ResponseFuture` polled after completion");
        let mut shared = this.shared.take();
        loop {
            // Before each poll: a claim that is lost must not go on.
            let revoked = poll_revoked(&claim, &mut shared, cx);
            match (revoked, this.stage.as_mut().project()) {
                // The inner service has answered already, and its answer goes out.
                (None | Some(Revoked::Superseded | Revoked::Elsewhere), StageProj::Settling(settle)) => {
                    let Poll::Ready(settled) = settle.poll(cx) else {
                        break;
                    };
                    note_session(&settled, &claim, shared.as_deref(), this.core);
                    let (response, outcome, record) = settled.into_parts();
                    let outcome = revoked.map_or(outcome, Revoked::outcome);
                    let settings = this.core.gate.settings();
                    match shared.take() {
                        // A failure that counts is remembered by this node alone.
                        Some(shared) if outcome == Outcome::Success => {
                            let record_to_share = record.as_ref().map(|(record, _)| record);
                            let completion = Completion {
                                window: settings.shared_window(),
                                cooldown: settings.cooldown,
                                record: record_to_share.and_then(|record| this.core.answer.encode(record)),
                            };
                            this.stage.set(Stage::Committing(Box::new(Committing {
                                commit: Box::pin(shared.complete(completion)),
                                ended: Instant::now(),
                                answer: Some((response, outcome, record)),
                            })));
                        }
                        shared => {
                            // Released in the store before it is released here.
                            give_up(shared, revoked);
                            complete(claim, outcome, record, Duration::ZERO, this.core);
                            return Poll::Ready(Ok(response));
                        }
                    }
                }
                (revoked, StageProj::Committing(committing)) => {
                    let Poll::Ready(completed) = committing.commit.as_mut().poll(cx) else {
                        break;
                    };
                    let answer = committing.answer.take();
                    let (response, outcome, record) = answer.expect("`ResponseFuture` polled after completion");
                    let is_lost = completed == Some(Completed::Lost);
                    let lost = is_lost.then_some(Revoked::Elsewhere).or(revoked);
                    let outcome = lost.map_or(outcome, Revoked::outcome);
                    // Not remembered for longer than in the store, however late its reply is read. Without a reply the store
                    // remembers it later, if at all.
                    let waited = if completed.is_none() {
                        CALL_TIMEOUT
                    } else {
                        Duration::ZERO
                    };
                    let age = committing.ended.elapsed().saturating_sub(waited);
                    complete(claim, outcome, record, age, this.core);
                    return Poll::Ready(Ok(response));
                }
                (Some(cause), _) => {
                    this.stage.set(Stage::Done);
                    give_up(shared, Some(cause));
                    return Poll::Ready(end_revoked(claim, cause, this.core));
                }
                (None, StageProj::Invoking(invoke)) => {
                    let start_lease = || match &mut shared {
                        Some(shared) => shared.start_lease(&claim),
                        None => claim.start_lease(),
                    };
                    match invoke.poll(cx, start_lease) {
                        Poll::Pending => break,
                        Poll::Ready(Ok(response)) => {
                            let settle = this.core.answer.settle(response, claim.offer());
                            this.stage.set(Stage::Settling(settle));
                        }
                        Poll::Ready(Err(error)) => {
                            give_up(shared, None);
                            claim.complete(Outcome::Broken, None, false);
                            return Poll::Ready(Err(error));
                        }
                    }
                }
                (None, StageProj::Done) => unreachable!("the claim is gone before the stage is `Done`"),
            }
        }
        *this.claim = Some(claim);
        *this.shared = shared;
        Poll::Pending
    }
}

/// Returns why the claim was lost, on this node or in the shared store.
#[inline]
fn poll_revoked(claim: &Claim, shared: &mut Option<Box<SharedClaim>>, cx: &mut Context<'_>) -> Option<Revoked> {
    let revoked = claim.poll_revoked(cx);
    match shared {
        Some(shared) if revoked.is_none() => shared.poll_ended(claim, cx),
        _ => revoked,
    }
}

/// Gives up the claim in the shared store, by dropping it.
#[inline]
fn give_up(shared: Option<Box<SharedClaim>>, cause: Option<Revoked>) {
    if let (Some(mut shared), Some(cause)) = (shared, cause) {
        shared.note_revoked(cause);
    }
}

/// Notes the session that the answer has created. Before the completion, which answers the followers: any of them may end
/// the session then.
#[inline]
fn note_session<A, Res, Rec>(settled: &Settled<Res, Rec>, claim: &Claim, shared: Option<&SharedClaim>, core: &Core<A>) {
    if let (true, Some(uri)) = (settled.is_success(), settled.session_uri()) {
        core.sessions.insert(
            uri,
            OfferSession::new(claim.memory(), shared.and_then(|shared| shared.memory(&core.gate))),
        );
    }
}

/// Ends a claim whose offer was processed `age` ago.
#[inline]
fn complete<A, Res, E>(
    claim: Claim,
    outcome: Outcome,
    record: Option<(A::Record, usize)>,
    age: Duration,
    core: &Core<A>,
) where
    A: Answer<Res, E>,
{
    let record = record.map(|(record, bytes)| Record::new(record, bytes));
    let replays = core.answer.duplicates() != Duplicates::Refuse;
    claim.complete_late(outcome, record, replays, age);
}

/// Ends a claim that was lost, and refuses its offer. The inner future has been dropped.
fn end_revoked<A, Res, E>(claim: Claim, cause: Revoked, core: &Core<A>) -> Result<A::Response, E>
where
    A: Answer<Res, E>,
{
    let offer = claim.offer().clone();
    claim.complete(cause.outcome(), None, false);
    observe::revoked(&offer, cause);
    core.answer.refuse(&Refusal::new(cause.reason()))
}
