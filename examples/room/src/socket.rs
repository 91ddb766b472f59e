//! One WebSocket: reads a client's messages, handles them concurrently, and writes the room's messages.

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

use crate::{
    messages::{CloseReason, Incoming, MAX_MESSAGE, Name, Notice},
    rooms::{Inbox, Member},
    signaling::{Failure, Forward, Outcome, Signaling},
};

/// Messages of one client that may be in progress at once. Most are offers that wait for their answers.
const MAX_IN_PROGRESS: usize = 512;

const PING_EVERY: Duration = Duration::from_secs(15);
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

type Sink = SplitSink<WebSocket, Message>;

/// A message in progress, which resolves to the reply for its sender.
type InProgress = Pin<Box<dyn Future<Output = Option<Utf8Bytes>> + Send>>;

/// Serves a client until it leaves. Messages that are then still in progress are dropped.
pub(crate) async fn serve(
    socket: WebSocket,
    (member, inbox): (Member, Inbox),
    signaling: Signaling,
    mut shutdown: watch::Receiver<bool>,
) {
    let Inbox { mut outgoing, closed } = inbox;
    let (mut sink, mut stream) = socket.split();
    tracing::info!(room = %member.room, peer = %member.peer, "joined");

    let reason = tokio::select! {
        reason = closed => reason.ok(),
        _ = shutdown.wait_for(|shutdown| *shutdown) => Some(CloseReason::ShuttingDown),
        () = write(&mut sink, &mut outgoing) => None,
        reason = read(&mut stream, &member, &signaling) => reason,
    };
    tracing::info!(room = %member.room, peer = %member.peer, ?reason, "left");
    drop(member);
    let _ = timeout(CLOSE_TIMEOUT, close(sink, stream, outgoing, reason)).await;
}

/// Closes a socket that could not join.
pub(crate) async fn reject(socket: WebSocket, reason: CloseReason) {
    let (sink, stream) = socket.split();
    let (_, nothing) = mpsc::channel(1);
    let _ = timeout(CLOSE_TIMEOUT, close(sink, stream, nothing, Some(reason))).await;
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

/// Returns the reason for closing the socket, or `None` if the client is already gone.
async fn read(
    stream: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
    member: &Member,
    signaling: &Signaling,
) -> Option<CloseReason> {
    let mut in_progress: FuturesUnordered<InProgress> = FuturesUnordered::new();
    loop {
        let message = tokio::select! {
            // Completed offers come first: a client that has its answer must not find its offer still in progress.
            biased;
            Some(reply) = in_progress.next() => {
                if !reply_to(member, reply) {
                    return Some(CloseReason::TooSlow);
                }
                continue;
            }
            message = timeout(IDLE_TIMEOUT, stream.next()) => message,
        };
        let reply = match message {
            Err(_) => return Some(CloseReason::Unresponsive),
            Ok(None | Some(Ok(Message::Close(_)))) => return None,
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => continue,
            Ok(Some(Err(broken))) => {
                reply_to(member, Some(error(&broken.to_string())));
                return Some(CloseReason::Broken);
            }
            Ok(Some(Ok(Message::Text(text)))) if text.len() <= MAX_MESSAGE => {
                match Incoming::parse(&text, &member.peer) {
                    Ok(Incoming::Leave) => return Some(CloseReason::Left),
                    Ok(Incoming::For { to, kind, text }) => match member.forward(to.clone(), kind, text) {
                        Ok(message) => handle(message, signaling, &mut in_progress).await,
                        Err(failure) => Some(failed(&to, &failure)),
                    },
                    Err(unreadable) => Some(error(&unreadable)),
                }
            }
            Ok(Some(Ok(Message::Binary(bytes)))) if bytes.len() <= MAX_MESSAGE => {
                Some(error("messages are JSON text, not binary"))
            }
            Ok(Some(Ok(Message::Text(_) | Message::Binary(_)))) => {
                reply_to(
                    member,
                    Some(error(&format!("a message has at most {MAX_MESSAGE} bytes"))),
                );
                return Some(CloseReason::TooLarge);
            }
        };
        if !reply_to(member, reply) {
            return Some(CloseReason::TooSlow);
        }
    }
}

/// Starts a message. If the message has to wait, it continues alongside the next ones.
async fn handle(
    message: Forward,
    signaling: &Signaling,
    in_progress: &mut FuturesUnordered<InProgress>,
) -> Option<Utf8Bytes> {
    let repetitions = signaling.repetitions(&message);
    if in_progress.len() + repetitions.len() >= MAX_IN_PROGRESS {
        return Some(error("too many offers are waiting for answers"));
    }
    for later in repetitions {
        let again = signal(signaling.clone(), message.clone());
        in_progress.push(Box::pin(async move {
            sleep(later).await;
            again.await
        }));
    }
    let mut first: InProgress = Box::pin(signal(signaling.clone(), message));
    // Polled before the next message is read, so that an offer reaches its target ahead of its candidates.
    match poll!(&mut first) {
        std::task::Poll::Ready(reply) => reply,
        std::task::Poll::Pending => {
            in_progress.push(first);
            None
        }
    }
}

async fn signal(signaling: Signaling, message: Forward) -> Option<Utf8Bytes> {
    let to = message.to.clone();
    let number = message.kind.number();
    let notice = match signaling.handle(message).await {
        Ok(Outcome::Passed) => return None,
        Ok(Outcome::Ignored { reason, retry_after }) => Notice::Ignored {
            to: &to,
            number,
            reason: reason.as_str(),
            retry_after_ms: retry_after.map(whole_millis),
        },
        Err(failure) => return Some(failed(&to, &failure)),
    };
    Some(notice.text())
}

fn failed(to: &Name, failure: &Failure) -> Utf8Bytes {
    let message = &failure.to_string();
    Notice::Error { message, to: Some(to) }.text()
}

/// Rounds up, so that a retry at that time is not too early.
fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Returns `false` if the client does not keep up with its replies.
fn reply_to(member: &Member, reply: Option<Utf8Bytes>) -> bool {
    reply.is_none_or(|reply| member.replies.try_send(reply).is_ok())
}

fn error(message: &str) -> Utf8Bytes {
    Notice::Error { message, to: None }.text()
}

/// Sends the remaining messages, closes, and reads until the client closes. A socket closed with unread input is reset,
/// and the client might never see the reason.
async fn close(
    mut sink: Sink,
    mut stream: impl Stream<Item = Result<Message, Error>> + Unpin,
    mut outgoing: mpsc::Receiver<Utf8Bytes>,
    reason: Option<CloseReason>,
) -> Result<(), Error> {
    let Some(reason) = reason else { return Ok(()) };
    while let Ok(text) = outgoing.try_recv() {
        sink.send(Message::Text(text)).await?;
    }
    let (code, text) = reason.code_and_reason();
    let reason = text.into();
    sink.send(Message::Close(Some(CloseFrame { code, reason }))).await?;
    while let Some(Ok(_)) = stream.next().await {}
    Ok(())
}
