//! The extension traits fit HTTP: a request is read before the decision, and an answer is collected while the peer is
//! locked. The bodies are the hardest kind: neither `Clone`, nor `Sync`, nor `Unpin`.

mod support;

use std::{
    cell::Cell,
    collections::VecDeque,
    convert::Infallible,
    future::poll_fn,
    marker::{PhantomData, PhantomPinned},
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use pin_project::pin_project;
use support::settle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_test::{assert_pending, assert_ready_ok, task::spawn};
use tower::{Layer, Service, service_fn};
use tower_offer_dedup::{
    Fingerprint, Offer, OfferDedupHandle, OfferDedupLayer, Reason, Refusal,
    answer::{Answer, Duplicates, Settled},
    extract::{ExtractOffer, Found},
};

type Chunk = Result<String, &'static str>;

/// A body whose chunks arrive over a channel, after the chunks in `read`.
#[pin_project]
#[derive(Debug)]
struct Body {
    read: VecDeque<Chunk>,
    chunks: UnboundedReceiver<Chunk>,
    #[pin]
    never_moves: PhantomPinned,
    never_shared: PhantomData<Cell<()>>,
}

impl Body {
    fn new() -> (UnboundedSender<Chunk>, Self) {
        let (sender, chunks) = unbounded_channel();
        let body = Self {
            read: VecDeque::new(),
            chunks,
            never_moves: PhantomPinned,
            never_shared: PhantomData,
        };
        (sender, body)
    }

    fn whole(text: &str) -> Self {
        let (sender, body) = Self::new();
        sender.send(Ok(text.to_owned())).unwrap();
        body
    }

    /// Puts the chunks that were already read in front of the rest.
    fn behind(mut self: Pin<&mut Self>, read: VecDeque<Chunk>) -> Self {
        let (_, mut body) = Self::new();
        std::mem::swap(self.as_mut().project().chunks, &mut body.chunks);
        body.read = read;
        body
    }

    fn poll_chunk(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        let this = self.project();
        match this.read.pop_front() {
            Some(chunk) => Poll::Ready(Some(chunk)),
            None => this.chunks.poll_recv(cx),
        }
    }
}

/// Reads at most `cap` bytes. Returns the text, or the unchanged body and its error.
async fn collect(body: Body, cap: usize) -> Result<String, (Body, Option<&'static str>)> {
    let mut body = pin!(body);
    let (mut read, mut text) = (VecDeque::new(), String::new());
    while let Some(chunk) = poll_fn(|cx| body.as_mut().poll_chunk(cx)).await {
        let error = chunk.as_ref().err().copied();
        text += chunk.as_deref().unwrap_or_default();
        read.push_back(chunk);
        if error.is_some() || text.len() > cap {
            return Err((body.behind(read), error));
        }
    }
    Ok(text)
}

#[derive(Debug)]
struct Response {
    status: u16,
    body: Body,
}

/// Records answers of up to 16 bytes.
struct Collected;

const CAP: usize = 16;

impl<E> Answer<Response, E> for Collected {
    type Response = Response;
    type Record = (u16, String);
    type Settle = Pin<Box<dyn Future<Output = Settled<Response, (u16, String)>> + Send>>;

    fn duplicates(&self) -> Duplicates {
        Duplicates::WAIT
    }

    fn pass(&self, response: Response) -> Response {
        response
    }

    fn settle(&self, Response { status, body }: Response, _: &Offer) -> Self::Settle {
        Box::pin(async move {
            match collect(body, CAP).await {
                Ok(text) => {
                    let body = Body::whole(&text);
                    let bytes = text.len();
                    Settled::success(Response { status, body }).recorded((status, text), bytes)
                }
                Err((body, None)) => Settled::success(Response { status, body }),
                Err((body, Some(_))) => Settled::failure(Response { status, body }),
            }
        })
    }

    fn replay(&self, (status, text): &(u16, String)) -> Response {
        Response {
            status: *status,
            body: Body::whole(text),
        }
    }

    fn refuse(&self, refusal: &Refusal) -> Result<Response, E> {
        Ok({
            Response {
                status: 409,
                body: Body::whole(refusal.reason().as_str()),
            }
        })
    }
}

/// Reads the body, and takes it for an offer if it starts with `v=0`.
struct Reads;

impl ExtractOffer<Body> for Reads {
    type Request = String;
    type Read = Pin<Box<dyn Future<Output = Found<String, Infallible>> + Send>>;

    fn extract(&self, body: Body) -> Found<String, Self::Read> {
        Found::Read(Box::pin(async move {
            match collect(body, 64).await {
                Ok(text) if text.starts_with("v=0") => {
                    let offer = Offer::new("p", Fingerprint::sdp(&text));
                    Found::Offer(text, offer)
                }
                Ok(text) => Found::Pass(text),
                Err(_) => Found::Refused(Refusal::new(Reason::BodyTooLarge)),
            }
        }))
    }
}

/// The senders of the answers' bodies, one per call.
type Answers = Arc<Mutex<Vec<UnboundedSender<Chunk>>>>;

macro_rules! server {
    ($builder:expr) => {{
        let answers = Answers::default();
        let calls = Arc::clone(&answers);
        let inner = service_fn(move |_: String| {
            let (sender, body) = Body::new();
            calls.lock().unwrap().push(sender);
            async move { Ok::<_, Infallible>(Response { status: 201, body }) }
        });
        let layer = $builder.build();
        (layer.layer(inner), answers, layer.handle())
    }};
}

fn inline() -> (
    impl Service<Body, Response = Response, Error = Infallible, Future: Send>,
    Answers,
    OfferDedupHandle,
) {
    server!(OfferDedupLayer::builder().offers(Reads).answer(Collected))
}

fn post(text: &str) -> Body {
    Body::whole(text)
}

fn send_chunk(answers: &Answers, call: usize, chunk: Chunk) {
    answers.lock().unwrap()[call].send(chunk).unwrap();
}

fn finish(answers: &Answers, call: usize) {
    let (ended, _) = unbounded_channel();
    answers.lock().unwrap()[call] = ended;
}

/// Reads a whole body. An error becomes part of the text.
async fn text(response: Response) -> (u16, String) {
    let mut text = String::new();
    let mut body = pin!(response.body);
    while let Some(chunk) = poll_fn(|cx| body.as_mut().poll_chunk(cx)).await {
        text += &chunk.unwrap_or_else(|error| format!("!{error}"));
    }
    (response.status, text)
}

#[tokio::test(start_paused = true)]
async fn peer_is_locked_until_answer_is_read() {
    let (mut service, answers, handle) = inline();
    let mut first = spawn(service.call(post("v=0 f")));
    assert_pending!(first.poll());
    let mut duplicate = spawn(service.call(post("v=0 f")));
    assert_pending!(duplicate.poll());
    for chunk in ["an ", "answer"] {
        send_chunk(&answers, 0, Ok(chunk.to_owned()));
        assert!(first.is_woken());
        assert_pending!(first.poll());
        assert!(handle.is_processing("p") && !duplicate.is_woken());
    }
    finish(&answers, 0);
    assert_eq!(
        text(assert_ready_ok!(first.poll())).await,
        (201, "an answer".to_owned())
    );
    assert!(!handle.is_processing("p") && duplicate.is_woken());
    assert_eq!(
        text(assert_ready_ok!(duplicate.poll())).await,
        (201, "an answer".to_owned())
    );
    let later = service.call(post("v=0 f")).await.unwrap();
    assert_eq!(text(later).await, (201, "an answer".to_owned()));
    assert_eq!(answers.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn oversized_answer_streams_on_unrecorded() {
    let (mut service, answers, handle) = inline();
    let mut first = spawn(service.call(post("v=0 f")));
    assert_pending!(first.poll());
    let mut duplicate = spawn(service.call(post("v=0 f")));
    assert_pending!(duplicate.poll());
    send_chunk(&answers, 0, Ok("too much ".to_owned()));
    assert_pending!(first.poll());
    send_chunk(&answers, 0, Ok("for the cap".to_owned()));
    let response = assert_ready_ok!(first.poll());
    assert!(!handle.is_processing("p"));
    assert_eq!(text(assert_ready_ok!(duplicate.poll())).await.1, "not_recorded");

    let mut reads = spawn(text(response));
    assert_pending!(reads.poll());
    send_chunk(&answers, 0, Ok(", and more".to_owned()));
    finish(&answers, 0);
    assert_eq!(reads.await, (201, "too much for the cap, and more".to_owned()));
    let later = service.call(post("v=0 f")).await.unwrap();
    assert_eq!(text(later).await, (409, "not_recorded".to_owned()));
    assert_eq!((handle.stats().memories, answers.lock().unwrap().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn broken_answer_is_not_replayed() {
    let (mut service, answers, handle) = inline();
    let mut first = spawn(service.call(post("v=0 f")));
    assert_pending!(first.poll());
    send_chunk(&answers, 0, Ok("half".to_owned()));
    send_chunk(&answers, 0, Err("reset"));
    finish(&answers, 0);
    assert_eq!(
        text(assert_ready_ok!(first.poll())).await,
        (201, "half!reset".to_owned())
    );
    assert_eq!((handle.stats().failed, handle.stats().memories), (1, 0));
    let mut retry = spawn(service.call(post("v=0 f")));
    assert_pending!(retry.poll());
    assert_eq!(answers.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn drop_while_reading_answer_releases_peer() {
    let (mut service, answers, handle) = inline();
    let mut first = spawn(service.call(post("v=0 f")));
    assert_pending!(first.poll());
    let mut duplicate = spawn(service.call(post("v=0 f")));
    assert_pending!(duplicate.poll());
    send_chunk(&answers, 0, Ok("half".to_owned()));
    assert_pending!(first.poll());
    drop(first);
    assert!(answers.lock().unwrap()[0].is_closed());
    assert!(duplicate.is_woken());
    assert_pending!(duplicate.poll());
    finish(&answers, 1);
    assert_eq!(text(assert_ready_ok!(duplicate.poll())).await, (201, String::new()));
    assert_eq!((handle.stats().abandoned, handle.stats().completed), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn abandoned_answer_is_read_to_end() {
    let (mut service, answers, handle) = server!(
        OfferDedupLayer::builder()
            .offers(Reads)
            .answer(Collected)
            .finish_abandoned()
    );
    let mut first = spawn(service.call(post("v=0 f")));
    assert_pending!(first.poll());
    settle().await;
    send_chunk(&answers, 0, Ok("an ".to_owned()));
    settle().await;
    drop(first);
    send_chunk(&answers, 0, Ok("answer".to_owned()));
    finish(&answers, 0);
    settle().await;
    assert_eq!(handle.stats().claims, 0);
    let retry = service.call(post("v=0 f")).await.unwrap();
    assert_eq!(text(retry).await, (201, "an answer".to_owned()));
}

#[tokio::test]
async fn request_is_read_without_a_lock() {
    let (mut service, answers, handle) = inline();
    let (sender, body) = Body::new();
    let mut slow = spawn(service.call(body));
    sender.send(Ok("v=0 ".to_owned())).unwrap();
    assert_pending!(slow.poll());
    assert!(!handle.is_processing("p"));

    let mut fast = spawn(service.call(post("v=0 g")));
    assert_pending!(fast.poll());
    assert!(handle.is_processing("p"));
    sender.send(Ok("f".to_owned())).unwrap();
    drop(sender);
    assert_eq!(text(assert_ready_ok!(slow.poll())).await.1, "busy");

    let mut candidate = spawn(service.call(post("candidate")));
    assert_eq!(assert_ready_ok!(candidate.poll()).status, 201);
    let large = service.call(post(&"v=0".repeat(30))).await.unwrap();
    assert_eq!(text(large).await, (409, "body_too_large".to_owned()));
    assert_eq!((handle.stats().passed, answers.lock().unwrap().len()), (1, 2));
}
