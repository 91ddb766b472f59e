//! [`HttpAnswer`]: refusals as problem+json, and replayed answers.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{
        CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RETRY_AFTER, TE,
        TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
    response::Parts,
};
use http_body::Body;
use pin_project::pin_project;

use super::{
    BufferedBody,
    body::{Outcome, Reading},
};
use crate::{
    Offer, Reason, Refusal,
    answer::{Answer, Duplicates, Settled},
};

const OFFER_REPLAYED: HeaderName = HeaderName::from_static("offer-replayed");

/// The answers of an HTTP service: what is refused gets a problem document (RFC 9457), what is repeated the answer of the
/// first, or a refusal too.
///
/// | refused as | status | `Retry-After` |
/// |---|---|---|
/// | [`InFlight`](Reason::InFlight), [`Busy`](Reason::Busy) | 409 | 1 |
/// | [`CoolingDown`](Reason::CoolingDown) | 409 | what is left |
/// | [`Processed`](Reason::Processed), [`NotRecorded`](Reason::NotRecorded), [`Superseded`](Reason::Superseded) | 409 | none: a retry would make a second session |
/// | [`QueueFull`](Reason::QueueFull), [`TimedOut`](Reason::TimedOut), [`Aborted`](Reason::Aborted), [`StoreUnavailable`](Reason::StoreUnavailable) | 503 | 1 |
/// | [`BodyTooLarge`](Reason::BodyTooLarge) | 413 | none |
/// | [`BodyTimedOut`](Reason::BodyTimedOut) | 408 | none |
/// | [`PeerMissing`](Reason::PeerMissing) | 400 | none |
///
/// The [`Refusal`] is in the response's extensions as well, for layers outside. `2xx` is a success.
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
#[derive(Clone)]
pub struct HttpAnswer {
    duplicates: Duplicates,
    max_record: usize,
    refuse: Arc<MakeRefusal>,
}

type MakeRefusal = dyn Fn(&Refusal) -> Response<Bytes> + Send + Sync;

impl HttpAnswer {
    /// Refuses duplicates.
    pub fn refusing() -> Self {
        Self {
            duplicates: Duplicates::Refuse,
            max_record: 64 * 1024,
            refuse: Arc::new(problem),
        }
    }

    /// Gives duplicates the answer of the first: status, fields and body, with a `Content-Length`, without hop-by-hop
    /// fields and `Date`, marked `offer-replayed: true`. Duplicates of an offer in flight wait for it, 64 for a peer and
    /// 10 s at most.
    ///
    /// An answer is recorded if its length is known to be at most 64 KiB: it is read while the peer is locked. Any other
    /// passes as it comes, and its duplicates are refused as [`NotRecorded`](Reason::NotRecorded), or where it is a failure,
    /// those that wait already as [`InFlight`](Reason::InFlight).
    pub fn replaying() -> Self {
        Self {
            duplicates: Duplicates::WAIT,
            ..Self::refusing()
        }
    }

    /// How many duplicates wait for an answer that is [replayed](Self::replaying), per peer; 64 by default.
    #[must_use]
    pub fn max_waiters(mut self, most: usize) -> Self {
        if let Duplicates::Wait { max_waiters, .. } = &mut self.duplicates {
            *max_waiters = most;
        }
        self
    }

    /// How long a duplicate waits for an answer that is [replayed](Self::replaying); 10 s by default.
    #[must_use]
    pub fn wait_timeout(mut self, time: Duration) -> Self {
        if let Duplicates::Wait { wait_timeout, .. } = &mut self.duplicates {
            *wait_timeout = time;
        }
        self
    }

    /// How large a body is recorded; 64 KiB by default.
    #[must_use]
    pub fn max_record(self, bytes: usize) -> Self {
        Self {
            max_record: bytes,
            ..self
        }
    }

    /// Answers what is refused with what `refuse` makes of it, instead of a problem document.
    #[must_use]
    pub fn refuse_with(self, refuse: impl Fn(&Refusal) -> Response<Bytes> + Send + Sync + 'static) -> Self {
        Self {
            refuse: Arc::new(refuse),
            ..self
        }
    }
}

impl fmt::Debug for HttpAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpAnswer")
            .field("duplicates", &self.duplicates)
            .field("max_record", &self.max_record)
            .finish_non_exhaustive()
    }
}

impl<B: Body, E> Answer<Response<B>, E> for HttpAnswer {
    type Response = Response<BufferedBody<B>>;
    type Record = Recorded;
    type Settle = SettleAnswer<B>;

    fn duplicates(&self) -> Duplicates {
        self.duplicates
    }

    fn pass(&self, response: Response<B>) -> Self::Response {
        response.map(BufferedBody::untouched)
    }

    fn settle(&self, response: Response<B>, _: &Offer) -> SettleAnswer<B> {
        let is_replayed = self.duplicates != Duplicates::Refuse;
        let is_small = response
            .body()
            .size_hint()
            .upper()
            .is_some_and(|upper| upper <= self.max_record as u64);
        if is_replayed && is_small {
            let (head, body) = response.into_parts();
            SettleAnswer {
                answer: Some(Taking::Reading(head, Reading::new(body, self.max_record))),
            }
        } else {
            SettleAnswer {
                answer: Some(Taking::Passing(response.map(BufferedBody::untouched))),
            }
        }
    }

    fn replay(&self, record: &Recorded) -> Self::Response {
        let mut response = Response::new(BufferedBody::whole(record.body.clone()));
        *response.status_mut() = record.status;
        for (name, value) in &record.fields {
            response.headers_mut().append(name, value.clone());
        }
        response
    }

    fn refuse(&self, refusal: &Refusal) -> Result<Self::Response, E> {
        let mut response = (self.refuse)(refusal).map(BufferedBody::whole);
        response.extensions_mut().insert(refusal.clone());
        Ok(response)
    }
}

/// Reads an answer to record it, or passes it on as it comes.
#[pin_project]
pub struct SettleAnswer<B: Body> {
    /// There until the answer is taken.
    answer: Option<Taking<B>>,
}

enum Taking<B: Body> {
    Reading(Parts, Reading<B>),
    Passing(Response<BufferedBody<B>>),
}

impl<B: Body> Future for SettleAnswer<B> {
    type Output = Settled<Response<BufferedBody<B>>, Recorded>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = self.project().answer;
        let outcome = match answer {
            Some(Taking::Reading(_, reading)) => Some(ready!(Pin::new(reading).poll(cx))),
            Some(Taking::Passing(_)) | None => None,
        };
        let taken = match (answer.take().expect("`SettleAnswer` polled after completion"), outcome) {
            (Taking::Reading(head, _), Some(Outcome::Whole(bytes, body))) => {
                let recorded = Recorded::new(&head, &bytes);
                let weight = recorded.bytes();
                taken(Response::from_parts(head, body)).recorded(recorded, weight)
            }
            (Taking::Reading(head, _), Some(Outcome::TooLarge(body))) => taken(Response::from_parts(head, body)),
            // Its sender has no answer: the retry it owes, or has sent already, is to be processed.
            (Taking::Reading(head, _), Some(Outcome::Broken(body))) => {
                Settled::broken(Response::from_parts(head, body))
            }
            (Taking::Reading(..), None) => unreachable!("it was read above"),
            (Taking::Passing(response), _) => taken(response),
        };
        Poll::Ready(taken)
    }
}

fn taken<B>(response: Response<B>) -> Settled<Response<B>, Recorded> {
    let is_success = response.status().is_success();
    Settled::of(response, is_success)
}

impl<B: Body> fmt::Debug for SettleAnswer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettleAnswer").finish_non_exhaustive()
    }
}

/// A recorded answer, as it is given again.
#[derive(Clone)]
pub struct Recorded {
    status: StatusCode,
    /// In a list, which takes less than a map.
    fields: Box<[(HeaderName, HeaderValue)]>,
    body: Bytes,
}

impl Recorded {
    /// Of copies, for the originals may be pieces of a larger buffer, which they would keep alive.
    fn new(head: &Parts, body: &[u8]) -> Self {
        let is_kept = kept_fields(&head.headers);
        let copied = head
            .headers
            .iter()
            .filter(|(name, _)| is_kept(name))
            .map(|(name, value)| {
                let mut copy = HeaderValue::from_bytes(value.as_bytes()).expect("it is a field's value");
                copy.set_sensitive(value.is_sensitive());
                (name.clone(), copy)
            });
        // RFC 9110 §8.6: none with 204.
        let length = (head.status != StatusCode::NO_CONTENT).then(|| (CONTENT_LENGTH, HeaderValue::from(body.len())));
        let mark = (OFFER_REPLAYED, HeaderValue::from_static("true"));
        Self {
            status: head.status,
            fields: copied.chain(length).chain([mark]).collect(),
            body: Bytes::copy_from_slice(body),
        }
    }

    /// What it takes in memory.
    fn bytes(&self) -> usize {
        let texts = self
            .fields
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len());
        size_of::<Self>() + size_of_val(&*self.fields) + texts.sum::<usize>() + self.body.len()
    }
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorded")
            .field("status", &self.status)
            .field("body", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Tells the fields that go with a recorded answer: not its date, nor what is set anew, nor those that concern one
/// connection, which are known or named by `Connection` (RFC 9110 §7.6.1).
fn kept_fields(headers: &HeaderMap) -> impl Fn(&HeaderName) -> bool {
    const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    let named: Vec<_> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse::<HeaderName>().ok())
        .collect();
    move |name| {
        let dropped = [
            CONNECTION,
            CONTENT_LENGTH,
            DATE,
            KEEP_ALIVE,
            OFFER_REPLAYED,
            PROXY_AUTHENTICATE,
            PROXY_AUTHORIZATION,
            PROXY_CONNECTION,
            TE,
            TRAILER,
            TRANSFER_ENCODING,
            UPGRADE,
        ];
        !dropped.contains(name) && !named.contains(name)
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
