//! Doubles of the types that loom cannot instrument: tokio's clock, timers and notifications, std's `OnceLock`, and moka.

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

use ::loom::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Relaxed, Release},
};
pub(in crate::gate) use ::loom::sync::{
    Mutex,
    atomic::{AtomicU64, AtomicUsize},
};
use moka::{notification::RemovalCause, policy::EvictionPolicy};

/// All peers share one shard.
pub(in crate::gate) const SHARDS: usize = 1;

::loom::lazy_static! {
    /// Nanoseconds since the beginning. Relaxed: a thread may read an old time until it has synchronised.
    static ref NOW: AtomicU64 = AtomicU64::new(0);

    /// The timers that run.
    static ref TIMERS: Mutex<Vec<(Instant, Waker)>> = Mutex::new(Vec::new());
}

/// An instant of a manual clock, which only [`advance`](Self::advance) moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(Duration);

impl Instant {
    pub(in crate::gate) fn now() -> Self {
        Self(Duration::from_nanos(NOW.load(Relaxed)))
    }

    /// Moves the clock and fires the timers that are due.
    pub(in crate::gate) fn advance(time: Duration) {
        let due: Vec<_> = {
            let mut timers = TIMERS.lock().unwrap();
            NOW.fetch_add(u64::try_from(time.as_nanos()).unwrap(), Relaxed);
            let now = Self::now();
            let (due, later) = mem::take(&mut *timers).into_iter().partition(|(at, _)| *at <= now);
            *timers = later;
            due
        };
        due.into_iter().for_each(|(_, waker)| waker.wake());
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

/// A timer of the manual clock. A model that does not move the clock fires no timer, so a task that misses its wake-up
/// sleeps for ever, and loom reports a deadlock.
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

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Under the mutex the time is the newest: `advance` moves it under the same one.
        let mut timers = TIMERS.lock().unwrap();
        if self.0 <= Instant::now() {
            return Poll::Ready(());
        }
        timers.push((self.0, cx.waker().clone()));
        Poll::Pending
    }
}

/// A double of tokio's `Notify`, for at most one task at a time that waits for `notify_one`.
#[derive(Clone, Debug, Default)]
pub(in crate::gate) struct Notify(Arc<Mutex<Notifications>>);

#[derive(Debug, Default)]
struct Notifications {
    /// Counts the calls of `notify_waiters`.
    all: u64,
    /// Set by `notify_one`, cleared by the next task that polls.
    has_permit: bool,
    wakers: Vec<Waker>,
}

impl Notify {
    pub(in crate::gate) fn notify_one(&self) {
        self.notify(|state| state.has_permit = true);
    }

    pub(in crate::gate) fn notify_waiters(&self) {
        self.notify(|state| state.all += 1);
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

    fn notify(&self, change: impl FnOnce(&mut Notifications)) {
        let wakers = {
            let mut state = self.0.lock().unwrap();
            change(&mut state);
            mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Ready after a notification that comes after this was made, as tokio's is.
#[derive(Debug)]
pub(in crate::gate) struct OwnedNotified {
    notify: Notify,
    all: u64,
}

impl Future for OwnedNotified {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.notify.0.lock().unwrap();
        if state.all != self.all || mem::take(&mut state.has_permit) {
            return Poll::Ready(());
        }
        state.wakers.push(cx.waker().clone());
        Poll::Pending
    }
}

/// A double of std's `OnceLock`: loom sees whether it is set.
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

/// A double of moka's cache: a map whose calls are one step each. It evicts nothing by itself.
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
        self.notify(replaced.map(|value| (key, value)), RemovalCause::Replaced);
    }

    pub(in crate::gate) fn invalidate(&self, key: &K) {
        let removed = self.entries.lock().unwrap().remove(key);
        self.notify(removed.map(|value| (*key, value)), RemovalCause::Explicit);
    }

    pub(in crate::gate) fn invalidate_all(&self) {
        let removed: Vec<_> = self.entries.lock().unwrap().drain().collect();
        self.notify(removed, RemovalCause::Explicit);
    }

    /// Does nothing: each call does its own maintenance.
    pub(in crate::gate) fn run_pending_tasks(&self) {}

    fn notify(&self, removed: impl IntoIterator<Item = (K, V)>, cause: RemovalCause) {
        for (key, value) in removed {
            (self.listener)(Arc::new(key), value, cause);
        }
    }
}
