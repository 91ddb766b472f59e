//! Requests that pass through: they are not offers, or could not be checked.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tower_service::Service;

use super::invoke::Invoke;
use crate::{answer::Answer, extract::SessionUri, layer::Core};

#[inline]
pub(crate) fn poll_passing<S, R, A>(
    invoke: Pin<&mut Invoke<S, R>>,
    core: &Core<A>,
    cx: &mut Context<'_>,
) -> Poll<Result<A::Response, S::Error>>
where
    S: Service<R>,
    A: Answer<S::Response, S::Error>,
{
    invoke.poll(cx, || ()).map_ok(|response| core.answer.pass(response))
}

/// Polls a request that may end a session. The session has ended before the response goes out.
pub(crate) fn poll_ending<S, R, A>(
    invoke: Pin<&mut Invoke<S, R>>,
    uri: &SessionUri,
    core: &Core<A>,
    cx: &mut Context<'_>,
) -> Poll<Result<A::Response, S::Error>>
where
    S: Service<R>,
    A: Answer<S::Response, S::Error>,
{
    invoke.poll(cx, || ()).map_ok(|response| {
        core.end_sessions(uri, core.answer.ended(&response));
        core.answer.pass(response)
    })
}
