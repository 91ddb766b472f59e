//! [`Link`]: a connection that is replaced when it breaks, and the subscriptions on it.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use redis::{ErrorKind, PushInfo, PushKind, RedisError, Value, aio::MultiplexedConnection};
use tokio::{
    sync::Notify,
    task::AbortHandle,
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

use super::{
    super::{NodeId, Notice, StoreError},
    connect::Connector,
    inspect::{self, Expected},
    keys::Keys,
    notices::{self, Listeners},
    options::RedisOptions,
    reply::failed,
    seal::Seal,
};
use crate::{observe::TARGET, quiet::quietly};

/// The interval between checks of an idle connection. Nothing else notices a server that vanished silently.
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// The first and the longest pause between two attempts to connect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A connection that a task keeps up until this is dropped.
pub(super) struct Link {
    current: Arc<Mutex<Option<Connection>>>,
    supervisor: AbortHandle,
}

/// One connection, until it breaks.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) redis: MultiplexedConnection,
    health: Arc<Health>,
}

/// The state of a connection.
#[derive(Default)]
struct Health {
    is_broken: AtomicBool,
    /// Wakes the supervisor.
    doubt: Notify,
}

/// Everything that a new connection needs.
struct Supervisor {
    connector: Connector,
    expected: Expected,
    options: RedisOptions,
    subscriber: Arc<Subscriber>,
}

/// Reads what is published to this node.
pub(super) struct Subscriber {
    pub(super) node: NodeId,
    pub(super) keys: Keys,
    pub(super) seal: Seal,
    pub(super) listeners: Listeners,
}

impl Link {
    pub(super) async fn open(
        connector: Connector,
        expected: Expected,
        options: RedisOptions,
        subscriber: Arc<Subscriber>,
    ) -> Result<Self, StoreError> {
        let mut supervisor = Supervisor {
            connector,
            expected,
            options,
            subscriber,
        };
        let connection = supervisor.connect().await?;
        let current = Arc::new(Mutex::new(Some(connection.clone())));
        let task = tokio::spawn(supervisor.supervise(connection, Arc::clone(&current)));
        Ok(Self {
            current,
            supervisor: task.abort_handle(),
        })
    }

    /// Fails if nothing keeps up the connection.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if self.supervisor.is_finished() {
            return Err(StoreError::new(
                "the runtime that connected to the server has shut down",
            ));
        }
        Ok(())
    }

    /// Returns the connection, unless it is being replaced.
    pub(super) fn connection(&self) -> Result<Connection, StoreError> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current
            .clone()
            .ok_or_else(|| StoreError::new("the connection to the server is broken"))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

impl Connection {
    /// Has the supervisor check whether the server still answers.
    pub(super) fn doubt(&self) {
        self.health.doubt.notify_one();
    }

    /// Has the connection replaced if this error calls for it.
    pub(super) fn observe(&self, error: &RedisError) {
        // A master that was replaced refuses writes, but keeps its connections.
        let is_replica = error.kind() == ErrorKind::Server(redis::ServerErrorKind::ReadOnly);
        if is_replica || error.is_unrecoverable_error() {
            self.health.fail();
        }
    }
}

impl Health {
    fn fail(&self) {
        // Relaxed: `notify_one` and `notified` order the store before the load.
        self.is_broken.store(true, Relaxed);
        self.doubt.notify_one();
    }
}

impl Supervisor {
    async fn supervise(mut self, mut connection: Connection, current: Arc<Mutex<Option<Connection>>>) {
        let set = |connection| *current.lock().unwrap_or_else(PoisonError::into_inner) = connection;
        loop {
            self.wait_until_broken(&mut connection).await;
            set(None);
            // A subscriber that panics must not end this task.
            quietly(|| warn!(target: TARGET, "store connection lost"));
            connection = self.reconnect().await;
            set(Some(connection.clone()));
            quietly(|| info!(target: TARGET, "store connection restored"));
            // Sent once the subscriptions hold again, so that nothing is missed after it.
            self.subscriber.listeners.notify(Notice::Missed);
        }
    }

    async fn wait_until_broken(&self, connection: &mut Connection) {
        loop {
            let doubt = connection.health.doubt.notified();
            let _ = timeout(CHECK_EVERY, doubt).await;
            // Relaxed: see `fail`.
            if connection.health.is_broken.load(Relaxed) {
                return;
            }
            let ping = redis::cmd("PING");
            let reply = ping.exec_async(&mut connection.redis);
            let is_alive = matches!(timeout(self.options.call_timeout, reply).await, Ok(Ok(_)));
            if !is_alive {
                return;
            }
        }
    }

    /// Connects again, however often that fails.
    async fn reconnect(&mut self) -> Connection {
        let mut pause = PAUSES.0;
        let mut last = String::new();
        loop {
            // The pause comes first, as a server may close each connection at once. A random part keeps the nodes from
            // connecting all at once when the server is back.
            let part = RandomState::new().hash_one(()) % 1000;
            sleep(pause.mul_f64(0.5 + part as f64 / 1000.0)).await;
            pause = (pause * 2).min(PAUSES.1);
            let error = match self.connect().await {
                Ok(connection) => return connection,
                Err(error) => error,
            };
            let text = error.to_string();
            let error = &error as &dyn std::error::Error;
            if text == last {
                quietly(|| debug!(target: TARGET, error, "store not reached"));
            } else {
                quietly(|| warn!(target: TARGET, error, "store not reached"));
                last = text;
            }
        }
    }

    async fn connect(&mut self) -> Result<Connection, StoreError> {
        let health = Arc::new(Health::default());
        let pushed = {
            let (health, subscriber) = (Arc::clone(&health), Arc::clone(&self.subscriber));
            move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    health.fail();
                } else {
                    subscriber.receive(push);
                }
                Ok(())
            }
        };
        let redis = self.connector.connect(&self.options, pushed).await.map_err(refused)?;
        let mut connection = Connection { redis, health };
        let prepared = timeout(self.options.connect_timeout, async {
            let info = redis::cmd("INFO").query_async(&mut connection.redis).await;
            inspect::inspect_reply(info, self.expected)?;
            let keys = &self.subscriber.keys;
            let channels = [keys.inbox(self.subscriber.node), keys.all().to_vec()];
            connection.redis.subscribe(&channels).await.map_err(failed)
        });
        match prepared.await {
            Ok(prepared) => prepared.map(|()| connection),
            Err(_) => Err(StoreError::new("the server accepts connections but does not answer")),
        }
    }
}

impl Subscriber {
    fn receive(&self, push: PushInfo) {
        if push.kind != PushKind::Message {
            return;
        }
        // The channel comes first.
        let Some(Value::BulkString(message)) = push.data.into_iter().nth(1) else {
            return;
        };
        if let Some(notice) = notices::read(&self.seal, self.node, &message) {
            self.listeners.notify(notice);
        }
    }
}

fn refused(error: RedisError) -> StoreError {
    let message = match error.kind() {
        _ if error.code() == Some("NOAUTH") => "the server refuses calls without a password",
        _ if error.code() == Some("WRONGPASS") => "the server refuses the user or the password",
        ErrorKind::RESP3NotSupported => return inspect::too_old("").with_source(error),
        ErrorKind::AuthenticationFailed => "the server refuses the user or the password",
        ErrorKind::MasterNameNotFoundBySentinel => "the Sentinels know no master of this name",
        _ => "the server cannot be reached",
    };
    StoreError::new(message).with_source(error)
}
