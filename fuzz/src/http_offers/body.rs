//! A body that follows a script, and the events of a body.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};

use super::input::{Declared, Input, Step};

/// An event of a body. Consecutive data is joined into one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Data(Vec<u8>),
    Trailers(HeaderMap),
    Error,
}

impl Event {
    pub fn push(events: &mut Vec<Self>, event: Self) {
        match (events.last_mut(), event) {
            (_, Self::Data(data)) if data.is_empty() => {}
            (Some(Self::Data(before)), Self::Data(data)) => before.extend(data),
            (_, event) => events.push(event),
        }
    }
}

#[derive(Debug)]
pub struct Failed;

pub struct Script<'a, F> {
    steps: &'a [Step<'a>],
    declared: Declared,
    at_each_step: F,
}

impl<'a, F> Script<'a, F> {
    /// Calls `at_each_step` whenever a frame is polled.
    pub fn new(input: &'a Input<'a>, at_each_step: F) -> Self {
        Self {
            steps: &input.steps,
            declared: input.settings.declared,
            at_each_step,
        }
    }
}

impl<F: Fn() + Unpin> Body for Script<'_, F> {
    type Data = Bytes;
    type Error = Failed;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failed>>> {
        (self.at_each_step)();
        let Some((step, rest)) = self.steps.split_first() else {
            return Poll::Ready(None);
        };
        self.steps = rest;
        Poll::Ready(Some(match step {
            Step::Data(data) => Ok(Frame::data(Bytes::copy_from_slice(data))),
            Step::Trailers => Ok(Frame::trailers(trailers())),
            Step::Error => Err(Failed),
            Step::Pending => return Poll::Pending,
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.declared == Declared::Exactly && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.declared.hint(self.steps)
    }
}

pub fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(
        http::HeaderName::from_static("x-checksum"),
        HeaderValue::from_static("7"),
    )])
}

/// All events of `body`. Its size hints must be true at every step.
pub fn events(body: impl Body<Data = Bytes, Error = Failed>) -> Vec<Event> {
    let mut body = pin!(body);
    let mut events = Vec::new();
    let mut hints = Vec::new();
    loop {
        hints.push((data_in(&events), body.size_hint()));
        let is_end = body.is_end_stream();
        let frame = poll_to_end(|cx| body.as_mut().poll_frame(cx));
        assert!(!is_end || frame.is_none(), "a frame after the end");
        let event = match frame {
            None => break,
            Some(Err(Failed)) => Event::Error,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => Event::Data(data.into()),
                Err(frame) => Event::Trailers(frame.into_trailers().expect("the frame should hold trailers")),
            },
        };
        Event::push(&mut events, event);
    }
    for (before, hint) in hints {
        let rest = (data_in(&events) - before) as u64;
        assert!(
            hint.lower() <= rest && hint.upper().is_none_or(|upper| rest <= upper),
            "{hint:?} for {rest}"
        );
    }
    events
}

fn data_in(events: &[Event]) -> usize {
    let data = events
        .iter()
        .map(|event| if let Event::Data(data) = event { data.len() } else { 0 });
    data.sum()
}

/// Polls until ready. A script is never pending twice at one step.
pub fn poll_to_end<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(done) = poll(&mut cx) {
            return done;
        }
    }
}
