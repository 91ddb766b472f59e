use std::{
    convert::Infallible,
    fmt,
    future::{Ready, ready},
};

use super::{Answer, EveryOk, Settled, Success};
use crate::{Offer, Refusal};

/// Refuses duplicates: a closure turns the [`Refusal`] into a response or an error.
///
/// It suits relays, whose senders know by other means that their offer arrived. A sender that needs the answer wants
/// [`Replay`](crate::Replay).
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
/// use tower_offer_dedup::{Reason, Refusal, Refuse, answer::Answer};
///
/// let answer = Refuse::with(|refusal| format!("ignored: {}", refusal.reason()));
/// let refused: Result<String, Infallible> =
///     answer.refuse(&Refusal::new(Reason::InFlight));
/// assert_eq!(refused, Ok("ignored: in_flight".to_owned()));
/// ```
///
/// A service whose responses are `Result`s remembers only `Ok`:
///
/// ```
/// use std::convert::Infallible;
/// use tower::{Layer, service_fn};
/// use tower_offer_dedup::{Fingerprint, Offer, OfferDedupLayer, Reason, Refuse};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Infallible> {
/// let layer = OfferDedupLayer::builder()
///     .offers(|sdp: &String| Some(Offer::new("alice", Fingerprint::sdp(sdp))))
///     .answer(
///         Refuse::with(|refusal| Err(refusal.reason()))
///             .success_if(Result::is_ok),
///     )
///     .build();
/// let service = layer.layer(service_fn(|_: String| async {
///     Ok::<_, Infallible>(Ok::<_, Reason>("an answer"))
/// }));
///
/// let answer = service.clone().oneshot("v=0\r\n".to_owned()).await?;
/// assert_eq!(answer, Ok("an answer"));
/// let duplicate = service.oneshot("v=0\r\n".to_owned()).await?;
/// assert_eq!(duplicate, Err(Reason::Processed));
/// # Ok(())
/// # }
/// ```
///
/// A service that refuses by its own error type, such as tonic's `Status`:
///
/// ```
/// use tower_offer_dedup::{Reason, Refusal, Refuse, answer::Answer};
///
/// #[derive(Debug, PartialEq)]
/// struct Status(String);
///
/// let answer = Refuse::with_error(|refusal| Status(refusal.to_string()));
/// let refused: Result<(), Status> = answer.refuse(&Refusal::new(Reason::Busy));
/// let text = "another offer of this peer is being processed";
/// assert_eq!(refused, Err(Status(text.to_owned())));
/// ```
#[derive(Clone, Copy)]
pub struct Refuse<F, P = EveryOk> {
    refuse: F,
    success: P,
}

impl<F> Refuse<F> {
    /// Refuses with the response that `refuse` returns.
    pub fn with<Res>(refuse: F) -> Self
    where
        F: Fn(&Refusal) -> Res,
    {
        Self {
            refuse,
            success: EveryOk,
        }
    }
}

impl<F> Refuse<WithError<F>> {
    /// Refuses with the error that `refuse` returns.
    pub fn with_error<E>(refuse: F) -> Self
    where
        F: Fn(&Refusal) -> E,
    {
        Self {
            refuse: WithError(refuse),
            success: EveryOk,
        }
    }
}

impl<F, P> Refuse<F, P> {
    /// Remembers an offer only if `success` returns `true` for its response. By default every `Ok` is a success.
    pub fn success_if<Res, Q>(self, success: Q) -> Refuse<F, Q>
    where
        Q: Fn(&Res) -> bool,
    {
        Refuse {
            refuse: self.refuse,
            success,
        }
    }
}

impl<F, P, Res, E> Answer<Res, E> for Refuse<F, P>
where
    F: BuildRefusal<Res, E>,
    P: Success<Res>,
{
    type Response = Res;
    type Record = Infallible;
    type Settle = Ready<Settled<Res, Infallible>>;

    fn pass(&self, response: Res) -> Res {
        response
    }

    fn settle(&self, response: Res, _: &Offer) -> Self::Settle {
        let is_success = self.success.is_success(&response);
        ready(Settled::of(response, is_success))
    }

    fn replay(&self, record: &Infallible) -> Res {
        match *record {}
    }

    fn refuse(&self, refusal: &Refusal) -> Result<Res, E> {
        self.refuse.build(refusal)
    }
}

impl<F, P> fmt::Debug for Refuse<F, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refuse").finish_non_exhaustive()
    }
}

/// Turns a [`Refusal`] into a response or an error of the inner service. Implemented for closures
/// `Fn(&Refusal) -> Res`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not build a refusal for a service that responds with `{Res}` and fails with `{E}`",
    note = "the closure of `Refuse::with` and `Replay::with` returns the response of the inner service, that of \
            `with_error` its error"
)]
pub trait BuildRefusal<Res, E> {
    /// Builds the response or the error.
    ///
    /// # Errors
    ///
    /// The error that the sender gets in place of a response.
    fn build(&self, refusal: &Refusal) -> Result<Res, E>;
}

#[diagnostic::do_not_recommend]
impl<F: Fn(&Refusal) -> Res, Res, E> BuildRefusal<Res, E> for F {
    fn build(&self, refusal: &Refusal) -> Result<Res, E> {
        Ok(self(refusal))
    }
}

/// Refuses with the error that a closure returns; see [`Refuse::with_error`].
#[derive(Clone, Copy)]
pub struct WithError<F>(pub(super) F);

impl<F: Fn(&Refusal) -> E, Res, E> BuildRefusal<Res, E> for WithError<F> {
    fn build(&self, refusal: &Refusal) -> Result<Res, E> {
        Err((self.0)(refusal))
    }
}

impl<F> fmt::Debug for WithError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithError").finish_non_exhaustive()
    }
}
