use std::{
    fmt,
    future::{Ready, ready},
    time::Duration,
};

#[cfg(feature = "json")]
use super::AsJson;
use super::{
    Answer, BuildRefusal, Codec, Duplicates, EncodedRecord, EveryOk, Settled, Success, Unshared, WithClosures,
    WithError,
};
use crate::{Offer, Refusal};

/// Answers duplicates with a clone of the first response, as a SIP server does for a retransmitted INVITE (RFC 3261
/// §17.2.1). A duplicate of an offer in flight waits for it.
///
/// The recorded answer goes to every sender of the same offer under the same peer key. Answers hold ICE credentials, so
/// the key must identify the principal.
///
/// # Examples
///
/// ```
/// use std::{convert::Infallible, time::Duration};
/// use tower_offer_dedup::{Fingerprint, Offer, Replay, answer::Answer};
///
/// let answer = Replay::with(|refusal| Err(refusal.reason()))
///     .max_waiters(16)
///     .wait_timeout(Duration::from_secs(3))
///     .success_if(Result::is_ok)
///     .weigher(|reply: &Result<String, _>| reply.as_ref().ok().map(String::len));
///
/// let offer = Offer::new("alice", Fingerprint::exact(b"v=0"));
/// let response = Ok("v=0".to_owned());
/// let settle =
///     Answer::<_, Infallible>::settle(&answer, response.clone(), &offer);
/// assert_eq!(settle.into_inner().record(), Some(&response));
/// ```
#[derive(Clone, Copy)]
pub struct Replay<F, P = EveryOk, W = SizeOf, C = Unshared> {
    refuse: F,
    success: P,
    weigher: W,
    codec: C,
    max_waiters: usize,
    wait_timeout: Duration,
}

impl<F> Replay<F> {
    /// Refuses with the response that `refuse` returns, where no answer can be replayed.
    pub fn with<Res>(refuse: F) -> Self
    where
        F: Fn(&Refusal) -> Res,
    {
        Self::new(refuse)
    }
}

impl<F> Replay<WithError<F>> {
    /// Refuses with the error that `refuse` returns, where no answer can be replayed.
    pub fn with_error<E>(refuse: F) -> Self
    where
        F: Fn(&Refusal) -> E,
    {
        Self::new(WithError(refuse))
    }
}

impl<F> Replay<F> {
    fn new(refuse: F) -> Self {
        Self {
            refuse,
            success: EveryOk,
            weigher: SizeOf,
            codec: Unshared,
            max_waiters: Duplicates::MAX_WAITERS,
            wait_timeout: Duplicates::WAIT_TIMEOUT,
        }
    }
}

impl<F, P, W, C> Replay<F, P, W, C> {
    /// Sets how many duplicates of one peer may wait for an answer; 64 by default. With zero, a duplicate of an offer in
    /// flight is refused.
    #[must_use]
    pub fn max_waiters(self, max_waiters: usize) -> Self {
        Self { max_waiters, ..self }
    }

    /// Sets how long a duplicate may wait for an answer; 10 s by default.
    #[must_use]
    pub fn wait_timeout(self, wait_timeout: Duration) -> Self {
        Self { wait_timeout, ..self }
    }

    /// Remembers an offer only if `success` returns `true` for its response. By default every `Ok` is a success.
    pub fn success_if<Res, Q>(self, success: Q) -> Replay<F, Q, W, C>
    where
        Q: Fn(&Res) -> bool,
    {
        Replay {
            refuse: self.refuse,
            success,
            weigher: self.weigher,
            codec: self.codec,
            max_waiters: self.max_waiters,
            wait_timeout: self.wait_timeout,
        }
    }

    /// Sets how many bytes a response takes in the layer's memory. By default that is the size of its type, without
    /// what it points to.
    ///
    /// `None` keeps no answer: duplicates are then refused as [`NotRecorded`](crate::Reason::NotRecorded), or, where the
    /// response is a failure, those that wait already as [`InFlight`](crate::Reason::InFlight).
    pub fn weigher<Res, V>(self, weigher: V) -> Replay<F, P, V, C>
    where
        V: Fn(&Res) -> Option<usize>,
    {
        Replay {
            refuse: self.refuse,
            success: self.success,
            weigher,
            codec: self.codec,
            max_waiters: self.max_waiters,
            wait_timeout: self.wait_timeout,
        }
    }

    /// Shares recorded responses with other nodes by the layer's [store](crate::OfferDedupBuilder::store). Without a
    /// codec, a duplicate on another node is refused as [`NotRecorded`](crate::Reason::NotRecorded).
    ///
    /// `tag` names the type of the response and the version of its encoding. A node with another tag does not decode it.
    /// `encode` returns `None` for a response that stays on its node, `decode` for bytes that it cannot read.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_offer_dedup::Replay;
    ///
    /// let answer = Replay::with(|refusal| refusal.to_string()).codec(
    ///     1,
    ///     |response: &String| Some(response.clone().into_bytes()),
    ///     |bytes| String::from_utf8(bytes.to_vec()).ok(),
    /// );
    /// # let _ = answer;
    /// ```
    pub fn codec<Res, N, D>(self, tag: u32, encode: N, decode: D) -> Replay<F, P, W, WithClosures<N, D>>
    where
        N: Fn(&Res) -> Option<Vec<u8>>,
        D: Fn(&[u8]) -> Option<Res>,
    {
        self.with_codec(WithClosures { tag, encode, decode })
    }

    /// Shares recorded responses with other nodes as JSON. See [`codec`](Self::codec).
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_offer_dedup::Replay;
    ///
    /// let answer = Replay::with(|refusal| refusal.to_string()).json_codec(1);
    /// # let _ = answer;
    /// ```
    #[cfg(feature = "json")]
    pub fn json_codec(self, tag: u32) -> Replay<F, P, W, AsJson> {
        self.with_codec(AsJson { tag })
    }

    fn with_codec<D>(self, codec: D) -> Replay<F, P, W, D> {
        Replay {
            refuse: self.refuse,
            success: self.success,
            weigher: self.weigher,
            codec,
            max_waiters: self.max_waiters,
            wait_timeout: self.wait_timeout,
        }
    }
}

impl<F, P, W, C, Res, E> Answer<Res, E> for Replay<F, P, W, C>
where
    F: BuildRefusal<Res, E>,
    P: Success<Res>,
    W: Weigh<Res>,
    C: Codec<Res>,
    Res: Clone + Send + Sync + 'static,
{
    type Response = Res;
    type Record = Res;
    type Settle = Ready<Settled<Res, Res>>;

    fn duplicates(&self) -> Duplicates {
        Duplicates::Wait {
            max_waiters: self.max_waiters,
            wait_timeout: self.wait_timeout,
        }
    }

    fn pass(&self, response: Res) -> Res {
        response
    }

    fn settle(&self, response: Res, _: &Offer) -> Self::Settle {
        let record = self.weigher.weigh(&response).map(|bytes| (response.clone(), bytes));
        let is_success = self.success.is_success(&response);
        let settled = Settled::of(response, is_success);
        ready(match record {
            Some((record, bytes)) => settled.recorded(record, bytes),
            None => settled,
        })
    }

    fn replay(&self, record: &Res) -> Res {
        record.clone()
    }

    fn refuse(&self, refusal: &Refusal) -> Result<Res, E> {
        self.refuse.build(refusal)
    }

    fn encode(&self, record: &Res) -> Option<EncodedRecord> {
        self.codec.encode(record)
    }

    fn decode(&self, record: &EncodedRecord) -> Option<Res> {
        self.codec.decode(record)
    }
}

/// Returns what a response takes in memory; see [`Replay::weigher`]. Implemented for closures
/// `Fn(&Res) -> Option<usize>`.
pub trait Weigh<Res> {
    /// Returns how many bytes `response` takes, or `None` not to keep it.
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

impl<F, P, W, C> fmt::Debug for Replay<F, P, W, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("max_waiters", &self.max_waiters)
            .field("wait_timeout", &self.wait_timeout)
            .finish_non_exhaustive()
    }
}
