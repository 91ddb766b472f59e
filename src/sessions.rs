//! [`Sessions`]: the index that finds the claim behind a session's URI.
//!
//! Entries are kept per shard in two places: by URI, and in a queue. All entries live for the window, so the queue is
//! in the order of their deadlines, and its front is what expires or is evicted next. An entry that is removed by its
//! URI leaves its place in the queue until it comes to the front. The queue is what is bounded.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use foldhash::quality::RandomState;

use crate::{
    OfferSession, Stats,
    answer::Ended,
    extract::SessionUri,
    gate::{
        Clock, Tick,
        collector::{Collect, Flag},
    },
    metrics::LayerName,
    settings::Settings,
    stats::Reported,
};

/// The number of sessions of one URI that are kept. Past it, the oldest goes.
const MAX_PER_URI: usize = 4;

/// The bytes of an entry in the map, its list and the queue, with the slack of their growth.
const ENTRY_BYTES: u64 = 248;

const MAX_SHARDS: u64 = 16;

/// Smaller shards would fill unevenly.
const MIN_SHARD_ENTRIES: u64 = 64;

/// The number of expired entries that an insertion removes. It is more than one, so the index does not grow with them.
const SWEPT_PER_INSERT: usize = 4;

/// The sessions that later requests may end, by their URIs.
pub(crate) struct Sessions {
    shards: Box<[Mutex<Shard>]>,
    shard_capacity: usize,
    window: Duration,
    clock: Clock,
    collecting: Flag,
    reported: Reported,
}

#[derive(Default)]
struct Shard {
    /// By the digest of path and query. No list is empty.
    sessions: HashMap<[u8; 16], Vec<Session>, RandomState>,
    queue: VecDeque<Place>,
    inserted: u64,
    evicted: u64,
}

struct Session {
    id: u64,
    at: Tick,
    uri: SessionUri,
    offer: OfferSession,
}

/// The place of a session in the queue.
#[derive(Clone, Copy)]
struct Place {
    id: u64,
    at: Tick,
    key: [u8; 16],
}

impl Sessions {
    pub(crate) fn new(settings: &Settings, name: &LayerName) -> Self {
        let bytes = if settings.remembers() {
            settings.session_bytes()
        } else {
            0
        };
        let capacity = bytes / ENTRY_BYTES;
        let shards = (capacity / MIN_SHARD_ENTRIES).clamp(1, MAX_SHARDS);
        Self {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            shard_capacity: usize::try_from(capacity / shards).unwrap_or(usize::MAX),
            window: settings.window,
            clock: Clock::new(),
            collecting: Flag::default(),
            reported: Reported::new(name),
        }
    }

    /// Notes that the offer of `session` has created the session at `uri`. A later [`end`](Self::end) finds it.
    pub(crate) fn insert(self: &Arc<Self>, uri: SessionUri, session: OfferSession) {
        if self.shard_capacity == 0 {
            return;
        }
        self.with(&uri, |shard, now| {
            let oldest = now.window_start(self.window);
            shard.sweep(oldest, SWEPT_PER_INSERT);
            shard.make_room(self.shard_capacity, oldest);
            shard.insert(uri, session, now, oldest);
        });
        self.collecting.register(self);
    }

    /// Removes the sessions that a response has ended, and returns them.
    ///
    /// Sessions that were created with the credentials of `uri` end. Without any, the only session at `uri` ends, unless
    /// `ended` depends on the credentials. If several sessions are in question and some have the authority of `uri`, only
    /// those count.
    pub(crate) fn end(&self, uri: &SessionUri, ended: Ended) -> Vec<OfferSession> {
        if ended == Ended::No || self.shard_capacity == 0 {
            return Vec::new();
        }
        self.with(uri, |shard, now| shard.end(uri, ended, now.window_start(self.window)))
    }

    pub(crate) fn clear(&self) {
        for shard in &self.shards {
            with(shard, |shard| {
                shard.sessions = HashMap::default();
                shard.queue = VecDeque::new();
            });
        }
    }

    /// Adds what the index holds and has evicted to `stats`.
    pub(crate) fn add_to(&self, mut stats: Stats) -> Stats {
        for shard in &self.shards {
            with(shard, |shard| {
                stats.sessions += shard.sessions.values().map(Vec::len).sum::<usize>() as u64;
                stats.bytes += shard.queue.len() as u64 * ENTRY_BYTES;
                stats.evicted += shard.evicted;
            });
        }
        stats
    }

    /// Runs `act` under the mutex of the shard of `uri`, with the time read under that mutex: the queue stays in order.
    fn with<T>(&self, uri: &SessionUri, act: impl FnOnce(&mut Shard, Tick) -> T) -> T {
        // Any byte of a digest spreads evenly.
        let index = usize::from(uri.path_and_query()[0]) % self.shards.len();
        with(&self.shards[index], |shard| act(shard, self.clock.now()))
    }
}

/// Values that are dropped under the mutex call nothing: if a claim's memory is the last owner of its gate, the gate
/// has no claims and no waiters.
fn with<T>(shard: &Mutex<Shard>, act: impl FnOnce(&mut Shard) -> T) -> T {
    // Poisoning is ignored: nothing in here panics half-way.
    act(&mut shard.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Shard {
    fn insert(&mut self, uri: SessionUri, offer: OfferSession, at: Tick, oldest: Tick) {
        let (id, key) = (self.inserted, *uri.path_and_query());
        self.inserted += 1;
        let session = Session { id, at, uri, offer };
        match self.sessions.get_mut(&key) {
            Some(sessions) => {
                if sessions.len() >= MAX_PER_URI {
                    let first = sessions.remove(0);
                    self.evicted += u64::from(first.at >= oldest);
                }
                sessions.push(session);
            }
            // A list of one: most URIs have one session.
            None => drop(self.sessions.insert(key, vec![session])),
        }
        self.queue.push_back(Place { id, at, key });
    }

    fn end(&mut self, uri: &SessionUri, ended: Ended, oldest: Tick) -> Vec<OfferSession> {
        let key = uri.path_and_query();
        let Some(sessions) = self.sessions.get_mut(key) else {
            return Vec::new();
        };
        let live = || sessions.iter().filter(|session| session.at >= oldest);
        let mut found: Vec<_> = live()
            .filter(|session| session.uri.credentials() == uri.credentials())
            .collect();
        let is_principal = !found.is_empty();
        if !is_principal && ended == Ended::Yes {
            found = live().collect();
        }
        let is_of_authority = |session: &&Session| session.uri.authority() == uri.authority();
        if found.len() > 1 && found.iter().any(is_of_authority) {
            found.retain(is_of_authority);
        }
        if !is_principal && found.len() > 1 {
            return Vec::new();
        }
        let ids: Vec<_> = found.iter().map(|session| session.id).collect();
        let (ended, kept): (Vec<_>, _) = sessions.drain(..).partition(|session| ids.contains(&session.id));
        if kept.is_empty() {
            self.sessions.remove(key);
        } else {
            *sessions = kept;
        }
        ended.into_iter().map(|session| session.offer).collect()
    }

    /// Removes up to `limit` entries from before `oldest`.
    fn sweep(&mut self, oldest: Tick, limit: usize) {
        for _ in 0..limit {
            if self.queue.front().is_none_or(|place| place.at >= oldest) {
                break;
            }
            self.pop();
        }
        if self.queue.is_empty() {
            // Gives the room back.
            self.sessions = HashMap::default();
            self.queue = VecDeque::new();
        }
    }

    /// Evicts the oldest entries until there is room for one more.
    fn make_room(&mut self, capacity: usize, oldest: Tick) {
        while self.queue.len() >= capacity {
            let is_live = self.queue.front().is_some_and(|place| place.at >= oldest);
            let was_there = self.pop();
            self.evicted += u64::from(is_live && was_there);
        }
    }

    /// Removes the front of the queue. Returns whether its entry was still there.
    fn pop(&mut self) -> bool {
        let Some(Place { id, key, .. }) = self.queue.pop_front() else {
            return false;
        };
        let Some(sessions) = self.sessions.get_mut(&key) else {
            return false;
        };
        let before = sessions.len();
        sessions.retain(|session| session.id != id);
        let was_there = sessions.len() < before;
        if sessions.is_empty() {
            self.sessions.remove(&key);
        }
        was_there
    }
}

impl Collect for Sessions {
    fn collect(&self) {
        for shard in &self.shards {
            with(shard, |shard| {
                shard.sweep(self.clock.now().window_start(self.window), usize::MAX);
            });
        }
    }

    fn report(&self) {
        self.reported.report(&self.add_to(Stats::default()));
    }

    fn is_empty(&self) -> bool {
        self.shards
            .iter()
            .all(|shard| with(shard, |shard| shard.queue.is_empty()))
    }

    fn flag(&self) -> &Flag {
        &self.collecting
    }

    fn changes(&self) -> u64 {
        self.shards
            .iter()
            .map(|shard| with(shard, |shard| shard.inserted))
            .sum()
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("stats", &self.add_to(Stats::default()))
            .finish_non_exhaustive()
    }
}
