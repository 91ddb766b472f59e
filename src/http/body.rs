//! [`BufferedBody`]: reads a body up to a cap, and passes it on whole.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

/// The body of a request or response that went through the layer: as it came, or what was read of it and then the rest.
#[pin_project]
pub struct BufferedBody<B: Body> {
    /// The bytes that were read. They come first.
    read: Bytes,
    #[pin]
    rest: Rest<B>,
}

#[pin_project(project = RestProj)]
enum Rest<B: Body> {
    Untouched(#[pin] B),
    Unread(Pin<Box<B>>),
    Trailers(Option<HeaderMap>),
    Error(Option<B::Error>),
}

impl<B: Body> BufferedBody<B> {
    pub(super) fn untouched(body: B) -> Self {
        Self {
            read: Bytes::new(),
            rest: Rest::Untouched(body),
        }
    }

    pub(super) fn whole(read: Bytes) -> Self {
        Self {
            read,
            rest: Rest::Trailers(None),
        }
    }
}

impl<B: Body> Body for BufferedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if !this.read.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(this.read)))));
        }
        let frame = match this.rest.project() {
            RestProj::Untouched(body) => ready!(body.poll_frame(cx)),
            RestProj::Unread(body) => ready!(body.as_mut().poll_frame(cx)),
            RestProj::Trailers(trailers) => {
                return Poll::Ready(trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            }
            RestProj::Error(error) => return Poll::Ready(error.take().map(Err)),
        };
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(into_bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty()
            && match &self.rest {
                Rest::Untouched(body) => body.is_end_stream(),
                Rest::Unread(body) => body.is_end_stream(),
                Rest::Trailers(trailers) => trailers.is_none(),
                Rest::Error(error) => error.is_none(),
            }
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.read.len() as u64;
        let rest = match &self.rest {
            Rest::Untouched(body) => body.size_hint(),
            Rest::Unread(body) => body.size_hint(),
            Rest::Trailers(_) => SizeHint::with_exact(0),
            Rest::Error(_) => SizeHint::default(),
        };
        let mut hint = SizeHint::new();
        hint.set_lower(read.saturating_add(rest.lower()));
        if let Some(upper) = rest.upper() {
            hint.set_upper(read.saturating_add(upper));
        }
        hint
    }
}

impl<B: Body> fmt::Debug for BufferedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferedBody")
            .field("read", &self.read.len())
            .finish_non_exhaustive()
    }
}

/// Reads a body until its end, or until it is larger than a cap.
pub(super) struct Reading<B> {
    /// Boxed, because the rest of it moves on after it was polled. `None` once it has ended.
    body: Option<Pin<Box<B>>>,
    read: Read,
    cap: usize,
}

/// The number of empty frames in one poll. They make no progress towards the cap, so a body that is always ready with
/// another one would hold its thread forever.
const MAX_EMPTY_FRAMES: usize = 32;

/// The bytes read so far: one frame as it came, or several copied together, so that small frames take no more than
/// their bytes.
enum Read {
    One(Bytes),
    Many(BytesMut),
}

/// The end of reading a body.
pub(super) enum Outcome<B: Body> {
    /// The whole body was read.
    Whole(Bytes, BufferedBody<B>),
    /// The body is larger than the cap. The bytes that were read come first, then the rest.
    TooLarge(BufferedBody<B>),
    /// The body failed. The bytes that were read come first, then the error.
    Broken(BufferedBody<B>),
}

impl<B: Body> Reading<B> {
    pub(super) fn new(body: B, cap: usize) -> Self {
        // A body without content, such as that of a GET, needs no box.
        let has_content = !body.is_end_stream();
        Self {
            body: has_content.then(|| Box::pin(body)),
            read: Read::One(Bytes::new()),
            cap,
        }
    }

    /// Stops reading. Returns the bytes that were read, followed by the rest.
    pub(super) fn stop(&mut self) -> BufferedBody<B> {
        let rest = self.body.take().map_or(Rest::Trailers(None), Rest::Unread);
        self.end(rest)
    }

    fn end(&mut self, rest: Rest<B>) -> BufferedBody<B> {
        let read = match std::mem::replace(&mut self.read, Read::One(Bytes::new())) {
            Read::One(bytes) => bytes,
            Read::Many(bytes) => bytes.freeze(),
        };
        BufferedBody { read, rest }
    }
}

impl<B: Body> Future for Reading<B> {
    type Output = Outcome<B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<B>> {
        let this = &mut *self;
        let mut empty_frames = 0;
        loop {
            let Some(body) = &mut this.body else {
                let body = this.end(Rest::Trailers(None));
                return Poll::Ready(Outcome::Whole(body.read.clone(), body));
            };
            let trailers = match ready!(body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.has_remaining() => {
                        this.read.push(into_bytes(data));
                        if this.read.len() <= this.cap {
                            continue;
                        }
                        return Poll::Ready(Outcome::TooLarge(this.stop()));
                    }
                    Ok(_) if empty_frames == MAX_EMPTY_FRAMES => {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Ok(_) => {
                        empty_frames += 1;
                        continue;
                    }
                    Err(frame) => frame.into_trailers().ok(),
                },
                Some(Err(error)) => return Poll::Ready(Outcome::Broken(this.end(Rest::Error(Some(error))))),
                None => None,
            };
            let body = this.end(Rest::Trailers(trailers));
            return Poll::Ready(Outcome::Whole(body.read.clone(), body));
        }
    }
}

impl Read {
    fn push(&mut self, data: Bytes) {
        match self {
            Self::One(first) if first.is_empty() => *self = Self::One(data),
            Self::One(first) => {
                let mut bytes = BytesMut::with_capacity(first.len() + data.len());
                bytes.extend_from_slice(first);
                bytes.extend_from_slice(&data);
                *self = Self::Many(bytes);
            }
            Self::Many(bytes) => bytes.extend_from_slice(&data),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::One(bytes) => bytes.len(),
            Self::Many(bytes) => bytes.len(),
        }
    }
}

/// All of `data`, without a copy if it is `Bytes` already.
fn into_bytes(mut data: impl Buf) -> Bytes {
    data.copy_to_bytes(data.remaining())
}
