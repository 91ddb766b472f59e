use std::{
    convert::Infallible,
    fmt,
    future::{Ready, ready},
};

use super::{Answer, EveryOk, Refusal, Success, Taken};

/// Refuses duplicates: they get what a closure makes of the [`Refusal`].
///
/// It suits relays, whose senders know by other means that their offer arrived. A sender that needs the answer wants
/// [`Replay`](super::Replay).
///
/// # Examples
///
/// ```
/// use tower_offer_dedup::{Answer, Reason, Refusal, Refuse};
///
/// let answer = Refuse::with(|refusal: &Refusal| format!("ignored: {}", refusal.reason()));
/// let refused: String = answer.refuse(&Refusal::new(Reason::InFlight));
/// assert_eq!(refused, "ignored: in_flight");
/// ```
#[derive(Clone, Copy)]
pub struct Refuse<F, P = EveryOk> {
    refuse: F,
    success: P,
}

impl<F> Refuse<F> {
    /// Answers what is refused with what `refuse` makes of it.
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

impl<F, P> Refuse<F, P> {
    /// Remembers offers only where `success` holds for the response; by default, every `Ok` is a success.
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

impl<F, P, Res> Answer<Res> for Refuse<F, P>
where
    F: Fn(&Refusal) -> Res,
    P: Success<Res>,
{
    type Response = Res;
    type Record = Infallible;
    type Take = Ready<Taken<Res, Infallible>>;

    fn pass(&self, response: Res) -> Res {
        response
    }

    fn take(&self, response: Res) -> Self::Take {
        let is_success = self.success.is_success(&response);
        ready(Taken::of(response, is_success))
    }

    fn replay(&self, record: &Infallible) -> Res {
        match *record {}
    }

    fn refuse(&self, refusal: &Refusal) -> Res {
        (self.refuse)(refusal)
    }
}

impl<F, P> fmt::Debug for Refuse<F, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refuse").finish_non_exhaustive()
    }
}
