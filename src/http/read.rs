//! [`ReadOffer`]: reads a body and looks for an offer in it.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, request::Parts};
use http_body::Body;

use super::{
    BufferedBody,
    body::{Outcome, Reading},
    origin::Origin,
    rules::{Media, Passed, Rules},
    slow::Slow,
};
use crate::{PeerKey, Reason, Refusal, extract::Found};

/// Reads the body of a request that may be an offer.
pub struct ReadOffer<B> {
    reading: Reading<B>,
    /// There once the body has been waited for.
    slow: Option<Pin<Box<Slow>>>,
    /// There until the body is read.
    head: Option<Box<Parts>>,
    credentials: [u8; 16],
    /// The peer by the head alone, or `None` if a required part is missing.
    peer: Option<PeerKey>,
    media: Media,
    rules: Arc<Rules>,
}

impl<B: Body> ReadOffer<B> {
    pub(super) fn new(
        head: Parts,
        body: B,
        credentials: [u8; 16],
        peer: Option<PeerKey>,
        media: Media,
        rules: &Arc<Rules>,
    ) -> Self {
        Self {
            reading: Reading::new(body, rules.cap(media)),
            slow: None,
            head: Some(Box::new(head)),
            credentials,
            peer,
            media,
            rules: Arc::clone(rules),
        }
    }

    fn found(
        &self,
        bytes: &[u8],
        mut head: Parts,
        body: BufferedBody<B>,
    ) -> Found<Request<BufferedBody<B>>, Infallible> {
        // If the head lacks a part, any key shows whether this would be an offer.
        let peer = self.peer.unwrap_or_else(|| PeerKey::from(""));
        let Some(offer) = self.rules.offer(self.media, &head, peer, bytes) else {
            return Found::Pass(Passed::NoOffer.request(head, body));
        };
        if self.peer.is_none() {
            return Found::Refused(Refusal::new(Reason::PeerMissing));
        }
        let mut offer = offer.origin(Origin::bytes_of(&head, &self.credentials));
        if let Some(label) = &self.rules.label {
            offer = offer.label(label(&head));
        }
        head.extensions.insert(offer.peer());
        Found::Offer(Request::from_parts(head, body), offer)
    }
}

impl<B: Body> Future for ReadOffer<B> {
    type Output = Found<Request<BufferedBody<B>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let outcome = match Pin::new(&mut this.reading).poll(cx) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => {
                let timeout = this.rules.body_timeout;
                let slow = this.slow.get_or_insert_with(|| Box::pin(Slow::new(timeout)));
                ready!(slow.as_mut().poll(cx));
                None
            }
        };
        this.slow = None;
        let head = *this.head.take().expect("`ReadOffer` polled after completion");
        let is_sdp = this.media == Media::Sdp;
        Poll::Ready(match outcome {
            None if is_sdp => Found::Refused(Refusal::new(Reason::BodyTimedOut)),
            None => Found::Unchecked(Passed::Unchecked.request(head, this.reading.stop())),
            Some(Outcome::TooLarge(_)) if is_sdp => Found::Refused(Refusal::new(Reason::BodyTooLarge)),
            Some(Outcome::TooLarge(body) | Outcome::Broken(body)) => {
                Found::Unchecked(Passed::Unchecked.request(head, body))
            }
            Some(Outcome::Whole(bytes, body)) => this.found(&bytes, head, body),
        })
    }
}

impl<B> fmt::Debug for ReadOffer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadOffer")
            .field("peer", &self.peer)
            .field("media", &self.media)
            .finish_non_exhaustive()
    }
}
