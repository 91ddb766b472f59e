//! [`StoreClient`]: one layer's calls of its store, with their time-outs, breaker, outbox and notices.

mod breaker;
mod meter;
mod outbox;
mod signals;

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use self::{
    breaker::{Breaker, Probe},
    meter::{Meter, Operation},
    outbox::Outbox,
    signals::{Signal, Signals},
};
use super::{
    AnyStore, Ask, ClaimToken, Claimed, Completed, Completion, Held, Lost, Notices, OnStoreError, Renewed, Scope,
    SharedStore, StoreError, StoreFuture,
};
use crate::{
    Offer, PeerKey, Stats,
    gate::Gate,
    metrics::LayerName,
    quiet::{Caught, catch, catch_future, quietly},
};

pub(crate) use self::{outbox::Message, signals::Watch};

/// The time-out of a call.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_millis(250);

/// The time for which the store holds a claim without a renewal.
pub(crate) const LEASE: Duration = Duration::from_secs(10);

/// One layer's calls of its store.
pub(crate) struct StoreClient {
    store: AnyStore,
    on_error: OnStoreError,
    meter: Meter,
    breaker: Breaker,
    outbox: Outbox,
    signals: Signals,
    tokens: Tokens,
    /// The task that reads the notices. Its runtime also runs calls that are made outside of any runtime.
    listener: Mutex<Option<Listener>>,
}

struct Listener {
    task: JoinHandle<()>,
    runtime: Handle,
}

/// The numbers of tokens: random at first, then counting.
struct Tokens {
    hasher: RandomState,
    next: AtomicU64,
}

/// A call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    /// The store has not been asked.
    NotSent,
    /// The call may have taken effect.
    Unknown,
}

impl StoreClient {
    /// `gate` counts, and `layer` names the metrics.
    pub(crate) fn new(store: AnyStore, on_error: OnStoreError, gate: Arc<Gate>, layer: &LayerName) -> Self {
        Self {
            store,
            on_error,
            meter: Meter::new(gate, layer),
            breaker: Breaker::default(),
            outbox: Outbox::default(),
            signals: Signals::default(),
            tokens: Tokens {
                hasher: RandomState::new(),
                next: AtomicU64::new(0),
            },
            listener: Mutex::new(None),
        }
    }

    pub(crate) fn on_error(&self) -> OnStoreError {
        self.on_error
    }

    /// Notes that the store could not be asked about an offer, which this node admits alone.
    pub(crate) fn note_admitted_alone(&self, offer: &Offer) {
        self.meter.admitted_alone(offer);
    }

    /// Notes that the store has taken a claim away from this node.
    pub(crate) fn note_claim_lost(&self) {
        self.meter.claim_lost();
    }

    /// Adds what is held now to `stats`.
    pub(crate) fn add_to(&self, mut stats: Stats) -> Stats {
        stats.store_messages = self.outbox.len() as u64;
        stats.store_down = u64::from(self.breaker.is_open());
        stats
    }

    /// Returns a token that no claim has yet.
    pub(crate) fn token(&self) -> ClaimToken {
        // A keyed hash of a counter never repeats in practice, and other nodes cannot guess it.
        let unique = self.tokens.hasher.hash_one(self.tokens.next.fetch_add(1, Relaxed));
        ClaimToken::new(self.store.node(), unique)
    }

    /// Starts the task that reads the notices, if it does not run. `read` makes it; it must hold this weakly. Returns
    /// whether notices may have been missed.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub(crate) fn listen<F>(self: &Arc<Self>, read: impl FnOnce(Notices) -> F) -> bool
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        let (is_running, is_first) = match &*listener {
            Some(listener) => (!listener.task.is_finished(), false),
            None => (false, true),
        };
        if !is_running {
            let runtime = Handle::current();
            let task = runtime.spawn(read(self.store.listen()));
            *listener = Some(Listener { task, runtime });
        }
        drop(listener);
        // Messages that were sent before there was a runtime.
        self.outbox.resume(self);
        !is_running && !is_first
    }

    /// Asks for a claim, after everything that was sent for this peer before has arrived.
    pub(crate) async fn claim(self: &Arc<Self>, ask: Ask) -> Result<Claimed, CallError> {
        let is_late = || async { timeout(CALL_TIMEOUT, self.outbox.delivered(ask.peer)).await.is_err() };
        if self.breaker.is_open() || is_late().await {
            return Err(CallError::NotSent);
        }
        self.call(Operation::Claim, |store| store.claim(ask)).await
    }

    pub(crate) async fn renew(self: &Arc<Self>, held: Held, is_abandoned: bool) -> Result<Renewed, CallError> {
        self.call(Operation::Renew, |store| store.renew(held, LEASE, is_abandoned))
            .await
    }

    /// Completes a claim. If the store does not answer in time, the outbox tries again.
    pub(crate) async fn complete(self: &Arc<Self>, held: Held, completion: Completion) -> Result<Completed, CallError> {
        let completed = self
            .call(Operation::Complete, |store| store.complete(held, completion.clone()))
            .await;
        if completed.is_err() {
            self.send(Message::Complete(held, completion));
        }
        completed
    }

    /// Sends a message that the caller does not wait for.
    pub(crate) fn send(self: &Arc<Self>, message: Message) {
        // Wakers may panic.
        let woken = catch(|| match &message {
            // Requests that get a reply from before it ask again.
            Message::Forget(peer, _) => self.wake(*peer),
            Message::Clear => self.wake_all(),
            Message::Complete(..) | Message::Release(_) | Message::Announce(_) => {}
        });
        self.outbox.send(self, message, Instant::now() + LEASE);
        woken.resume();
    }

    /// Sends a message, then does the same on this node. The message goes first: the next offer waits until it has arrived.
    pub(crate) fn send_and<T>(self: &Arc<Self>, message: Message, act: impl FnOnce() -> T) -> T {
        let sent = catch(|| self.send(message));
        let done = act();
        sent.resume();
        done
    }

    /// Sends a message after `pause`. It is not sent if the layer or the runtime is gone by then.
    pub(crate) fn send_later(self: &Arc<Self>, message: Message, pause: Duration) {
        let held = self.outbox.hold(self);
        self.spawn(async move {
            sleep(pause).await;
            if let Some(client) = held.client() {
                client.send(message);
            }
        });
    }

    /// Resolves when every message is acknowledged or has expired.
    pub(crate) async fn drain(self: &Arc<Self>) {
        self.outbox.drain(self).await;
    }

    /// Returns a future that is ready when a claim of the peer has ended. Subscribe before asking.
    pub(crate) fn subscribe(&self, peer: PeerKey) -> signals::Subscription<'_> {
        self.signals.subscribe(Signal::of_peer(peer))
    }

    pub(crate) fn wake(&self, peer: PeerKey) {
        self.signals.wake(Signal::of_peer(peer));
    }

    pub(crate) fn wake_all(&self) {
        self.signals.wake_all();
    }

    /// Returns a future that is ready when the claim of this node is lost.
    pub(crate) fn watch(self: &Arc<Self>, token: ClaimToken) -> Watch {
        Watch::new(Arc::clone(self), token)
    }

    pub(crate) fn lose(&self, token: ClaimToken, cause: Lost) {
        self.signals.lose(token, cause);
    }

    /// Resolves when the processing of a displaced claim has stopped.
    pub(crate) async fn stopped(&self, displaced: ClaimToken) {
        // A node stops its own claim before it displaces it, unless that one was forgotten.
        if displaced.node() != self.store.node() || self.signals.is_held(displaced) {
            self.signals.subscribe(Signal::of_stop(displaced)).notified().await;
        }
    }

    pub(crate) fn note_stopped(&self, displaced: ClaimToken) {
        self.signals.wake(Signal::of_stop(displaced));
    }

    /// Makes a call for a request. A panic of an observer goes on to its caller.
    async fn call<T>(
        self: &Arc<Self>,
        operation: Operation,
        call: impl FnOnce(&dyn SharedStore) -> StoreFuture<T>,
    ) -> Result<T, CallError> {
        let (result, observed) = self.observed_call(operation, call).await;
        observed.resume();
        result
    }

    /// Makes a call for a task. A panic of an observer ends here: there is no caller.
    async fn quiet_call<T>(
        self: &Arc<Self>,
        operation: Operation,
        call: impl FnOnce(&dyn SharedStore) -> StoreFuture<T>,
    ) -> Result<T, CallError> {
        self.observed_call(operation, call).await.0
    }

    async fn observed_call<T>(
        self: &Arc<Self>,
        operation: Operation,
        call: impl FnOnce(&dyn SharedStore) -> StoreFuture<T>,
    ) -> (Result<T, CallError>, Caught) {
        if self.breaker.is_open() {
            return (Err(CallError::NotSent), Caught::default());
        }
        let started = Instant::now();
        let replied = self.reply(operation.timeout(), call).await;
        let took = started.elapsed();
        let error = match replied {
            Ok(reply) => {
                self.breaker.succeeded();
                return (Ok(reply), catch(|| self.meter.succeeded(operation, took)));
            }
            Err(error) => error,
        };
        let has_opened = self.breaker.failed();
        let mut observed = catch(|| self.meter.failed(operation, took, &error));
        if has_opened {
            observed = observed.and_also(|| self.meter.down());
            self.spawn(Probe::new(self).run());
        }
        (Err(CallError::Unknown), observed)
    }

    async fn ping(&self) -> bool {
        self.reply(CALL_TIMEOUT, |store| store.ping()).await.is_ok()
    }

    /// Waits for the reply to a call. A store that panics has failed.
    async fn reply<T>(
        &self,
        limit: Duration,
        call: impl FnOnce(&dyn SharedStore) -> StoreFuture<T>,
    ) -> Result<T, StoreError> {
        let mut call = Box::pin(async { call(&*self.store).await });
        let replied = timeout(limit, catch_future(&mut call)).await;
        // It may panic when it is dropped, too.
        quietly(|| drop(call));
        match replied {
            Ok(Some(replied)) => replied,
            Ok(None) => Err(StoreError::new("the store panicked")),
            Err(_elapsed) => Err(StoreError::new("no reply in time")),
        }
    }

    /// Spawns a task on the caller's runtime, else on that of the listener. Without either, it drops the task.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let runtime = Handle::try_current().ok().or_else(|| {
            let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
            listener.as_ref().map(|listener| listener.runtime.clone())
        });
        if let Some(runtime) = runtime {
            runtime.spawn(task);
        }
    }
}

impl fmt::Debug for StoreClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreClient")
            .field("store", &self.store)
            .field("on_error", &self.on_error)
            .field("messages", &self.outbox.len())
            .field("signals", &self.signals.len())
            .finish_non_exhaustive()
    }
}

impl Drop for StoreClient {
    fn drop(&mut self) {
        let listener = self.listener.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = listener {
            // Nobody applies its notices any more.
            listener.task.abort();
        }
        self.meter.gone(self.outbox.len(), self.breaker.is_open());
    }
}
