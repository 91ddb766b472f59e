//! What a sender gets: [`Answer`], and the [`Refusal`] it is given when the inner service is not called.

mod refusal;
mod refuse;
mod replay;

use std::time::Duration;

pub use self::{
    refusal::{Reason, Refusal},
    refuse::Refuse,
    replay::{Replay, SizeOf, Weigh},
};

/// Builds the answers of the layer: to what passes, to the first of an offer, to its duplicates.
///
/// [`Refuse`] and [`Replay`] serve for messages. Implement it where an answer has to be read before it can be kept, a
/// body say: [`take`](Self::take) is polled while the peer is still locked.
///
/// # Examples
///
/// An answer for services that say `Ok` also to what failed:
///
/// ```
/// use std::future::{Ready, ready};
/// use tower_offer_dedup::{Answer, Duplicates, Refusal, Taken};
///
/// #[derive(Clone, Debug, PartialEq)]
/// enum Reply { Sdp(String), Failed, Refused(&'static str) }
///
/// struct Replies;
///
/// impl Answer<Reply> for Replies {
///     type Response = Reply;
///     type Record = String;
///     type Take = Ready<Taken<Reply, String>>;
///
///     fn duplicates(&self) -> Duplicates { Duplicates::WAIT }
///     fn pass(&self, reply: Reply) -> Reply { reply }
///     fn take(&self, reply: Reply) -> Self::Take {
///         ready(match &reply {
///             Reply::Sdp(sdp) => Taken::success(reply.clone()).recorded(sdp.clone(), sdp.len()),
///             _ => Taken::failure(reply),
///         })
///     }
///     fn replay(&self, sdp: &String) -> Reply { Reply::Sdp(sdp.clone()) }
///     fn refuse(&self, refusal: &Refusal) -> Reply { Reply::Refused(refusal.reason().as_str()) }
/// }
///
/// let taken = Replies.take(Reply::Failed).into_inner();
/// assert_eq!(taken, Taken::failure(Reply::Failed));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not answer with `{Res}`",
    note = "configure the layer with `.answer(..)`: `Refuse::with(|refusal| ..)`, `Replay::with(|refusal| ..)`, or for \
            HTTP `http::HttpAnswer`; `Replay` needs a response that is `Clone + Send + Sync + 'static`"
)]
pub trait Answer<Res> {
    /// What goes out.
    type Response;

    /// What is kept of an answer, to give it again.
    type Record: Send + Sync + 'static;

    /// Reads the answer of an offer. The peer is locked until it is done.
    type Take: Future<Output = Taken<Self::Response, Self::Record>>;

    /// What duplicates of an offer in flight do.
    fn duplicates(&self) -> Duplicates {
        Duplicates::Refuse
    }

    /// The answer to what is no offer.
    fn pass(&self, response: Res) -> Self::Response;

    /// The answer to an offer: what goes out, whether it was a success, and what is kept of it.
    fn take(&self, response: Res) -> Self::Take;

    /// The answer to a duplicate of an offer whose answer was recorded.
    fn replay(&self, record: &Self::Record) -> Self::Response;

    /// The answer to what is refused.
    fn refuse(&self, refusal: &Refusal) -> Self::Response;
}

/// What a duplicate does while the same offer is processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicates {
    /// It is refused at once, as [`InFlight`](Reason::InFlight).
    Refuse,
    /// It waits and gets the same answer.
    Wait {
        /// How many wait per peer; beyond, they are refused as [`QueueFull`](Reason::QueueFull).
        limit: usize,
        /// How long one waits; then it is refused as [`TimedOut`](Reason::TimedOut).
        timeout: Duration,
    },
}

impl Duplicates {
    /// 64 wait per peer, for 10 s at most.
    pub const WAIT: Self = Self::Wait {
        limit: Self::LIMIT,
        timeout: Self::TIMEOUT,
    };

    const LIMIT: usize = 64;
    const TIMEOUT: Duration = Duration::from_secs(10);
}

/// The answer to an offer, as [`Answer::take`] has read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken<Res, Rec> {
    pub(crate) response: Res,
    pub(crate) end: End,
    pub(crate) record: Option<(Rec, usize)>,
}

/// What a response means for its offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Success,
    Failure,
    Broken,
}

impl<Res, Rec> Taken<Res, Rec> {
    /// The offer was processed: it is remembered.
    pub fn success(response: Res) -> Self {
        Self {
            response,
            end: End::Success,
            record: None,
        }
    }

    /// The offer failed: it may be retried at once. A recorded answer goes to the duplicates that wait already; without
    /// one, they are refused as [`InFlight`](Reason::InFlight).
    pub fn failure(response: Res) -> Self {
        Self {
            end: End::Failure,
            ..Self::success(response)
        }
    }

    pub(crate) fn of(response: Res, is_success: bool) -> Self {
        if is_success {
            Self::success(response)
        } else {
            Self::failure(response)
        }
    }

    /// The response broke off, and is no answer to anybody: as after an `Err`, the offer may be retried at once, and of
    /// the duplicates that wait already one is processed next.
    pub fn broken(response: Res) -> Self {
        Self {
            end: End::Broken,
            ..Self::success(response)
        }
    }

    /// What goes out.
    pub fn response(&self) -> &Res {
        &self.response
    }

    /// What goes out.
    pub fn into_response(self) -> Res {
        self.response
    }

    /// Whether the offer is remembered.
    pub fn is_success(&self) -> bool {
        self.end == End::Success
    }

    /// What is kept to answer duplicates with.
    pub fn record(&self) -> Option<&Rec> {
        self.record.as_ref().map(|(record, _)| record)
    }

    /// The same of another response: what an answer around this one makes of it.
    pub fn map<Out>(self, map: impl FnOnce(Res) -> Out) -> Taken<Out, Rec> {
        Taken {
            response: map(self.response),
            end: self.end,
            record: self.record,
        }
    }

    /// Keeps `record`, which takes `bytes` bytes of the layer's memory, to answer duplicates with.
    #[must_use]
    pub fn recorded(self, record: Rec, bytes: usize) -> Self {
        Self {
            record: Some((record, bytes)),
            ..self
        }
    }
}

/// Tells whether a response means that an offer was processed. A closure `Fn(&Res) -> bool` does.
pub trait Success<Res> {
    /// Whether `response` is that of a success.
    fn is_success(&self, response: &Res) -> bool;
}

impl<F: Fn(&Res) -> bool, Res> Success<Res> for F {
    fn is_success(&self, response: &Res) -> bool {
        self(response)
    }
}

/// Takes every response for a success: a service that fails says `Err`.
#[derive(Clone, Copy, Debug, Default)]
pub struct EveryOk;

impl<Res> Success<Res> for EveryOk {
    fn is_success(&self, _: &Res) -> bool {
        true
    }
}
