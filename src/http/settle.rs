//! [`SettleAnswer`]: reads an answer before it goes out.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Response, header::LOCATION, response::Parts};
use http_body::Body;
use pin_project::pin_project;
use tokio::time::{Sleep, sleep};

use super::{
    BufferedBody, Recorded,
    answer::Rules,
    body::{Outcome, Reading},
    location,
    origin::Origin,
};
use crate::{Offer, answer::Settled, extract::SessionUri};

/// The time limit for reading an answer. The peer is locked meanwhile, and the answer waits.
const MAX_TIME: Duration = Duration::from_secs(1);

/// The future of [`HttpAnswer`](super::HttpAnswer), which reads an answer or passes it on as it comes.
#[pin_project]
pub struct SettleAnswer<B: Body> {
    /// `None` after completion.
    answer: Option<Pending<B>>,
    /// Made when the body is not there at once. Boxed: most are.
    timer: Option<Pin<Box<Sleep>>>,
}

struct Pending<B: Body> {
    head: Parts,
    body: PendingBody<B>,
    session: Option<SessionUri>,
    rules: Arc<Rules>,
}

enum PendingBody<B: Body> {
    Reading(Reading<B>),
    /// `None` after completion.
    Passing(Option<B>),
}

impl<B: Body> SettleAnswer<B> {
    pub(super) fn new(response: Response<B>, offer: &Offer, rules: &Arc<Rules>) -> Self {
        let (head, body) = response.into_parts();
        let session = if rules.may_succeed(&head) {
            session_uri(&head, offer)
        } else {
            None
        };
        let is_too_large = body.size_hint().lower() > rules.max_record as u64;
        let body = if rules.reads_bodies() && !is_too_large {
            PendingBody::Reading(Reading::new(body, rules.max_record))
        } else {
            PendingBody::Passing(Some(body))
        };
        Self {
            answer: Some(Pending {
                head,
                body,
                session,
                rules: Arc::clone(rules),
            }),
            timer: None,
        }
    }
}

/// Returns the URI of the session that an answer names.
fn session_uri(head: &Parts, offer: &Offer) -> Option<SessionUri> {
    let location = head.headers.get(LOCATION)?;
    location::session_uri(&Origin::from_bytes(offer.origin_bytes())?, location)
}

impl<B: Body> Future for SettleAnswer<B> {
    type Output = Settled<Response<BufferedBody<B>>, Recorded>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = this.answer.as_mut().expect("`SettleAnswer` polled after completion");
        let read = match &mut answer.body {
            PendingBody::Reading(reading) => match Pin::new(&mut *reading).poll(cx) {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => {
                    let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(MAX_TIME)));
                    if timer.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    Outcome::TooLarge(reading.stop())
                }
            },
            PendingBody::Passing(body) => {
                let body = body.take().expect("`SettleAnswer` polled after completion");
                Outcome::TooLarge(BufferedBody::untouched(body))
            }
        };
        let answer = this.answer.take().expect("it was there above");
        Poll::Ready(answer.settle(read))
    }
}

impl<B: Body> Pending<B> {
    fn settle(self, read: Outcome<B>) -> Settled<Response<BufferedBody<B>>, Recorded> {
        let Self {
            head, session, rules, ..
        } = self;
        let (bytes, body): (Option<Bytes>, _) = match read {
            Outcome::Whole(bytes, body) => (Some(bytes), body),
            Outcome::TooLarge(body) => (None, body),
            // The client has no answer. Its retry is processed.
            Outcome::Broken(body) => return Settled::broken(Response::from_parts(head, body)),
        };
        let is_success = rules.is_success(&head, bytes.as_deref());
        let record = bytes.and_then(|bytes| rules.record(&head, &bytes));
        let mut settled = Settled::of(Response::from_parts(head, body), is_success);
        if let Some(record) = record {
            let weight = record.bytes();
            settled = settled.recorded(record, weight);
        }
        match session {
            Some(uri) if is_success => settled.session(uri),
            _ => settled,
        }
    }
}

impl<B: Body> fmt::Debug for SettleAnswer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettleAnswer").finish_non_exhaustive()
    }
}
