//! [`ResponseFuture`]: the future of one request.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project::pin_project;
use tower_service::Service;

use crate::{
    answer::Answer,
    extract::ExtractOffer,
    layer::Route,
    process::{pass::poll_passing, spawn::Spawn},
    resume::Target,
    state::{State, StateProj},
};

/// The response future of [`OfferDedup`](crate::OfferDedup).
///
/// `S` is the inner service, `X` the extractor, `A` the answer and `Req` the request.
///
/// # Panics
///
/// If the inner service or a closure of the layer panics, and when it is polled after completion. A request that waits
/// needs a tokio runtime with its timer enabled.
///
/// # Cancel safety
///
/// Dropped while it waits, it gives up its place. Dropped while its offer is processed, it drops the processing, releases
/// the peer at once and remembers nothing, so that a retry is processed. With
/// [`finish_abandoned`](crate::OfferDedupBuilder::finish_abandoned), processing continues and the retry gets its answer.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S, X, A, Req>
where
    X: ExtractOffer<Req>,
    S: Service<X::Request>,
    A: Answer<S::Response, S::Error>,
{
    #[pin]
    state: State<S, X, A, Req>,
}

impl<S, X, A, Req> ResponseFuture<S, X, A, Req>
where
    X: ExtractOffer<Req>,
    S: Service<X::Request> + Clone,
    A: Answer<S::Response, S::Error>,
{
    #[inline]
    pub(crate) fn new(service: &mut S, route: &Arc<Route<X, A>>, spawn: Spawn<S, X::Request, A>, request: Req) -> Self {
        let found = route.offers.extract(request);
        let target = Target {
            service,
            route,
            spawn,
            is_polling: false,
        };
        Self {
            state: State::found(found, target),
        }
    }
}

impl<S, X, A, Req> Future for ResponseFuture<S, X, A, Req>
where
    X: ExtractOffer<Req>,
    S: Service<X::Request> + Clone,
    A: Answer<S::Response, S::Error>,
{
    type Output = Result<A::Response, S::Error>;

    // Requests that are not offers take this path, which must stay short.
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        match state.as_mut().project() {
            StateProj::Passing { invoke, core } => poll_passing(invoke, core, cx),
            _ => state.poll(cx),
        }
    }
}

impl<S, X, A, Req> fmt::Debug for ResponseFuture<S, X, A, Req>
where
    X: ExtractOffer<Req>,
    S: Service<X::Request>,
    A: Answer<S::Response, S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("state", &format_args!("{}", self.state.name()))
            .finish_non_exhaustive()
    }
}
