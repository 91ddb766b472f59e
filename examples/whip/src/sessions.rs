//! All sessions: the live ones, and those that ended last.

use std::{
    cmp::Reverse,
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{mpsc, watch};
use tower_offer_dedup::extract::ForgetOnDrop;
use tracing::info;

use crate::{
    connection::{Connection, Patch},
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
    live: HashMap<SessionId, Session>,
    ended: VecDeque<Record>,
    /// Media received by sessions that are no longer kept.
    past: Received,
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
    progress: Progress,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Received {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// All figures at one moment.
pub(crate) struct Overview {
    pub(crate) created: u64,
    pub(crate) received: Received,
    /// Live sessions first, then ended ones, each newest first.
    pub(crate) sessions: Vec<(Record, Snapshot)>,
    pub(crate) ends: [(End, u64); End::ALL.len()],
}

/// The publisher of a session.
pub(crate) struct Publisher {
    pub(crate) stream: String,
    pub(crate) client: String,
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
    pub(crate) fn start(&self, connection: Connection, publisher: Publisher) -> SessionId {
        let Publisher { stream, client, guard } = publisher;
        let id = SessionId::random();
        let progress = Progress::new();
        let (patches, incoming) = mpsc::channel(16);
        let mut book = self.lock();
        book.created += 1;
        let number = book.created;
        info!(number, stream, client, "session created");
        let record = Record {
            number,
            stream,
            client,
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
        let (created, past, ends) = (book.created, book.past, book.ends);
        drop(book);
        sessions.sort_by_key(|(record, snapshot)| (!snapshot.is_live(), Reverse(record.number)));
        let received = sessions.iter().fold(past, |past, (_, snapshot)| past.and(snapshot));
        Overview {
            created,
            received,
            sessions,
            ends: End::ALL.map(|end| (end, ends[end as usize])),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn keep(&mut self, record: Record) {
        self.ended.push_front(record);
        while self.ended.len() > KEPT {
            if let Some(oldest) = self.ended.pop_back() {
                self.past = self.past.and(&oldest.progress.snapshot());
            }
        }
    }
}

impl Received {
    fn and(self, snapshot: &Snapshot) -> Self {
        Self {
            packets: self.packets + snapshot.packets(),
            bytes: self.bytes + snapshot.bytes(),
        }
    }
}

impl SessionId {
    fn random() -> Self {
        let mut id = [0; 16];
        getrandom::fill(&mut id).expect("the system should have randomness");
        Self(u128::from_ne_bytes(id))
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        u128::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
