//! [`Resume`]: the parts of a service that a request needs after it has been read or has waited.

use std::sync::Arc;

use tower_service::Service;

use crate::{answer::Answer, extract::ExtractOffer, layer::Route, process::spawn::Spawn};

/// The parts of a service that a request needs after it has been read or has waited.
pub(crate) struct Resume<S, X, A, Req>
where
    X: ExtractOffer<Req>,
    S: Service<X::Request>,
    A: Answer<S::Response, S::Error>,
{
    pub(crate) service: S,
    pub(crate) route: Arc<Route<X, A>>,
    pub(crate) spawn: Spawn<S, X::Request, A>,
}

impl<S, X, A, Req> Resume<S, X, A, Req>
where
    X: ExtractOffer<Req>,
    S: Service<X::Request>,
    A: Answer<S::Response, S::Error>,
{
    pub(crate) fn target(&mut self) -> Target<'_, S, X, A, Req> {
        Target {
            service: &mut self.service,
            route: &self.route,
            spawn: self.spawn,
            is_polling: true,
        }
    }
}

/// The same, borrowed from the service or from a [`Resume`].
pub(crate) struct Target<'a, S, X, A, Req>
where
    X: ExtractOffer<Req>,
    S: Service<X::Request>,
    A: Answer<S::Response, S::Error>,
{
    pub(crate) service: &'a mut S,
    pub(crate) route: &'a Arc<Route<X, A>>,
    pub(crate) spawn: Spawn<S, X::Request, A>,
    /// `true` in a poll of the response future, `false` in the call that makes it.
    pub(crate) is_polling: bool,
}

impl<S, X, A, Req> Target<'_, S, X, A, Req>
where
    X: ExtractOffer<Req>,
    S: Service<X::Request> + Clone,
    A: Answer<S::Response, S::Error>,
{
    pub(crate) fn into_resume(self) -> Resume<S, X, A, Req> {
        Resume {
            service: self.service.clone(),
            route: Arc::clone(self.route),
            spawn: self.spawn,
        }
    }
}
