//! [`OfferDedup`]: the way in.

use std::{
    fmt,
    marker::PhantomData,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use crate::{
    Answer, ExtractOffer, ResponseFuture,
    layer::Core,
    run::{self, Detached, Inline, Start},
};

/// Processes each WebRTC offer once: the service of [`OfferDedupLayer`](crate::OfferDedupLayer).
///
/// It is always ready, and asks the inner service for capacity only for what goes through: a duplicate neither waits for
/// capacity nor holds any. So limits and `load_shed` belong inside: around this service they would not see that the inner
/// one is busy.
///
/// `S` is cloned when it is not ready at once, and when a request has to wait or to be read first.
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
/// use tower::{Layer, Service, service_fn};
/// use tower_offer_dedup::{Fingerprint, Offer, OfferDedupLayer, Refusal, Refuse};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Infallible> {
/// let mut service = OfferDedupLayer::builder()
///     .offers(|sdp: &&'static str| Some(Offer::new("alice", Fingerprint::sdp(sdp))))
///     .answer(Refuse::with(|refusal: &Refusal| refusal.to_string()))
///     .build()
///     .layer(service_fn(|_: &'static str| async { Ok::<_, Infallible>("an answer".to_owned()) }));
///
/// assert_eq!(service.call("v=0\r\n").await?, "an answer");
/// assert_eq!(service.call("v=0\r\n").await?, "the same offer was processed");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Those of the inner service, unchanged. An error of its readiness comes out of the response future.
pub struct OfferDedup<S, X, A, M = Inline> {
    inner: S,
    offers: Arc<X>,
    core: Arc<Core<A>>,
    run: PhantomData<fn() -> M>,
}

impl<S, X, A, M> OfferDedup<S, X, A, M> {
    pub(crate) fn new(inner: S, offers: Arc<X>, core: Arc<Core<A>>) -> Self {
        Self {
            inner,
            offers,
            core,
            run: PhantomData,
        }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service, without the layer.
    pub fn into_inner(self) -> S {
        self.inner
    }

    #[inline]
    fn handle<Req>(&mut self, request: Req, start: Start<S, X::Request, A>) -> ResponseFuture<S, X::Request, X::Read, A>
    where
        X: ExtractOffer<Req>,
        S: Service<X::Request> + Clone,
        A: Answer<S::Response>,
    {
        let found = self.offers.extract(request);
        ResponseFuture::new(&mut self.inner, found, &self.core, start)
    }
}

impl<S, X, A, Req> Service<Req> for OfferDedup<S, X, A, Inline>
where
    X: ExtractOffer<Req>,
    S: Service<X::Request> + Clone,
    A: Answer<S::Response>,
{
    type Response = A::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, X::Request, X::Read, A>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        self.handle(request, run::inline)
    }
}

impl<S, X, A, Req> Service<Req> for OfferDedup<S, X, A, Detached>
where
    X: ExtractOffer<Req>,
    X::Request: Send + 'static,
    S: Service<X::Request> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    A: Answer<S::Response> + Send + Sync + 'static,
    A::Response: Send,
    A::Take: Send,
{
    type Response = A::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, X::Request, X::Read, A>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        self.handle(request, run::detached)
    }
}

impl<S: Clone, X, A, M> Clone for OfferDedup<S, X, A, M> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            offers: Arc::clone(&self.offers),
            core: Arc::clone(&self.core),
            run: PhantomData,
        }
    }
}

impl<S: fmt::Debug, X, A, M> fmt::Debug for OfferDedup<S, X, A, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfferDedup")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
