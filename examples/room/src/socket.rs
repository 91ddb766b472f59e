//! One WebSocket: reads a client's messages, handles them side by side, and writes what the room has for it.

use std::{future::Future, pin::Pin, time::Duration};

use axum::{
    Error,
    extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket},
};
use futures_util::{
    SinkExt, Stream, StreamExt, poll,
    stream::{FuturesUnordered, SplitSink},
};
use tokio::{
    sync::{mpsc, watch},
    time::{interval, sleep, timeout},
};
use tower::ServiceExt;

use crate::{
    messages::{Goodbye, Incoming, Kind, MAX_MESSAGE, Notice},
    repeat::Repeat,
    rooms::{Inbox, Seat},
    signaling::{Forward, Outcome, Signaling},
};

/// Messages of one client that may be on their way at once; mostly offers that wait for their answers.
const MAX_ON_THEIR_WAY: usize = 512;

const PING_EVERY: Duration = Duration::from_secs(15);
const SILENCE: Duration = Duration::from_secs(45);
const FAREWELL: Duration = Duration::from_secs(2);

type Sink = SplitSink<WebSocket, Message>;

/// A message that is being handled, and what its sender is then told.
type OnItsWay = Pin<Box<dyn Future<Output = Option<Utf8Bytes>> + Send>>;

/// Serves a client until it leaves. What is still on its way then goes no further.
pub(crate) async fn serve(
    socket: WebSocket,
    (seat, inbox): (Seat, Inbox),
    signaling: Signaling,
    repeat: &Repeat,
    mut shutdown: watch::Receiver<bool>,
) {
    let Inbox { mut outgoing, goodbye } = inbox;
    let (mut sink, mut stream) = socket.split();
    tracing::info!(room = %seat.room, peer = %seat.peer, "joined");

    let goodbye = tokio::select! {
        goodbye = goodbye => goodbye.ok(),
        _ = shutdown.wait_for(|shutdown| *shutdown) => Some(Goodbye::ShuttingDown),
        () = write(&mut sink, &mut outgoing) => None,
        goodbye = read(&mut stream, &seat, &signaling, repeat) => goodbye,
    };
    tracing::info!(room = %seat.room, peer = %seat.peer, reason = ?goodbye, "left");
    drop(seat);
    let _ = timeout(FAREWELL, part(sink, stream, outgoing, goodbye)).await;
}

/// Closes a socket that got no seat.
pub(crate) async fn turn_away(socket: WebSocket, goodbye: Goodbye) {
    let (sink, stream) = socket.split();
    let (_, nothing) = mpsc::channel(1);
    let _ = timeout(FAREWELL, part(sink, stream, nothing, Some(goodbye))).await;
}

async fn write(sink: &mut Sink, outgoing: &mut mpsc::Receiver<Utf8Bytes>) {
    let mut ping = interval(PING_EVERY);
    loop {
        let message = tokio::select! {
            Some(text) = outgoing.recv() => Message::Text(text),
            _ = ping.tick() => Message::Ping(axum::body::Bytes::new()),
        };
        if sink.send(message).await.is_err() {
            return;
        }
    }
}

/// Returns why the socket must be closed, or nothing if the client is gone already.
async fn read(
    stream: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
    seat: &Seat,
    signaling: &Signaling,
    repeat: &Repeat,
) -> Option<Goodbye> {
    let mut on_their_way: FuturesUnordered<OnItsWay> = FuturesUnordered::new();
    loop {
        let message = tokio::select! {
            // An offer whose answer has passed is done before the client, which has the answer, is heard again.
            biased;
            Some(reply) = on_their_way.next() => {
                if !tell(seat, reply) {
                    return Some(Goodbye::TooSlow);
                }
                continue;
            }
            message = timeout(SILENCE, stream.next()) => message,
        };
        let reply = match message {
            Err(_) => return Some(Goodbye::Silent),
            Ok(None | Some(Ok(Message::Close(_)))) => return None,
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => continue,
            Ok(Some(Err(broken))) => {
                tell(seat, Some(error(&broken.to_string())));
                return Some(Goodbye::Broken);
            }
            Ok(Some(Ok(Message::Text(text)))) if text.len() <= MAX_MESSAGE => {
                match Incoming::parse(&text, &seat.peer) {
                    Ok(Incoming::Leave) => return Some(Goodbye::Left),
                    Ok(Incoming::For { to, kind, text }) => {
                        let message = seat.forward(to, kind, text);
                        handle(message, signaling, repeat, &mut on_their_way).await
                    }
                    Err(unreadable) => Some(error(&unreadable)),
                }
            }
            Ok(Some(Ok(Message::Binary(bytes)))) if bytes.len() <= MAX_MESSAGE => {
                Some(error("messages are JSON text, not binary"))
            }
            Ok(Some(Ok(Message::Text(_) | Message::Binary(_)))) => {
                tell(seat, Some(error(&format!("a message has at most {MAX_MESSAGE} bytes"))));
                return Some(Goodbye::TooLarge);
            }
        };
        if !tell(seat, reply) {
            return Some(Goodbye::TooSlow);
        }
    }
}

/// Starts on a message, and goes on with it beside the next ones if it has to wait.
async fn handle(
    message: Forward,
    signaling: &Signaling,
    repeat: &Repeat,
    on_their_way: &mut FuturesUnordered<OnItsWay>,
) -> Option<Utf8Bytes> {
    let repetitions: Vec<Duration> = match message.kind {
        Kind::Offer { .. } => repeat.delays().collect(),
        Kind::Answer | Kind::Candidate | Kind::Leave => Vec::new(),
    };
    if on_their_way.len() + repetitions.len() >= MAX_ON_THEIR_WAY {
        return Some(error("too many offers wait for their answers"));
    }
    for later in repetitions {
        let again = signal(signaling.clone(), message.clone());
        on_their_way.push(Box::pin(async move {
            sleep(later).await;
            again.await
        }));
    }
    let mut first: OnItsWay = Box::pin(signal(signaling.clone(), message));
    // Polled before the next message is read: an offer reaches its target ahead of the candidates behind it.
    match poll!(&mut first) {
        std::task::Poll::Ready(reply) => reply,
        std::task::Poll::Pending => {
            on_their_way.push(first);
            None
        }
    }
}

async fn signal(signaling: Signaling, message: Forward) -> Option<Utf8Bytes> {
    let to = message.to.clone();
    let notice = match signaling.oneshot(message).await {
        Ok(Outcome::Passed) => return None,
        Ok(Outcome::Ignored { reason, retry_after }) => Notice::Ignored {
            to: &to,
            reason: reason.as_str(),
            retry_after_ms: retry_after.map(whole_millis),
        },
        Err(failure) => Notice::Error {
            message: &failure.to_string(),
            to: Some(&to),
        },
    };
    Some(notice.text())
}

/// Rounded up: a retry at that time must not come too early.
fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Whether the client keeps up with what it is told.
fn tell(seat: &Seat, reply: Option<Utf8Bytes>) -> bool {
    reply.is_none_or(|reply| seat.replies.try_send(reply).is_ok())
}

fn error(message: &str) -> Utf8Bytes {
    Notice::Error { message, to: None }.text()
}

/// Sends what is left, then closes, and hears the client out: a socket closed with input unread is reset, and its
/// client might never see why.
async fn part(
    mut sink: Sink,
    mut stream: impl Stream<Item = Result<Message, Error>> + Unpin,
    mut outgoing: mpsc::Receiver<Utf8Bytes>,
    goodbye: Option<Goodbye>,
) -> Result<(), Error> {
    let Some(goodbye) = goodbye else { return Ok(()) };
    while let Ok(text) = outgoing.try_recv() {
        sink.send(Message::Text(text)).await?;
    }
    let (code, reason) = goodbye.code_and_reason();
    let reason = reason.into();
    sink.send(Message::Close(Some(CloseFrame { code, reason }))).await?;
    while let Some(Ok(_)) = stream.next().await {}
    Ok(())
}
