//! [`ResponseFuture`]: read the request, decide, wait, process, answer.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;

use crate::{
    Answer, Found, Offer, Refusal,
    gate::{Treatment, Verdict, Wait},
    layer::Core,
    observe,
    process::{Invoke, Process},
    run::{Running, Start},
};

/// The response of [`OfferDedup`](crate::OfferDedup). `S` is the inner service and `R` its request, `F` reads the request
/// and `A` builds the answer.
///
/// # Panics
///
/// Where the inner service or a closure of the layer panics, and when it is polled after it was ready. A request that
/// waits needs a tokio runtime with its timer enabled.
///
/// # Cancel safety
///
/// Dropped while it waits, it gives up its place. Dropped while its offer is processed, it drops the processing, releases
/// the peer at once and remembers nothing, so that a retry is processed; with
/// [`finish_abandoned`](crate::OfferDedupBuilder::finish_abandoned), processing goes on and the retry gets its answer.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S, R, F, A>
where
    S: Service<R>,
    A: Answer<S::Response>,
{
    #[pin]
    state: State<S, R, F, A>,
}

#[pin_project(project = StateProj, project_replace = StateOwned)]
enum State<S, R, F, A>
where
    S: Service<R>,
    A: Answer<S::Response>,
{
    Reading {
        #[pin]
        read: F,
        onward: Onward<S, R, A>,
    },
    Waiting {
        wait: Pin<Box<Wait>>,
        request: R,
        onward: Onward<S, R, A>,
    },
    Running(#[pin] Running<S, R, A>),
    Passing {
        #[pin]
        invoke: Invoke<S, R>,
        core: Arc<Core<A>>,
    },
    Answered(A::Response),
    Done,
}

/// What a request that has been read needs to go on.
struct Onward<S, R, A>
where
    S: Service<R>,
    A: Answer<S::Response>,
{
    service: S,
    core: Arc<Core<A>>,
    start: Start<S, R, A>,
}

impl<S, R, F, A> ResponseFuture<S, R, F, A>
where
    S: Service<R> + Clone,
    A: Answer<S::Response>,
{
    #[inline]
    pub(crate) fn new(inner: &mut S, found: Found<R, F>, core: &Arc<Core<A>>, start: Start<S, R, A>) -> Self {
        Self {
            state: State::found(found, inner, core, start),
        }
    }
}

impl<S, R, F, A> Future for ResponseFuture<S, R, F, A>
where
    S: Service<R> + Clone,
    F: Future<Output = Found<R, Infallible>>,
    A: Answer<S::Response>,
{
    type Output = Result<A::Response, S::Error>;

    // What is no offer goes this way, and is not to pay for the others.
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        match state.as_mut().project() {
            StateProj::Passing { invoke, core } => pass(invoke, core, cx),
            _ => state.poll(cx),
        }
    }
}

impl<S, R, F, A> Future for State<S, R, F, A>
where
    S: Service<R> + Clone,
    F: Future<Output = Found<R, Infallible>>,
    A: Answer<S::Response>,
{
    type Output = Result<A::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let next = match self.as_mut().project() {
                StateProj::Running(running) => return running.poll(cx),
                StateProj::Passing { invoke, core } => return pass(invoke, core, cx),
                StateProj::Reading { read, onward } => {
                    let found = ready!(read.poll(cx)).read();
                    let Onward { service, core, start } = onward;
                    State::found(found, service, core, *start)
                }
                StateProj::Waiting { wait, .. } => {
                    let verdict = ready!(wait.as_mut().poll(cx));
                    match self.as_mut().project_replace(State::Done) {
                        StateOwned::Waiting {
                            request, mut onward, ..
                        } => {
                            let Onward { service, core, start } = &mut onward;
                            State::judged(verdict, request, service, core, *start)
                        }
                        _ => unreachable!("it was `Waiting` above"),
                    }
                }
                StateProj::Answered(_) => match self.project_replace(State::Done) {
                    StateOwned::Answered(response) => return Poll::Ready(Ok(response)),
                    _ => unreachable!("it was `Answered` above"),
                },
                StateProj::Done => panic!("`ResponseFuture` polled after completion"),
            };
            self.set(next);
        }
    }
}

impl<S, R, F, A> State<S, R, F, A>
where
    S: Service<R> + Clone,
    A: Answer<S::Response>,
{
    // What is no offer goes this way, and is not to pay for the others.
    #[inline(always)]
    fn found(found: Found<R, F>, inner: &mut S, core: &Arc<Core<A>>, start: Start<S, R, A>) -> Self {
        match found {
            Found::Pass(request) => {
                observe::passed(core.gate.counters());
                Self::Passing {
                    invoke: Invoke::new(inner, request),
                    core: Arc::clone(core),
                }
            }
            Found::Offer(request, offer) => Self::offered(request, offer, inner, core, start),
            Found::Read(read) => Self::Reading {
                read,
                onward: Onward::new(inner, core, start),
            },
            Found::Refused(refusal) => {
                observe::refused_unread(core.gate.counters(), &refusal);
                Self::refused(&refusal, core)
            }
        }
    }

    #[inline(never)]
    fn offered(request: R, offer: Offer, inner: &mut S, core: &Arc<Core<A>>, start: Start<S, R, A>) -> Self {
        let treatment = Treatment {
            duplicates: core.answer.duplicates(),
            fits: |record| record.answer::<A::Record>().is_some(),
        };
        let verdict = core.gate.admit(offer, treatment);
        Self::judged(verdict, request, inner, core, start)
    }

    fn judged(verdict: Verdict, request: R, inner: &mut S, core: &Arc<Core<A>>, start: Start<S, R, A>) -> Self {
        match verdict {
            Verdict::Admitted(claim) => Self::Running(start(Process::new(inner, request, claim, Arc::clone(core)))),
            Verdict::Replay(record) => {
                let answer = record.answer().expect("the gate gives again only what fits");
                Self::Answered(core.answer.replay(answer))
            }
            Verdict::Refused(refusal) => Self::refused(&refusal, core),
            Verdict::Wait(wait) => Self::Waiting {
                wait,
                request,
                onward: Onward::new(inner, core, start),
            },
        }
    }

    fn refused(refusal: &Refusal, core: &Core<A>) -> Self {
        Self::Answered(core.answer.refuse(refusal))
    }
}

#[inline]
fn pass<S, R, A>(
    invoke: Pin<&mut Invoke<S, R>>,
    core: &Core<A>,
    cx: &mut Context<'_>,
) -> Poll<Result<A::Response, S::Error>>
where
    S: Service<R>,
    A: Answer<S::Response>,
{
    invoke.poll(cx, || ()).map_ok(|response| core.answer.pass(response))
}

impl<S, R, A> Onward<S, R, A>
where
    S: Service<R> + Clone,
    A: Answer<S::Response>,
{
    fn new(inner: &S, core: &Arc<Core<A>>, start: Start<S, R, A>) -> Self {
        Self {
            service: inner.clone(),
            core: Arc::clone(core),
            start,
        }
    }
}

impl<S, R, F, A> fmt::Debug for ResponseFuture<S, R, F, A>
where
    S: Service<R>,
    A: Answer<S::Response>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Reading { .. } => "Reading",
            State::Waiting { .. } => "Waiting",
            State::Running(_) => "Running",
            State::Passing { .. } => "Passing",
            State::Answered(_) => "Answered",
            State::Done => "Done",
        };
        f.debug_struct("ResponseFuture")
            .field("state", &format_args!("{state}"))
            .finish_non_exhaustive()
    }
}
