//! [`RedisStore`].

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use redis::Value;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::{
    super::{
        Ask, Claimed, Completed, Completion, Held, NodeId, Notices, Renewed, Scope, SharedStore, StoreError,
        StoreFuture,
    },
    connect,
    keys::{Keys, PeerKeys},
    link::Subscriber,
    notices::{self, Listeners},
    options::RedisOptions,
    reply::{self, Reply},
    scripts::{self, Call},
    seal::Seal,
    server::Server,
};
use crate::{Fingerprint, PeerKey, extract::SessionUri, observe::TARGET, quiet::quietly};

/// The least time for which a floor is kept, in milliseconds. It must outlive every claim and memory below it.
const FLOOR: u64 = 24 * 60 * 60 * 1000;
/// Longer than anything is kept, and short enough for the numbers of the scripts.
const MAX_MILLIS: u64 = 10 * 365 * 24 * 60 * 60 * 1000;
/// The number of floors that are raised at a time.
const FLOORS_AT_ONCE: usize = 1024;

/// A store on Redis 6.2 or newer, or on Valkey: one server, a master that Sentinels watch, or a cluster.
///
/// A value is one node. It needs a tokio runtime, and keeps one connection, over which its calls are multiplexed; in a
/// cluster, one to each server. A connection that breaks is replaced. Until then calls fail at once.
///
/// # Examples
///
/// ```no_run
/// use tower_offer_dedup::store::{RedisStore, StoreError};
///
/// # async fn connect(secret: &[u8]) -> Result<(), StoreError> {
/// let store = RedisStore::connect("redis://localhost", secret).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Secrets
///
/// The server sees neither peers nor answers. A peer appears as a keyed digest. Recorded answers, which hold ICE
/// credentials, and the peers in notices are sealed with XChaCha20-Poly1305; an answer opens only for the peer and the
/// offer that it was recorded for. Fingerprints of offers are stored as they are. There is no mode without a secret.
///
/// # Consistency
///
/// The store keeps what the server keeps. A failover to a replica that has not received the last writes grants their
/// claims again, with higher numbers. So does a server that restarts without persistence.
///
/// - `maxmemory-policy` must be `noeviction`. When memory is full, new claims are errors and running work completes.
/// - A claim whose lease is over is kept for one more lease. A completion or a renewal that comes later than that is lost.
/// - `clear` covers the windows and leases of up to 24 hours, and longer ones that this node has used.
/// - If the clock of the server steps back, windows and leases take longer by as much.
/// - Up to 8 nodes that wait for one claim are woken. Further ones have to ask again.
pub struct RedisStore {
    inner: Arc<Inner>,
}

struct Inner {
    subscriber: Arc<Subscriber>,
    server: Server,
    /// The longest window or lease so far, in milliseconds.
    longest: AtomicU64,
    has_warned: AtomicBool,
}

impl RedisStore {
    /// Connects to one server, with a secret of at least 16 random bytes that all nodes share. See
    /// [`RedisOptions`] for Sentinel, clusters and more, and [`RedisOptions::connect`] for errors.
    ///
    /// # Errors
    ///
    /// As [`RedisOptions::connect`].
    pub async fn connect(url: impl Into<String>, secret: impl AsRef<[u8]>) -> Result<Self, StoreError> {
        RedisOptions::new(url).secret(secret).connect().await
    }

    pub(super) async fn open(options: RedisOptions) -> Result<Self, StoreError> {
        let secrets = options.secrets()?;
        let mut id = [0; 8];
        getrandom::fill(&mut id).map_err(|error| StoreError::new("the system has no randomness").with_source(error))?;
        let keys = Keys::new(options.checked_prefix()?, connect::database(&options)?, secrets.digest);
        let subscriber = Arc::new(Subscriber {
            node: NodeId::from_bytes(id),
            keys,
            seal: Seal::new(&secrets.sealing),
            listeners: Listeners::default(),
        });
        Ok(Self {
            inner: Arc::new(Inner {
                server: Server::connect(options, Arc::clone(&subscriber)).await?,
                subscriber,
                longest: AtomicU64::new(0),
                has_warned: AtomicBool::new(false),
            }),
        })
    }

    /// Boxes a call. It begins with its first poll.
    fn run<T, F>(&self, call: impl FnOnce(Arc<Inner>) -> F) -> StoreFuture<T>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        Box::pin(call(Arc::clone(&self.inner)))
    }
}

impl SharedStore for RedisStore {
    fn node(&self) -> NodeId {
        self.inner.subscriber.node
    }

    fn claim(&self, ask: Ask) -> StoreFuture<Claimed> {
        self.run(async move |inner| inner.claim(ask).await)
    }

    fn renew(&self, held: Held, lease: Duration, is_abandoned: bool) -> StoreFuture<Renewed> {
        self.run(async move |inner| {
            let is_abandoned = if is_abandoned { b"1".to_vec() } else { Vec::new() };
            let arguments = [held.token.to_bytes().to_vec(), inner.span(lease), is_abandoned];
            let is_held = inner.call(&scripts::RENEW, held.peer, arguments).await?;
            Ok(if reply::flag(&is_held)? {
                Renewed::Yes
            } else {
                Renewed::Lost
            })
        })
    }

    fn complete(&self, held: Held, completion: Completion) -> StoreFuture<Completed> {
        self.run(async move |inner| {
            let keys = inner.subscriber.keys.of(held.peer);
            let record = completion.record.as_ref();
            let sealed = record.map(|record| {
                inner
                    .subscriber
                    .seal
                    .seal_record(record, &keys.digest, held.fingerprint)
            });
            let arguments = [
                held.token.to_bytes().to_vec(),
                held.fingerprint.to_bytes().to_vec(),
                inner.span(completion.window),
                inner.span(completion.cooldown),
                sealed.transpose()?.unwrap_or_default(),
            ];
            let is_done = inner.call(&scripts::COMPLETE, held.peer, arguments).await?;
            Ok(if reply::flag(&is_done)? {
                Completed::Done
            } else {
                Completed::Lost
            })
        })
    }

    fn release(&self, held: Held) -> StoreFuture<()> {
        self.run(async move |inner| {
            let arguments = [held.token.to_bytes().to_vec()];
            inner.call(&scripts::RELEASE, held.peer, arguments).await?;
            Ok(())
        })
    }

    fn forget(&self, peer: PeerKey, scope: Scope) -> StoreFuture<bool> {
        self.run(async move |inner| {
            let subscriber = &inner.subscriber;
            let (start, end) = notices::forgotten(&subscriber.seal, subscriber.node, peer, scope)?;
            let (kind, fingerprint, number) = match scope {
                Scope::Peer => ("p", None, None),
                Scope::Offer(fingerprint) => ("o", Some(fingerprint), None),
                Scope::Claim(fingerprint, fence) => ("c", Some(fingerprint), Some(fence)),
            };
            let arguments = [
                kind.into(),
                fingerprint.map_or_else(Vec::new, |fingerprint| fingerprint.to_bytes().to_vec()),
                number.map_or_else(Vec::new, |fence| fence.get().to_string().into_bytes()),
                subscriber.keys.all().to_vec(),
                start,
                end,
            ];
            reply::flag(&inner.call(&scripts::FORGET, peer, arguments).await?)
        })
    }

    fn announce(&self, uri: SessionUri) -> StoreFuture<()> {
        self.run(async move |inner| {
            let subscriber = &inner.subscriber;
            let message = notices::ended(&subscriber.seal, subscriber.node, uri)?;
            inner.server.publish(subscriber.keys.all(), &message).await
        })
    }

    /// Goes on when it is dropped. It takes many calls, which may be more than the caller waits for.
    fn clear(&self) -> StoreFuture<()> {
        self.run(async move |inner| {
            let clearing = tokio::spawn(async move { inner.clear().await });
            clearing
                .await
                .map_err(|error| StoreError::new("the store was closed").with_source(error))?
        })
    }

    fn ping(&self) -> StoreFuture<()> {
        self.run(async move |inner| inner.server.ping().await)
    }

    fn listen(&self) -> Notices {
        self.inner.subscriber.listeners.listen()
    }
}

impl Inner {
    async fn claim(&self, ask: Ask) -> Result<Claimed, StoreError> {
        let arguments = [
            ask.token.to_bytes().to_vec(),
            ask.fingerprint.to_bytes().to_vec(),
            self.span(ask.lease),
            if ask.wants_record { b"1".to_vec() } else { Vec::new() },
            ask.supersede.map_or_else(Vec::new, |window| self.span(window)),
        ];
        let mut reply = Reply::new(self.call(&scripts::CLAIM, ask.peer, arguments).await?)?;
        match reply.bytes()?.as_slice() {
            b"admitted" => Ok(Claimed::Admitted {
                fence: reply.fence()?,
                displaced: reply.token()?,
            }),
            b"processed" => Ok(Claimed::Processed {
                left: reply.millis()?,
                fence: reply.fence()?,
                record: match reply.optional()? {
                    Some(sealed) => self.open(&sealed, &self.subscriber.keys.of(ask.peer), ask.fingerprint),
                    None => None,
                },
            }),
            b"superseded" => Ok(Claimed::Superseded { left: reply.millis()? }),
            b"in_flight" => Ok(Claimed::InFlight { left: reply.millis()? }),
            b"busy" => Ok(Claimed::Busy {
                left: reply.millis()?,
                age: reply.millis()?,
            }),
            b"cooling_down" => Ok(Claimed::CoolingDown { left: reply.millis()? }),
            _ => Err(reply::unexpected()),
        }
    }

    /// Opens a recorded answer. One that does not open stands for none: its offer was processed.
    fn open(&self, sealed: &[u8], keys: &PeerKeys, fingerprint: Fingerprint) -> Option<crate::answer::EncodedRecord> {
        let record = self.subscriber.seal.open_record(sealed, &keys.digest, fingerprint);
        if record.is_none() {
            const MESSAGE: &str = "recorded answer in the store does not open: no sealing key fits, or it was changed";
            // Relaxed: the flag guards nothing.
            if self.has_warned.swap(true, Relaxed) {
                quietly(|| debug!(target: TARGET, MESSAGE));
            } else {
                quietly(|| warn!(target: TARGET, MESSAGE));
            }
        }
        record
    }

    /// Runs a script on the keys of one peer.
    async fn call<const N: usize>(
        &self,
        source: &'static scripts::Source,
        peer: PeerKey,
        arguments: [Vec<u8>; N],
    ) -> Result<Value, StoreError> {
        let subscriber = &self.subscriber;
        let keys = subscriber.keys.of(peer);
        let mut all = vec![
            subscriber.keys.inboxes().to_vec(),
            notices::sealed_peer(&subscriber.seal, peer)?,
        ];
        all.extend(arguments);
        let call = source.call(vec![keys.peer, keys.answers, keys.floor], all);
        self.server.run(call).await
    }

    /// Raises the floor of every bucket.
    async fn clear(self: Arc<Self>) -> Result<(), StoreError> {
        // Relaxed: a window that is used for the first time right now may be missed, as it may in the next call.
        let kept = FLOOR.max(self.longest.load(Relaxed) * 3).to_string().into_bytes();
        let floors: Vec<_> = self.subscriber.keys.floors().collect();
        for floors in floors.chunks(FLOORS_AT_ONCE) {
            let mut calls = JoinSet::new();
            for floor in floors {
                let call: Call = scripts::CLEAR.call(vec![floor.clone()], vec![kept.clone()]);
                let inner = Arc::clone(&self);
                calls.spawn(async move { inner.server.run(call).await });
            }
            while let Some(called) = calls.join_next().await {
                called.map_err(|error| StoreError::new("the store was closed").with_source(error))??;
            }
        }
        let message = notices::cleared(self.subscriber.node);
        self.server.publish(self.subscriber.keys.all(), &message).await
    }

    /// Formats a time as milliseconds, rounded up so that a short time is not none.
    fn span(&self, time: Duration) -> Vec<u8> {
        let millis = u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(MAX_MILLIS);
        let millis = millis.min(MAX_MILLIS);
        // Relaxed: see `clear`.
        self.longest.fetch_max(millis, Relaxed);
        millis.to_string().into_bytes()
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("node", &self.inner.subscriber.node)
            .field("keys", &self.inner.subscriber.keys)
            .finish_non_exhaustive()
    }
}
