//! Offers over WebSockets: one socket for each peer and user.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::header::{AUTHORIZATION, HeaderValue};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::{
    client_async_with_config,
    tungstenite::{self, Error, Message, client::IntoClientRequest, protocol::WebSocketConfig},
};
use url::Url;

use crate::{
    message::{Format, Template},
    reply::{Answer, Lost, Outcome},
    stream::Connector,
};

/// Limit for a message.
const MAX_MESSAGE: usize = 256 * 1024;

/// A socket on which answers have come is given this long to send another one.
const QUIET: Duration = Duration::from_secs(2);

pub(crate) struct Dialog<'a> {
    pub(crate) url: &'a Url,
    pub(crate) bearer: Option<&'a str>,
    pub(crate) hello: &'a [Template],
    pub(crate) peer: &'a str,
    /// When to send what, in order.
    pub(crate) messages: Vec<(Instant, Vec<u8>)>,
    pub(crate) time_limit: Duration,
}

/// Sends the messages, and returns one outcome and its time for each. Answers come in no order that tells their offers, so
/// the first answer counts for the first offer.
pub(crate) async fn exchange(connector: &Connector, format: &Format, dialog: Dialog<'_>) -> Vec<(Outcome, Duration)> {
    let sent: Vec<_> = dialog.messages.iter().map(|(at, _)| *at).collect();
    let mut answers = Vec::new();
    let end = converse(connector, format, dialog, &mut answers).await;
    let mut answers = answers.into_iter();
    let outcomes = sent.into_iter().map(|at| match answers.next() {
        Some((answer, came)) => (Outcome::Answered(answer), came - at),
        None => (Outcome::Lost(end.clone()), at.elapsed()),
    });
    outcomes.collect()
}

/// Returns why no more answers came.
async fn converse(
    connector: &Connector,
    format: &Format,
    dialog: Dialog<'_>,
    answers: &mut Vec<(Answer, Instant)>,
) -> Lost {
    let opened = timeout(dialog.time_limit, open(connector, &dialog)).await;
    let mut socket = match opened {
        Ok(Ok(socket)) => socket,
        Ok(Err(lost)) => return lost,
        Err(_elapsed) => return Lost::TimedOut,
    };
    let wanted = dialog.messages.len();
    let mut messages = dialog.messages.into_iter().peekable();
    let mut deadline = Instant::now() + dialog.time_limit;
    while answers.len() < wanted {
        let next = messages.peek().map(|(at, _)| *at);
        tokio::select! {
            () = sleep_until(next.unwrap_or(deadline)), if next.is_some() => {
                let Some((_, message)) = messages.next() else { continue };
                let text = String::from_utf8_lossy(&message).into_owned();
                if timeout(dialog.time_limit, socket.send(Message::text(text))).await.is_err() {
                    return Lost::TimedOut;
                }
                deadline = Instant::now() + dialog.time_limit;
            }
            () = sleep_until(deadline), if next.is_none() => return Lost::Silent,
            message = socket.next() => match message {
                None | Some(Ok(Message::Close(_))) => return Lost::Closed,
                Some(Err(error)) => return lost(error),
                Some(Ok(message)) => {
                    if let Some(ufrag) = format.ufrag(&message.into_data()) {
                        answers.push((Answer { ufrag: Some(ufrag), ..Answer::default() }, Instant::now()));
                        deadline = Instant::now() + QUIET.min(dialog.time_limit);
                    }
                }
            },
        }
    }
    let _ = timeout(QUIET, socket.close(None)).await;
    Lost::Silent
}

async fn open(
    connector: &Connector,
    dialog: &Dialog<'_>,
) -> Result<tokio_tungstenite::WebSocketStream<Box<dyn crate::stream::Stream>>, Lost> {
    let mut request = dialog.url.as_str().into_client_request().map_err(lost)?;
    if let Some(token) = dialog.bearer {
        let value = HeaderValue::try_from(format!("Bearer {token}"));
        let value = value.map_err(|error| Lost::Invalid(error.to_string()))?;
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    let stream = connector.connect(dialog.url).await?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let (mut socket, _response) = client_async_with_config(request, stream, Some(config))
        .await
        .map_err(lost)?;
    for hello in dialog.hello {
        let text = hello.fill("", dialog.peer);
        socket.send(Message::text(text)).await.map_err(lost)?;
    }
    Ok(socket)
}

fn lost(error: Error) -> Lost {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_) => Lost::Closed,
        Error::Capacity(_) => Lost::TooLarge,
        tungstenite::Error::Http(response) => Lost::Unreachable(format!("the upgrade got {}", response.status())),
        error => Lost::Invalid(error.to_string()),
    }
}
