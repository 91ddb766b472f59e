use std::{
    fmt,
    future::{Ready, ready},
    time::Duration,
};

use super::{Answer, Duplicates, EveryOk, Refusal, Success, Taken};

/// Gives duplicates the answer of the first, as RFC 3261 §17.2.1 has it for a retransmitted INVITE: a clone of the
/// response. A duplicate of an offer in flight waits for it.
///
/// The record goes to whoever sends the same offer under the same peer key: answers hold ICE credentials, so the key
/// must name the principal.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_offer_dedup::{Answer, Duplicates, Refusal, Replay};
///
/// let answer = Replay::with(|refusal: &Refusal| Err(refusal.reason()))
///     .limit(16)
///     .timeout(Duration::from_secs(3))
///     .success_if(|reply: &Result<String, _>| reply.is_ok())
///     .record(|reply: &Result<String, _>| reply.as_ref().ok().map(String::len));
///
/// let taken = answer.take(Ok("v=0".to_owned())).into_inner();
/// assert_eq!(taken.response(), &Ok("v=0".to_owned()));
/// ```
#[derive(Clone, Copy)]
pub struct Replay<F, P = EveryOk, R = SizeOf> {
    refuse: F,
    success: P,
    record: R,
    limit: usize,
    timeout: Duration,
}

impl<F> Replay<F> {
    /// Answers what is refused after all with what `refuse` makes of it.
    pub fn with<Res>(refuse: F) -> Self
    where
        F: Fn(&Refusal) -> Res,
    {
        Self {
            refuse,
            success: EveryOk,
            record: SizeOf,
            limit: Duplicates::LIMIT,
            timeout: Duplicates::TIMEOUT,
        }
    }
}

impl<F, P, R> Replay<F, P, R> {
    /// How many duplicates wait for an answer, per peer; 64 by default. Zero: a duplicate of an offer in flight is
    /// refused.
    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// How long a duplicate waits for an answer; 10 s by default.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Remembers offers only where `success` holds for the response; by default, every `Ok` is a success.
    pub fn success_if<Res, Q>(self, success: Q) -> Replay<F, Q, R>
    where
        Q: Fn(&Res) -> bool,
    {
        let Self {
            refuse,
            record,
            limit,
            timeout,
            ..
        } = self;
        Replay {
            refuse,
            success,
            record,
            limit,
            timeout,
        }
    }

    /// How many bytes a response takes in the layer's memory, or `None` not to keep it: its duplicates are then refused
    /// as [`NotRecorded`](super::Reason::NotRecorded), or where it is a failure, those that wait already as
    /// [`InFlight`](super::Reason::InFlight). By default the size of its type, without what it points to.
    pub fn record<Res, Q>(self, record: Q) -> Replay<F, P, Q>
    where
        Q: Fn(&Res) -> Option<usize>,
    {
        let Self {
            refuse,
            success,
            limit,
            timeout,
            ..
        } = self;
        Replay {
            refuse,
            success,
            record,
            limit,
            timeout,
        }
    }
}

impl<F, P, R, Res> Answer<Res> for Replay<F, P, R>
where
    F: Fn(&Refusal) -> Res,
    P: Success<Res>,
    R: Weigh<Res>,
    Res: Clone + Send + Sync + 'static,
{
    type Response = Res;
    type Record = Res;
    type Take = Ready<Taken<Res, Res>>;

    fn duplicates(&self) -> Duplicates {
        Duplicates::Wait {
            limit: self.limit,
            timeout: self.timeout,
        }
    }

    fn pass(&self, response: Res) -> Res {
        response
    }

    fn take(&self, response: Res) -> Self::Take {
        let record = self.record.weigh(&response).map(|bytes| (response.clone(), bytes));
        let is_success = self.success.is_success(&response);
        ready(Taken {
            record,
            ..Taken::of(response, is_success)
        })
    }

    fn replay(&self, record: &Res) -> Res {
        record.clone()
    }

    fn refuse(&self, refusal: &Refusal) -> Res {
        (self.refuse)(refusal)
    }
}

/// Tells what a response takes in memory; see [`Replay::record`]. A closure `Fn(&Res) -> Option<usize>` does.
pub trait Weigh<Res> {
    /// How many bytes `response` takes, or `None` not to keep it.
    fn weigh(&self, response: &Res) -> Option<usize>;
}

impl<F: Fn(&Res) -> Option<usize>, Res> Weigh<Res> for F {
    fn weigh(&self, response: &Res) -> Option<usize> {
        self(response)
    }
}

/// Weighs a response by the size of its type, without what it points to.
#[derive(Clone, Copy, Debug, Default)]
pub struct SizeOf;

impl<Res> Weigh<Res> for SizeOf {
    fn weigh(&self, _: &Res) -> Option<usize> {
        Some(size_of::<Res>())
    }
}

impl<F, P, R> fmt::Debug for Replay<F, P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("limit", &self.limit)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
