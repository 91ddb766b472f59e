//! The server under test: sends requests to it, and knows which sessions they made.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use hyper::{Method, StatusCode, header};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep_until, timeout},
};
use url::Url;

use crate::{
    args::{Args, Protocol},
    http::{self, Call, Response},
    message::{Format, Template},
    reply::{Answer, Lost, Outcome, Reply},
    socket::{self, Dialog},
    stream::Connector,
};

/// Limit for requests under way.
const MAX_REQUESTS: usize = 32;

pub(crate) struct Target {
    url: Url,
    pub(crate) protocol: Protocol,
    format: Format,
    bearer: Option<String>,
    other_bearer: String,
    hello: Vec<Template>,
    time_limit: Duration,
    connector: Connector,
    permits: Semaphore,
    sessions: Mutex<Sessions>,
    /// Every request under way holds a receiver.
    requests: watch::Sender<()>,
}

/// The sessions made so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions {
    live: BTreeSet<String>,
    /// The first `Location` of all.
    first: Option<String>,
    /// Taken a `DELETE`.
    pub(crate) ended: usize,
    /// Not taken a `DELETE`.
    pub(crate) left: usize,
    /// User fragments of answers without a `Location`.
    pub(crate) unnamed: BTreeSet<String>,
}

/// An offer to send, or what looks like one.
#[derive(Clone, Debug)]
pub(crate) struct Send {
    /// Distinguishes the offers of one check.
    offer: usize,
    sdp: Arc<[u8]>,
    after: Duration,
    peer: String,
    user: User,
    hangs_up: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum User {
    /// Has the token of the command line, if any.
    Main,
    Other,
    Nobody,
}

impl Send {
    pub(crate) fn new(offer: usize, sdp: impl AsRef<[u8]>, peer: impl Into<String>) -> Self {
        Self {
            offer,
            sdp: sdp.as_ref().into(),
            after: Duration::ZERO,
            peer: peer.into(),
            user: User::Main,
            hangs_up: false,
        }
    }

    pub(crate) fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }

    pub(crate) fn from(self, user: User) -> Self {
        Self { user, ..self }
    }

    pub(crate) fn cut(self) -> Self {
        Self { hangs_up: true, ..self }
    }
}

impl Target {
    pub(crate) fn new(args: &Args) -> Self {
        Self {
            url: args.url.clone(),
            protocol: args.protocol(),
            format: args.format(),
            bearer: args.bearer.clone(),
            other_bearer: args.other_bearer(),
            hello: args.hello.clone(),
            time_limit: args.timeout(),
            connector: Connector::default(),
            permits: Semaphore::new(MAX_REQUESTS),
            sessions: Mutex::default(),
            requests: watch::Sender::new(()),
        }
    }

    /// The users besides the main one that differ from it.
    pub(crate) fn other_users(&self) -> &'static [User] {
        if self.bearer.is_some() {
            &[User::Other, User::Nobody]
        } else {
            &[User::Other]
        }
    }

    /// Sends all, each at its time, and returns their replies in the same order. Requests run in tasks of their own, so that
    /// a caller that stops waiting loses no session.
    pub(crate) async fn send(self: &Arc<Self>, sends: Vec<Send>) -> Vec<Reply> {
        let start = Instant::now();
        let mut groups: Vec<Vec<Send>> = Vec::new();
        for send in sends {
            match groups.last_mut() {
                // One socket for one peer and user.
                Some(group) if self.protocol == Protocol::Ws && is_same_sender(&group[0], &send) => group.push(send),
                _ => groups.push(vec![send]),
            }
        }
        let tasks: Vec<_> = groups
            .into_iter()
            .map(|group| {
                let (target, running) = (Arc::clone(self), self.requests.subscribe());
                tokio::spawn(async move {
                    let replies = target.send_group(group, start).await;
                    drop(running);
                    replies
                })
            })
            .collect();
        let mut replies = Vec::new();
        for task in tasks {
            match task.await {
                Ok(more) => replies.extend(more),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        replies
    }

    async fn send_group(&self, group: Vec<Send>, start: Instant) -> Vec<Reply> {
        let outcomes = match self.permits.acquire().await {
            Ok(_permit) if self.protocol == Protocol::Ws => self.converse(&group, start).await,
            Ok(_permit) => self.post(&group, start).await,
            Err(_stopped) => Vec::new(),
        };
        let replies = group.iter().zip(outcomes).map(|(send, (outcome, took))| Reply {
            offer: send.offer,
            outcome,
            took,
        });
        replies.collect()
    }

    async fn converse(&self, group: &[Send], start: Instant) -> Vec<(Outcome, Duration)> {
        let messages = group.iter().map(|send| {
            let message = self.format.pack(&send.sdp, &send.peer);
            (Instant::now().max(start + send.after), message)
        });
        let url = self.url_of(&group[0].peer);
        let dialog = Dialog {
            url: &url,
            bearer: self.bearer_of(group[0].user),
            hello: &self.hello,
            peer: &group[0].peer,
            messages: messages.collect(),
            time_limit: self.time_limit,
        };
        socket::exchange(&self.connector, &self.format, dialog).await
    }

    async fn post(&self, group: &[Send], start: Instant) -> Vec<(Outcome, Duration)> {
        let mut outcomes = Vec::new();
        for send in group {
            sleep_until(start + send.after).await;
            let sent = Instant::now();
            let url = self.url_of(&send.peer);
            let body = (self.format.media_type(), self.format.pack(&send.sdp, &send.peer));
            let call = Call {
                method: Method::POST,
                url: &url,
                bearer: self.bearer_of(send.user),
                body: Some(body),
                hangs_up: send.hangs_up,
            };
            let outcome = self.outcome(call).await;
            self.note(&outcome);
            outcomes.push((outcome, sent.elapsed()));
        }
        outcomes
    }

    /// Ends one session.
    pub(crate) async fn end(&self, location: &str) -> Outcome {
        let Ok(url) = Url::parse(location) else {
            return Outcome::Lost(Lost::Invalid("the Location is no URL".into()));
        };
        let call = Call {
            method: Method::DELETE,
            url: &url,
            bearer: self.bearer_of(User::Main),
            body: None,
            hangs_up: false,
        };
        let outcome = self.outcome(call).await;
        let mut sessions = self.lock();
        if sessions.live.remove(location) {
            match outcome {
                Outcome::Answered(_) | Outcome::Empty { .. } => sessions.ended += 1,
                // It ended by itself.
                Outcome::Refused { status: 404 | 410, .. } => sessions.ended += 1,
                Outcome::Refused { .. } | Outcome::Lost(_) => sessions.left += 1,
            }
        }
        outcome
    }

    /// Waits for requests under way, and ends all sessions that are known.
    pub(crate) async fn end_all(&self) {
        self.requests.closed().await;
        let live = self.lock().live.clone();
        let ends = stream::iter(&live).map(|location| self.end(location));
        ends.buffer_unordered(MAX_REQUESTS).for_each(async |_| {}).await;
    }

    /// Ends a session whose answer was lost, if the server has one `Location` for all sessions of a stream.
    pub(crate) async fn end_hidden(&self) {
        let first = self.lock().first.clone();
        if let Some(first) = first {
            self.end(&first).await;
        }
    }

    /// Starts no more requests.
    pub(crate) fn stop(&self) {
        self.permits.close();
    }

    pub(crate) fn sessions(&self) -> Sessions {
        self.lock().clone()
    }

    async fn outcome(&self, call: Call<'_>) -> Outcome {
        let url = call.url;
        match timeout(self.time_limit, http::exchange(&self.connector, call)).await {
            Ok(Ok(response)) => self.read(url, &response),
            Ok(Err(lost)) => Outcome::Lost(lost),
            Err(_elapsed) => Outcome::Lost(Lost::TimedOut),
        }
    }

    fn read(&self, url: &Url, response: &Response) -> Outcome {
        let status = response.status.as_u16();
        let field = |name| response.fields.get(name)?.to_str().ok();
        if !response.status.is_success() {
            let retry_after = field(header::RETRY_AFTER).is_some();
            return Outcome::Refused { status, retry_after };
        }
        let location = field(header::LOCATION).and_then(|location| url.join(location).ok());
        let ufrag = self.format.ufrag(&response.body);
        if ufrag.is_none() && (location.is_none() || response.status != StatusCode::CREATED) {
            return Outcome::Empty { status };
        }
        let media_type = field(header::CONTENT_TYPE).and_then(|value| value.split(';').next());
        Outcome::Answered(Answer {
            status,
            location: location.map(String::from),
            ufrag,
            is_sdp: media_type.is_some_and(|given| given.trim().eq_ignore_ascii_case(Format::Sdp.media_type())),
        })
    }

    fn note(&self, outcome: &Outcome) {
        if let Outcome::Answered(answer) = outcome {
            let mut sessions = self.lock();
            match &answer.location {
                Some(location) => {
                    sessions.first.get_or_insert_with(|| location.clone());
                    sessions.live.insert(location.clone())
                }
                None => sessions.unnamed.insert(answer.ufrag.clone().unwrap_or_default()),
            };
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn url_of(&self, peer: &str) -> Url {
        let text = self.url.as_str().replace("$peer", peer);
        Url::parse(&text).unwrap_or_else(|_| self.url.clone())
    }

    fn bearer_of(&self, user: User) -> Option<&str> {
        match user {
            User::Main => self.bearer.as_deref(),
            User::Other => Some(&self.other_bearer),
            User::Nobody => None,
        }
    }
}

fn is_same_sender(one: &Send, other: &Send) -> bool {
    (&one.peer, one.user) == (&other.peer, other.user)
}
