//! [`OfferDedup`]: the service that a request enters by.

use std::{
    fmt,
    marker::PhantomData,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use crate::{
    ResponseFuture,
    answer::Answer,
    builder::{Inline, SpawnMode},
    extract::ExtractOffer,
    layer::Route,
};

/// Processes each WebRTC offer once. The service of [`OfferDedupLayer`](crate::OfferDedupLayer).
///
/// It is always ready. It asks the inner service for capacity only for requests that go through: a duplicate neither
/// waits for capacity nor holds any. So concurrency limits and `load_shed` belong inside the layer; outside they would
/// not see that the inner service is busy.
///
/// `S` is cloned when it is not ready at once, and when a request has to wait or to be read first.
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
/// use tower::{Layer, Service, service_fn};
/// use tower_offer_dedup::{Fingerprint, Offer, OfferDedupLayer, Refuse};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Infallible> {
/// let mut service = OfferDedupLayer::builder()
///     .offers(|sdp: &&str| Some(Offer::new("alice", Fingerprint::sdp(sdp))))
///     .answer(Refuse::with(|refusal| refusal.to_string()))
///     .build()
///     .layer(service_fn(|_: &str| async {
///         Ok::<_, Infallible>("an answer".to_owned())
///     }));
///
/// assert_eq!(service.call("v=0\r\n").await?, "an answer");
/// assert_eq!(service.call("v=0\r\n").await?, "the same offer was processed");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Those of the inner service, unchanged, and those that [`Answer::refuse`] returns. An error of the inner service's
/// readiness comes out of the response future.
pub struct OfferDedup<S, X, A, M = Inline> {
    inner: S,
    route: Arc<Route<X, A>>,
    mode: PhantomData<fn() -> M>,
}

impl<S, X, A, M> OfferDedup<S, X, A, M> {
    pub(crate) fn new(inner: S, route: Arc<Route<X, A>>) -> Self {
        Self {
            inner,
            route,
            mode: PhantomData,
        }
    }

    /// Returns a reference to the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns a mutable reference to the inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// Calls the service once.
    ///
    /// It does what [`ServiceExt::oneshot`](https://docs.rs/tower/latest/tower/trait.ServiceExt.html#method.oneshot)
    /// does. As an inherent method it states its bounds, so that the compiler names the one that does not hold.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use tower::{Layer, service_fn};
    /// use tower_offer_dedup::{Offer, OfferDedupLayer, Refuse};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Infallible> {
    /// let service = OfferDedupLayer::builder()
    ///     .offers(|_: &String| None::<Offer>)
    ///     .answer(Refuse::with(|refusal| refusal.to_string()))
    ///     .build()
    ///     .layer(service_fn(|request: String| async {
    ///         Ok::<_, Infallible>(request)
    ///     }));
    /// assert_eq!(service.oneshot("ping".to_owned()).await?, "ping");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of the service.
    pub fn oneshot<Req>(mut self, request: Req) -> ResponseFuture<S, X, A, Req>
    where
        X: ExtractOffer<Req>,
        S: Service<X::Request> + Clone,
        A: Answer<S::Response, S::Error>,
        M: SpawnMode<S, X::Request, A>,
    {
        ResponseFuture::new(&mut self.inner, &self.route, M::SPAWN, request)
    }
}

impl<S, X, A, M, Req> Service<Req> for OfferDedup<S, X, A, M>
where
    X: ExtractOffer<Req>,
    S: Service<X::Request> + Clone,
    A: Answer<S::Response, S::Error>,
    M: SpawnMode<S, X::Request, A>,
{
    type Response = A::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, X, A, Req>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        ResponseFuture::new(&mut self.inner, &self.route, M::SPAWN, request)
    }
}

impl<S: Clone, X, A, M> Clone for OfferDedup<S, X, A, M> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            route: Arc::clone(&self.route),
            mode: PhantomData,
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
