//! [`State`]: reads the request, asks the gate and the store, waits, processes and answers.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;

use crate::{
    Offer, OfferSession, Refusal,
    answer::Answer,
    extract::{Admission, ExtractOffer, Found, SessionUri},
    gate::{Arrival, BodyRead, Claim, DuplicatePolicy, Elsewhere, Record, Verdict, Waiter},
    layer::{Core, PassingCore},
    observe,
    process::{
        arbitrate::{Arbitration, Ruling, arbitrate},
        invoke::Invoke,
        lead::Lead,
        listen::listen,
        pass::{poll_ending, poll_passing},
        shared_claim::SharedClaim,
        spawn::Running,
    },
    resume::{Resume, Target},
    store::client::StoreClient,
};

/// The state of a request.
#[pin_project(project = StateProj, project_replace = StateOwned)]
pub(crate) enum State<S, X, A, Req>
where
    X: ExtractOffer<Req>,
    S: Service<X::Request>,
    A: Answer<S::Response, S::Error>,
{
    Reading {
        #[pin]
        read: X::Read,
        resume: Resume<S, X, A, Req>,
        _counted: BodyRead,
    },
    Waiting {
        waiter: Pin<Box<Waiter>>,
        request: X::Request,
        resume: Resume<S, X, A, Req>,
        /// The claim that was forgotten, of an offer that decides again.
        forgotten: Option<Box<Claim>>,
    },
    /// The shared store decides.
    Asking {
        arbitration: Arbitration,
        request: X::Request,
        resume: Resume<S, X, A, Req>,
    },
    Running(#[pin] Running<S, X::Request, A>),
    Passing {
        #[pin]
        invoke: Invoke<S, X::Request>,
        core: Arc<PassingCore<A>>,
    },
    /// A request that may end a session.
    Ending {
        #[pin]
        invoke: Invoke<S, X::Request>,
        uri: SessionUri,
        core: Arc<Core<A>>,
    },
    /// `None` once it has been polled.
    Answered(Option<Result<A::Response, S::Error>>),
    Done,
}

impl<S, X, A, Req> Future for State<S, X, A, Req>
where
    X: ExtractOffer<Req>,
    S: Service<X::Request> + Clone,
    A: Answer<S::Response, S::Error>,
{
    type Output = Result<A::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let next = match self.as_mut().project() {
                StateProj::Running(running) => return running.poll(cx),
                StateProj::Passing { invoke, core } => return poll_passing(invoke, core, cx),
                StateProj::Ending { invoke, uri, core } => return poll_ending(invoke, uri, core, cx),
                StateProj::Reading { read, resume, .. } => {
                    let found = ready!(read.poll(cx)).read();
                    State::found(found, resume.target())
                }
                StateProj::Waiting { waiter, .. } => {
                    let verdict = ready!(waiter.as_mut().poll(cx));
                    match self.as_mut().project_replace(State::Done) {
                        StateOwned::Waiting {
                            request, mut resume, ..
                        } => match verdict {
                            Verdict::Admitted(claim) => State::admitted(claim, request, resume.target()),
                            Verdict::Replay { record, .. } => State::replay(&record, resume.route.core()),
                            Verdict::Refused { refusal, .. } => State::refused(&refusal, resume.route.core()),
                        },
                        _ => unreachable!("the state was `Waiting` above"),
                    }
                }
                StateProj::Asking { arbitration, .. } => {
                    let ruling = ready!(arbitration.as_mut().poll(cx));
                    match self.as_mut().project_replace(State::Done) {
                        StateOwned::Asking {
                            request, mut resume, ..
                        } => State::ruled(ruling, request, resume.target()),
                        _ => unreachable!("the state was `Asking` above"),
                    }
                }
                StateProj::Answered(answer) => {
                    return Poll::Ready(answer.take().expect("`ResponseFuture` polled after completion"));
                }
                // After a panic.
                StateProj::Done => panic!("`ResponseFuture` polled after completion"),
            };
            self.set(next);
        }
    }
}

impl<S, X, A, Req> State<S, X, A, Req>
where
    X: ExtractOffer<Req>,
    S: Service<X::Request> + Clone,
    A: Answer<S::Response, S::Error>,
{
    // Requests that are not offers take this path, which must stay short.
    #[inline(always)]
    pub(crate) fn found(found: Found<X::Request, X::Read>, target: Target<'_, S, X, A, Req>) -> Self {
        match found {
            Found::Pass(request) => {
                observe::passed(target.route.core().gate.counters());
                Self::pass(request, target)
            }
            found => Self::found_more(found, target),
        }
    }

    #[inline(never)]
    fn found_more(found: Found<X::Request, X::Read>, target: Target<'_, S, X, A, Req>) -> Self {
        let counters = target.route.core().gate.counters();
        match found {
            Found::Offer(request, offer) => Self::offer(request, &offer, target),
            Found::Read(read) => Self::Reading {
                read,
                _counted: BodyRead::new(&target.route.core().gate),
                resume: target.into_resume(),
            },
            Found::Refused(refusal) => {
                observe::refused_unread(counters, &refusal);
                Self::refused(&refusal, target.route.core())
            }
            Found::Unchecked(request) => {
                observe::unchecked(counters);
                Self::pass(request, target)
            }
            Found::Other(request) if target.route.has_admitted() => {
                observe::unchecked(counters);
                Self::pass(request, target)
            }
            Found::Ending(request, uri) => {
                observe::passed(counters);
                Self::Ending {
                    invoke: Invoke::new(target.service, request),
                    uri,
                    core: Arc::clone(target.route.core()),
                }
            }
            Found::Pass(request) | Found::Other(request) => {
                observe::passed(counters);
                Self::pass(request, target)
            }
        }
    }

    fn pass(request: X::Request, Target { service, route, .. }: Target<'_, S, X, A, Req>) -> Self {
        Self::Passing {
            invoke: Invoke::new(service, request),
            core: route.passing_core(),
        }
    }

    fn offer(request: X::Request, offer: &Offer, target: Target<'_, S, X, A, Req>) -> Self {
        let core = target.route.core();
        let carried = target.route.offers.carried(&request);
        if carried.is_some_and(|admission| admission.is_by(&core.gate)) {
            core.note_nested();
            return Self::pass(request, target);
        }
        Self::decide(Self::arrival(offer, &target), request, target)
    }

    fn arrival<'a>(offer: &'a Offer, target: &Target<'_, S, X, A, Req>) -> Arrival<'a> {
        let policy = DuplicatePolicy {
            duplicates: target.route.core().answer.duplicates(),
            can_replay: |record| record.answer::<A::Record>().is_some(),
        };
        Arrival::new(offer, policy, target.spawn.is_detached())
    }

    #[inline]
    fn decide(arrival: Arrival<'_>, request: X::Request, target: Target<'_, S, X, A, Req>) -> Self {
        let core = target.route.core();
        match core.gate.admit(arrival) {
            Verdict::Admitted(claim) => Self::admitted(claim, request, target),
            Verdict::Replay { record, .. } => Self::replay(&record, core),
            Verdict::Refused { refusal, .. } => Self::refused(&refusal, core),
            Verdict::Wait(waiter) => Self::Waiting {
                waiter,
                request,
                resume: target.into_resume(),
                forgotten: None,
            },
        }
    }

    fn admitted(claim: Claim, request: X::Request, target: Target<'_, S, X, A, Req>) -> Self {
        match &target.route.core().store {
            None => Self::run(claim, None, request, target),
            Some(store) => Self::ask(claim, store, request, target),
        }
    }

    #[inline(never)]
    fn ask(claim: Claim, store: &Arc<StoreClient>, request: X::Request, target: Target<'_, S, X, A, Req>) -> Self {
        let core = target.route.core();
        listen(core, store);
        let (settings, duplicates) = (*core.gate.settings(), core.answer.duplicates());
        Self::Asking {
            arbitration: arbitrate(Arc::clone(store), claim, settings, duplicates),
            request,
            resume: target.into_resume(),
        }
    }

    /// Does what the shared store has decided.
    #[inline(never)]
    fn ruled(ruling: Ruling, request: X::Request, target: Target<'_, S, X, A, Req>) -> Self {
        let core = target.route.core();
        match ruling {
            Ruling::Granted(mut claim, shared) => {
                claim.note_admitted();
                Self::run(claim, Some(shared), request, target)
            }
            Ruling::Elsewhere(claim, found) => {
                let record = found.record.and_then(|record| {
                    let bytes = record.bytes().len();
                    core.answer.decode(&record).map(|record| Record::new(record, bytes))
                });
                let elsewhere = Elsewhere {
                    record,
                    left: found.left,
                    fence: found.fence,
                };
                Self::concluded(claim.resolve_elsewhere(elsewhere, core.answer.duplicates()), core)
            }
            Ruling::Refused(claim, refusal) => Self::concluded(claim.refuse(refusal), core),
            Ruling::Forgotten(mut claim) => {
                let offer = claim.offer().clone();
                let arrival = Self::arrival(&offer, &target);
                let mut next = Self::decide(arrival.again(claim.decide_again()), request, target);
                if let Self::Waiting { forgotten, .. } = &mut next {
                    *forgotten = Some(Box::new(claim));
                }
                next
            }
        }
    }

    fn run(
        claim: Claim,
        shared: Option<Box<SharedClaim>>,
        mut request: X::Request,
        target: Target<'_, S, X, A, Req>,
    ) -> Self {
        let Target {
            service,
            route,
            spawn,
            is_polling,
        } = target;
        let core = route.core();
        route.note_admitted();
        let fence = shared.as_ref().and_then(|shared| shared.fence());
        let session = OfferSession::new(
            claim.memory(),
            shared.as_ref().and_then(|shared| shared.memory(&core.gate)),
        );
        let admission = Admission::new(session, fence, route.offers.carried(&request));
        route.offers.prepare(&mut request, &admission);
        let lead = Lead::new(service, request, claim, shared, Arc::clone(core));
        Self::Running(spawn.start(lead, is_polling))
    }

    fn concluded(verdict: Verdict<Infallible, Infallible>, core: &Core<A>) -> Self {
        match verdict {
            Verdict::Replay { record, .. } => Self::replay(&record, core),
            Verdict::Refused { refusal, .. } => Self::refused(&refusal, core),
        }
    }

    fn replay(record: &Record, core: &Core<A>) -> Self {
        let answer = record.answer().expect("the gate replays only what fits");
        Self::Answered(Some(Ok(core.answer.replay(answer))))
    }

    fn refused(refusal: &Refusal, core: &Core<A>) -> Self {
        Self::Answered(Some(core.answer.refuse(refusal)))
    }
}

impl<S, X, A, Req> State<S, X, A, Req>
where
    X: ExtractOffer<Req>,
    S: Service<X::Request>,
    A: Answer<S::Response, S::Error>,
{
    /// Returns the name of the state, for `Debug`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Reading { .. } => "Reading",
            Self::Waiting { .. } => "Waiting",
            Self::Asking { .. } => "Asking",
            Self::Running(_) => "Running",
            Self::Passing { .. } => "Passing",
            Self::Ending { .. } => "Ending",
            Self::Answered(_) => "Answered",
            Self::Done => "Done",
        }
    }
}
