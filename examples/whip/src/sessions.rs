//! All sessions: the live ones, and those that ended last.

use std::{
    cmp::Reverse,
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{mpsc, watch};
use tower_offer_dedup::{Fingerprint, extract::ForgetOnDrop};
use tracing::info;

use crate::{
    connection::Connection,
    patch::Patch,
    progress::{End, Progress, Snapshot},
};

/// Number of ended sessions that are kept for display.
const KEPT: usize = 24;

#[derive(Clone)]
pub(crate) struct Sessions {
    book: Arc<Mutex<Book>>,
    /// Every session's task holds a receiver.
    tasks: watch::Sender<()>,
}

#[derive(Default)]
struct Book {
    created: u64,
    /// Sessions made of an offer that had one already.
    copies: u64,
    live: HashMap<SessionId, Session>,
    ended: VecDeque<Record>,
    /// Media of sessions that are no longer kept.
    past: Media,
    ends: [u64; End::ALL.len()],
}

/// A secret: its holder may end the session, so it is never shown.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SessionId(u128);

struct Session {
    record: Record,
    /// Forgets the offer when the session ends.
    guard: Option<ForgetOnDrop>,
    /// Dropping it ends the connection.
    patches: mpsc::Sender<Patch>,
}

/// The public data of a session.
#[derive(Clone)]
pub(crate) struct Record {
    /// Numbers sessions from 1.
    pub(crate) number: u64,
    pub(crate) stream: String,
    pub(crate) client: String,
    pub(crate) role: Role,
    /// The number of repetitions of the offer.
    pub(crate) repeats: u64,
    /// The session that the same offer made before.
    pub(crate) copy_of: Option<u64>,
    fingerprint: Fingerprint,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Publisher,
    Viewer,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Media {
    pub(crate) received: Volume,
    pub(crate) sent: Volume,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Volume {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// All figures at one moment.
pub(crate) struct Overview {
    pub(crate) created: u64,
    pub(crate) copies: u64,
    pub(crate) media: Media,
    /// Live sessions first, then ended ones, each newest first.
    pub(crate) sessions: Vec<(Record, Snapshot)>,
    pub(crate) ends: [(End, u64); End::ALL.len()],
}

/// The client of a session.
pub(crate) struct Client {
    pub(crate) role: Role,
    pub(crate) stream: String,
    /// The client's name for itself.
    pub(crate) agent: String,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) guard: Option<ForgetOnDrop>,
}

impl Sessions {
    pub(crate) fn new() -> Self {
        Self {
            book: Arc::default(),
            tasks: watch::Sender::new(()),
        }
    }

    /// Starts a session.
    pub(crate) fn start(&self, connection: Connection, client: Client) -> SessionId {
        let Client {
            role,
            stream,
            agent,
            fingerprint,
            guard,
        } = client;
        let id = SessionId::random();
        let progress = Progress::new();
        let (patches, incoming) = mpsc::channel(16);
        let mut book = self.lock();
        book.created += 1;
        let number = book.created;
        let copy_of = book.repeated(&stream, role, fingerprint);
        info!(number, stream, ?role, client = agent, "session created");
        let record = Record {
            number,
            stream,
            client: agent,
            role,
            repeats: 0,
            copy_of,
            fingerprint,
            progress: progress.clone(),
        };
        book.live.insert(id, Session { record, guard, patches });
        drop(book);

        let connection = tokio::spawn(async move { connection.run(incoming, &progress).await });
        let (sessions, task) = (self.clone(), self.tasks.subscribe());
        tokio::spawn(async move {
            match connection.await {
                Ok(Some(end)) => sessions.end(id, end),
                // The session was ended from outside.
                Ok(None) => false,
                Err(_panicked) => sessions.end(id, End::Failed),
            };
            drop(task);
        });
        id
    }

    /// Counts a repeated offer that got a session's answer again.
    pub(crate) fn repeated(&self, id: SessionId) {
        if let Some(session) = self.lock().live.get_mut(&id) {
            session.record.repeats += 1;
        }
    }

    /// Returns the sender of patches for a live session.
    pub(crate) fn patches(&self, id: SessionId) -> Option<mpsc::Sender<Patch>> {
        self.lock().live.get(&id).map(|session| session.patches.clone())
    }

    /// Ends a session. Returns `false` if it was not live.
    pub(crate) fn end(&self, id: SessionId, end: End) -> bool {
        let mut book = self.lock();
        let Some(Session { record, guard, .. }) = book.live.remove(&id) else {
            return false;
        };
        info!(
            number = record.number,
            stream = record.stream,
            reason = end.as_str(),
            "session ended"
        );
        record.progress.ended(end);
        book.ends[end as usize] += 1;
        book.keep(record);
        drop(book);
        // Forgets this session's offer only: the publisher may be back already with a new one.
        drop(guard);
        true
    }

    pub(crate) fn end_all(&self, end: End) {
        let ids: Vec<_> = self.lock().live.keys().copied().collect();
        for id in ids {
            self.end(id, end);
        }
    }

    /// Resolves when every connection is closed.
    pub(crate) async fn closed(&self) {
        self.tasks.closed().await;
    }

    pub(crate) fn overview(&self) -> Overview {
        let book = self.lock();
        let live = book.live.values().map(|session| &session.record);
        let mut sessions: Vec<_> = live
            .chain(&book.ended)
            .map(|record| (record.clone(), record.progress.snapshot()))
            .collect();
        let (created, copies, past, ends) = (book.created, book.copies, book.past, book.ends);
        drop(book);
        sessions.sort_by_key(|(record, snapshot)| (!snapshot.is_live(), Reverse(record.number)));
        let media = sessions
            .iter()
            .fold(past, |past, (record, snapshot)| past.and(record.role, snapshot));
        Overview {
            created,
            copies,
            media,
            sessions,
            ends: End::ALL.map(|end| (end, ends[end as usize])),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// Counts an offer that a live session was made of, and returns the number of that session.
    fn repeated(&mut self, stream: &str, role: Role, fingerprint: Fingerprint) -> Option<u64> {
        let is_same = |record: &Record| {
            record.copy_of.is_none()
                && record.role == role
                && record.stream == stream
                && record.fingerprint == fingerprint
        };
        let first = self.live.values_mut().find(|session| is_same(&session.record))?;
        first.record.repeats += 1;
        self.copies += 1;
        Some(first.record.number)
    }

    fn keep(&mut self, record: Record) {
        self.ended.push_front(record);
        while self.ended.len() > KEPT {
            if let Some(oldest) = self.ended.pop_back() {
                self.past = self.past.and(oldest.role, &oldest.progress.snapshot());
            }
        }
    }
}

impl Media {
    fn and(mut self, role: Role, snapshot: &Snapshot) -> Self {
        let volume = match role {
            Role::Publisher => &mut self.received,
            Role::Viewer => &mut self.sent,
        };
        volume.packets += snapshot.packets();
        volume.bytes += snapshot.bytes();
        self
    }
}

impl Role {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Publisher => "publisher",
            Self::Viewer => "viewer",
        }
    }
}

impl SessionId {
    fn random() -> Self {
        let mut id = [0; 16];
        getrandom::fill(&mut id).expect("the system should have randomness");
        Self(u128::from_ne_bytes(id))
    }

    /// Reads the last part of a session's URL. The name of a node may come before the id.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let id = text.rsplit('-').next().unwrap_or_default();
        u128::from_str_radix(id, 16).ok().map(Self)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
