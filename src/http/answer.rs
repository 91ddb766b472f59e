//! [`HttpAnswer`]: refusals as problem+json, and replayed answers.

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER},
    response::Parts,
};
use http_body::Body;

use super::{BufferedBody, Recorded, SettleAnswer, recorded::KeepField};
use crate::{
    Offer, Reason, Refusal,
    answer::{Answer, Duplicates, EncodedRecord, Ended},
};

/// Builds the answers of an HTTP service. `M` is [`Replaying`] or [`Refusing`].
///
/// A refusal is a problem document (RFC 9457). The [`Refusal`] is also in the response's extensions, for layers
/// outside.
///
/// | refused as | status | `Retry-After` |
/// |---|---|---|
/// | [`InFlight`](Reason::InFlight), [`Busy`](Reason::Busy) | 409 | 1 |
/// | [`CoolingDown`](Reason::CoolingDown) | 409 | the rest of the cooldown |
/// | [`Processed`](Reason::Processed), [`NotRecorded`](Reason::NotRecorded), [`Superseded`](Reason::Superseded) | 409 | none: a retry would make a second session |
/// | [`QueueFull`](Reason::QueueFull), [`TimedOut`](Reason::TimedOut), [`Aborted`](Reason::Aborted), [`StoreUnavailable`](Reason::StoreUnavailable) | 503 | 1 |
/// | [`BodyTooLarge`](Reason::BodyTooLarge) | 413 | none |
/// | [`BodyTimedOut`](Reason::BodyTimedOut) | 408 | none |
/// | [`PeerMissing`](Reason::PeerMissing) | 400 | none |
///
/// An offer is remembered if its answer is 2xx; [`success_if`](Self::success_if) decides otherwise. An answer whose
/// body breaks off answers nobody: a duplicate is processed next.
///
/// A response to `DELETE` ends a session if it is 2xx, 404 or 410; the last two count only if the `DELETE` has the
/// credentials of the offer.
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
/// use http::Response;
/// use tower_offer_dedup::{Reason, Refusal, answer::Answer, http::HttpAnswer};
///
/// let answer = HttpAnswer::replaying();
/// let refused: Result<_, Infallible> =
///     Answer::<Response<String>, _>::refuse(&answer, &Refusal::new(Reason::Busy));
/// let refused = refused.unwrap();
/// assert_eq!(refused.status(), 409);
/// assert_eq!(refused.headers()["retry-after"], "1");
/// ```
pub struct HttpAnswer<M = Replaying> {
    rules: Arc<Rules>,
    mode: PhantomData<fn() -> M>,
}

/// Answers duplicates with the recorded answer. See [`HttpAnswer::replaying`].
#[derive(Clone, Copy, Debug)]
pub enum Replaying {}

/// Refuses duplicates. See [`HttpAnswer::refusing`].
#[derive(Clone, Copy, Debug)]
pub enum Refusing {}

/// The settings of an [`HttpAnswer`].
#[derive(Clone)]
pub(super) struct Rules {
    duplicates: Duplicates,
    pub(super) max_record: usize,
    refuse: Arc<MakeRefusal>,
    success_if: Option<Arc<SuccessIf>>,
    keep_field: Option<Arc<KeepField>>,
}

type MakeRefusal = dyn Fn(&Refusal) -> Response<Bytes> + Send + Sync;
type SuccessIf = dyn Fn(&Parts, Option<&[u8]>) -> bool + Send + Sync;

impl HttpAnswer<Refusing> {
    /// Refuses duplicates.
    pub fn refusing() -> Self {
        Self::new(Duplicates::Refuse)
    }
}

impl HttpAnswer<Replaying> {
    /// Answers duplicates with the status, fields and body of the first answer, marked `offer-replayed: true`.
    /// Duplicates of an offer in flight wait for it, at most 64 of one peer, for at most 10 s.
    ///
    /// An answer is read while the peer is locked, for at most 1 s after its body first has to be waited for, up to 64
    /// KiB. That needs a tokio runtime with its timer enabled unless the body is there at once. An answer that is
    /// larger or slower goes out as it comes. Its duplicates are refused as [`NotRecorded`](Reason::NotRecorded); if it
    /// is a failure, those that wait already are refused as [`InFlight`](Reason::InFlight).
    ///
    /// A replay has a `Content-Length`. It never repeats fields that concern one connection (RFC 9110 §7.6.1). By
    /// default it does not repeat `Set-Cookie`, `Date`, `Age`, `Server-Timing`, rate-limit fields (`RateLimit`,
    /// `RateLimit-*`, `X-RateLimit-*`, `X-Rate-Limit-*`) and the ids of requests and traces (`Request-Id`,
    /// `Correlation-Id`, both also with `X-`, `X-Trace-Id`, `traceparent`, `tracestate`, `traceresponse`);
    /// [`keep_field`](Self::keep_field) decides otherwise. `Retry-After` is repeated: it belongs to failures, and these
    /// go only to duplicates that wait already.
    pub fn replaying() -> Self {
        Self::new(Duplicates::WAIT)
    }

    /// Sets how many duplicates of one peer may wait for an answer; 64 by default. With zero, a duplicate of an offer
    /// in flight is refused.
    #[must_use]
    pub fn max_waiters(self, most: usize) -> Self {
        self.with(|rules| {
            if let Duplicates::Wait { max_waiters, .. } = &mut rules.duplicates {
                *max_waiters = most;
            }
        })
    }

    /// Sets how long a duplicate may wait for an answer; 10 s by default.
    #[must_use]
    pub fn wait_timeout(self, time: Duration) -> Self {
        self.with(|rules| {
            if let Duplicates::Wait { wait_timeout, .. } = &mut rules.duplicates {
                *wait_timeout = time;
            }
        })
    }

    /// Sets how many bytes of a body are recorded; 64 KiB by default.
    #[must_use]
    pub fn max_record(self, bytes: usize) -> Self {
        self.with(|rules| rules.max_record = bytes)
    }

    /// Sets which fields a replay repeats. `keep` gets the name of a field and whether it is repeated by default.
    ///
    /// It is not asked about fields that concern one connection, which are never repeated, nor about `Content-Length`.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::header::SERVER;
    /// use tower_offer_dedup::http::HttpAnswer;
    ///
    /// let answer = HttpAnswer::replaying()
    ///     .keep_field(|name, default| default && name != SERVER);
    /// # let _ = answer;
    /// ```
    #[must_use]
    pub fn keep_field(self, keep: impl Fn(&HeaderName, bool) -> bool + Send + Sync + 'static) -> Self {
        self.with(|rules| rules.keep_field = Some(Arc::new(keep)))
    }
}

impl<M> HttpAnswer<M> {
    fn new(duplicates: Duplicates) -> Self {
        Self {
            rules: Arc::new(Rules {
                duplicates,
                max_record: 64 * 1024,
                refuse: Arc::new(problem),
                success_if: None,
                keep_field: None,
            }),
            mode: PhantomData,
        }
    }

    /// Remembers an offer only if `success` returns `true` for the head and the body of its answer. By default 2xx is a
    /// success.
    ///
    /// The body is read up to 64 KiB, or up to [`max_record`](HttpAnswer::max_record), for at most 1 s. `success` gets
    /// `None` instead of a body that is larger or slower.
    ///
    /// # Examples
    ///
    /// A server that answers 200 with an error code in the body:
    ///
    /// ```
    /// use tower_offer_dedup::http::HttpAnswer;
    ///
    /// let answer = HttpAnswer::replaying().success_if(|head, body| {
    ///     let is_ok = |body: &[u8]| body.starts_with(br#"{"code":0,"#);
    ///     head.status.is_success() && body.is_none_or(is_ok)
    /// });
    /// # let _ = answer;
    /// ```
    #[must_use]
    pub fn success_if(self, success: impl Fn(&Parts, Option<&[u8]>) -> bool + Send + Sync + 'static) -> Self {
        self.with(|rules| rules.success_if = Some(Arc::new(success)))
    }

    /// Builds refusals with `refuse` instead of as problem documents.
    #[must_use]
    pub fn refuse_with(self, refuse: impl Fn(&Refusal) -> Response<Bytes> + Send + Sync + 'static) -> Self {
        self.with(|rules| rules.refuse = Arc::new(refuse))
    }

    fn with(mut self, set: impl FnOnce(&mut Rules)) -> Self {
        set(Arc::make_mut(&mut self.rules));
        self
    }
}

impl<B: Body, E, M> Answer<Response<B>, E> for HttpAnswer<M> {
    type Response = Response<BufferedBody<B>>;
    type Record = Recorded;
    type Settle = SettleAnswer<B>;

    fn duplicates(&self) -> Duplicates {
        self.rules.duplicates
    }

    fn pass(&self, response: Response<B>) -> Self::Response {
        response.map(BufferedBody::untouched)
    }

    fn settle(&self, response: Response<B>, offer: &Offer) -> SettleAnswer<B> {
        SettleAnswer::new(response, offer, &self.rules)
    }

    fn ended(&self, response: &Response<B>) -> Ended {
        match response.status() {
            status if status.is_success() => Ended::Yes,
            StatusCode::NOT_FOUND | StatusCode::GONE => Ended::IfSamePrincipal,
            _ => Ended::No,
        }
    }

    fn replay(&self, record: &Recorded) -> Self::Response {
        record.replay().map(BufferedBody::whole)
    }

    fn refuse(&self, refusal: &Refusal) -> Result<Self::Response, E> {
        let mut response = (self.rules.refuse)(refusal).map(BufferedBody::whole);
        response.extensions_mut().insert(refusal.clone());
        Ok(response)
    }

    fn encode(&self, record: &Recorded) -> Option<EncodedRecord> {
        record.encode()
    }

    fn decode(&self, record: &EncodedRecord) -> Option<Recorded> {
        Recorded::decode(record)
    }
}

impl Rules {
    fn replays(&self) -> bool {
        self.duplicates != Duplicates::Refuse
    }

    /// Returns whether the bodies of answers are read.
    pub(super) fn reads_bodies(&self) -> bool {
        self.replays() || self.success_if.is_some()
    }

    /// Returns whether an answer may be a success, whatever its body says.
    pub(super) fn may_succeed(&self, head: &Parts) -> bool {
        self.success_if.is_some() || head.status.is_success()
    }

    /// Returns whether an answer is a success. `body` is `None` if it was too large or too slow.
    pub(super) fn is_success(&self, head: &Parts, body: Option<&[u8]>) -> bool {
        match &self.success_if {
            Some(success) => success(head, body),
            None => head.status.is_success(),
        }
    }

    /// Records an answer if duplicates get it.
    pub(super) fn record(&self, head: &Parts, body: &[u8]) -> Option<Recorded> {
        self.replays()
            .then(|| Recorded::new(head, body, self.keep_field.as_deref()))
    }
}

impl<M> Clone for HttpAnswer<M> {
    fn clone(&self) -> Self {
        Self {
            rules: Arc::clone(&self.rules),
            mode: PhantomData,
        }
    }
}

impl<M> fmt::Debug for HttpAnswer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpAnswer")
            .field("duplicates", &self.rules.duplicates)
            .field("max_record", &self.rules.max_record)
            .finish_non_exhaustive()
    }
}

/// The problem document (RFC 9457) of a refusal.
fn problem(refusal: &Refusal) -> Response<Bytes> {
    let status = match refusal.reason() {
        Reason::InFlight
        | Reason::Busy
        | Reason::CoolingDown
        | Reason::Processed
        | Reason::NotRecorded
        | Reason::Superseded => StatusCode::CONFLICT,
        Reason::QueueFull | Reason::TimedOut | Reason::Aborted | Reason::StoreUnavailable => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Reason::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::BodyTimedOut => StatusCode::REQUEST_TIMEOUT,
        Reason::PeerMissing => StatusCode::BAD_REQUEST,
    };
    let id = refusal.reason().as_str();
    let body = format!(
        r#"{{"type":"tag:tower-offer-dedup,2026:{id}","title":"{refusal}","status":{}}}"#,
        status.as_u16(),
    );
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(CONTENT_LENGTH, length);
    if let Some(time) = refusal.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(time)));
    }
    response
}

/// Rounded up: a sender that comes back a little late is better than one that is early.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}
