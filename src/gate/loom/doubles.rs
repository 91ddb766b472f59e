//! What stands in for that into which loom cannot see: tokio's clock, timers and notifications, std's `OnceLock`, and moka.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::{BuildHasher, Hash},
    mem,
    ops::Add,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use loom::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Relaxed, Release},
};
pub(in crate::gate) use loom::sync::{
    Mutex,
    atomic::{AtomicU64, AtomicUsize},
};
use moka::{notification::RemovalCause, policy::EvictionPolicy};

/// All peers meet in one shard.
pub(in crate::gate) const SHARDS: usize = 1;

loom::lazy_static! {
    /// What has gone by since the beginning. Read like any atomic, so that a thread may have read it a while ago.
    static ref NOW: AtomicU64 = AtomicU64::new(0);
}

/// A moment of the clock that only [`advance`](Self::advance) moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::gate) struct Instant(Duration);

impl Instant {
    pub(in crate::gate) fn now() -> Self {
        Self(Duration::from_nanos(NOW.load(Relaxed)))
    }

    pub(in crate::gate) fn advance(time: Duration) {
        NOW.fetch_add(u64::try_from(time.as_nanos()).unwrap(), Relaxed);
    }

    pub(in crate::gate) fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    pub(in crate::gate) fn checked_add(self, time: Duration) -> Option<Self> {
        self.0.checked_add(time).map(Self)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0 + time)
    }
}

/// A timer that wakes nobody: who is not woken by what it waits for sleeps for ever, which loom reports.
#[derive(Debug)]
pub(in crate::gate) struct Sleep(Instant);

pub(in crate::gate) fn sleep_until(deadline: Instant) -> Sleep {
    Sleep(deadline)
}

impl Sleep {
    pub(in crate::gate) fn deadline(&self) -> Instant {
        self.0
    }

    pub(in crate::gate) fn reset(mut self: Pin<&mut Self>, deadline: Instant) {
        self.0 = deadline;
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if Instant::now() < self.0 {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}

/// tokio's, as far as the gate uses it: no two listen at once for what `notify_one` tells.
#[derive(Clone, Debug, Default)]
pub(in crate::gate) struct Notify(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
struct Told {
    /// How often all were told.
    all: u64,
    one: bool,
    wakers: Vec<Waker>,
}

impl Notify {
    pub(in crate::gate) fn new() -> Self {
        Self::default()
    }

    pub(in crate::gate) fn notify_one(&self) {
        self.tell(|told| told.one = true);
    }

    pub(in crate::gate) fn notify_waiters(&self) {
        self.tell(|told| told.all += 1);
    }

    pub(in crate::gate) fn notified(&self) -> OwnedNotified {
        let all = self.0.lock().unwrap().all;
        OwnedNotified {
            notify: self.clone(),
            all,
        }
    }

    pub(in crate::gate) fn notified_owned(self: Arc<Self>) -> OwnedNotified {
        self.notified()
    }

    fn tell(&self, tell: impl FnOnce(&mut Told)) {
        let wakers = {
            let mut told = self.0.lock().unwrap();
            tell(&mut told);
            mem::take(&mut told.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Tells of what is told after it was made, as tokio's does.
#[derive(Debug)]
pub(in crate::gate) struct OwnedNotified {
    notify: Notify,
    all: u64,
}

impl Future for OwnedNotified {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut told = self.notify.0.lock().unwrap();
        if told.all != self.all || mem::take(&mut told.one) {
            return Poll::Ready(());
        }
        told.wakers.push(cx.waker().clone());
        Poll::Pending
    }
}

/// loom sees whether it is set.
#[derive(Debug)]
pub(in crate::gate) struct OnceLock<T> {
    value: std::sync::OnceLock<T>,
    is_set: AtomicBool,
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self {
            value: std::sync::OnceLock::new(),
            is_set: AtomicBool::new(false),
        }
    }
}

impl<T> OnceLock<T> {
    pub(in crate::gate) fn get(&self) -> Option<&T> {
        self.is_set.load(Acquire).then(|| self.value.get())?
    }

    pub(in crate::gate) fn set(&self, value: T) -> Result<(), T> {
        self.value.set(value)?;
        self.is_set.store(true, Release);
        Ok(())
    }
}

/// A map for moka: each call is one step, and others may come between any two. It throws nothing out by itself.
pub(in crate::gate) struct Cache<K, V, S = RandomState> {
    entries: Mutex<HashMap<K, V, S>>,
    listener: Listener<K, V>,
}

type Listener<K, V> = Box<dyn Fn(Arc<K>, V, RemovalCause) + Send + Sync>;

pub(in crate::gate) struct CacheBuilder<K, V>(Listener<K, V>);

impl<K, V> Cache<K, V> {
    pub(in crate::gate) fn builder() -> CacheBuilder<K, V> {
        CacheBuilder(Box::new(|_, _, _| ()))
    }
}

impl<K, V> CacheBuilder<K, V> {
    pub(in crate::gate) fn max_capacity(self, _: u64) -> Self {
        self
    }

    pub(in crate::gate) fn weigher(self, _: impl Fn(&K, &V) -> u32) -> Self {
        self
    }

    pub(in crate::gate) fn eviction_policy(self, _: EvictionPolicy) -> Self {
        self
    }

    pub(in crate::gate) fn eviction_listener(
        self,
        listener: impl Fn(Arc<K>, V, RemovalCause) + Send + Sync + 'static,
    ) -> Self {
        Self(Box::new(listener))
    }

    pub(in crate::gate) fn time_to_live(self, _: Duration) -> Self {
        self
    }

    pub(in crate::gate) fn build_with_hasher<S>(self, hasher: S) -> Cache<K, V, S> {
        Cache {
            entries: Mutex::new(HashMap::with_hasher(hasher)),
            listener: self.0,
        }
    }
}

impl<K: Copy + Eq + Hash, V: Clone, S: BuildHasher> Cache<K, V, S> {
    pub(in crate::gate) fn get(&self, key: &K) -> Option<V> {
        self.entries.lock().unwrap().get(key).cloned()
    }

    pub(in crate::gate) fn insert(&self, key: K, value: V) {
        let replaced = self.entries.lock().unwrap().insert(key, value);
        self.tell(replaced.map(|value| (key, value)), RemovalCause::Replaced);
    }

    pub(in crate::gate) fn invalidate(&self, key: &K) {
        let removed = self.entries.lock().unwrap().remove(key);
        self.tell(removed.map(|value| (*key, value)), RemovalCause::Explicit);
    }

    pub(in crate::gate) fn invalidate_all(&self) {
        let removed: Vec<_> = self.entries.lock().unwrap().drain().collect();
        self.tell(removed, RemovalCause::Explicit);
    }

    /// All upkeep is done in the calls.
    pub(in crate::gate) fn run_pending_tasks(&self) {}

    fn tell(&self, removed: impl IntoIterator<Item = (K, V)>, cause: RemovalCause) {
        for (key, value) in removed {
            (self.listener)(Arc::new(key), value, cause);
        }
    }
}
