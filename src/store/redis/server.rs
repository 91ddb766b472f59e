//! [`Server`]: sends calls to one server or to a cluster.

use std::{sync::Arc, time::Duration};

use redis::{
    Cmd, ErrorKind, RedisResult, ServerErrorKind, Value,
    cluster_async::ClusterConnection,
    cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo},
};
use tokio::time::timeout;

use super::{
    super::StoreError,
    connect::{self, Connector},
    inspect::{self, Expected},
    link::{Link, Subscriber},
    options::{Place, RedisOptions},
    reply::failed,
    scripts::Call,
};

pub(super) struct Server {
    /// Receives notices. Without a cluster, calls go over it as well.
    link: Link,
    cluster: Option<ClusterConnection>,
    call_timeout: Duration,
}

impl Server {
    pub(super) async fn connect(options: RedisOptions, subscriber: Arc<Subscriber>) -> Result<Self, StoreError> {
        let connector = Connector::new(&options)?;
        let (cluster, expected) = match &options.place {
            Place::Cluster(urls) => (Some(connect::cluster(urls, &options)?), Expected::InCluster),
            Place::One(_) | Place::Sentinel { .. } => (None, Expected::Master),
        };
        let (call_timeout, connect_timeout) = (options.call_timeout, options.connect_timeout);
        let link = Link::open(connector, expected, options, subscriber).await?;
        let cluster = match cluster {
            Some(client) => {
                let connecting = timeout(connect_timeout, client.get_async_connection()).await;
                let connected = connecting.map_err(|_| StoreError::new("the cluster does not answer"))?;
                let mut connection = connected.map_err(failed)?;
                inspect_masters(&mut connection).await?;
                Some(connection)
            }
            None => None,
        };
        Ok(Self {
            link,
            cluster,
            call_timeout,
        })
    }

    /// Runs a script: one round trip, or two where the server does not know it yet.
    pub(super) async fn run(&self, call: Call) -> Result<Value, StoreError> {
        self.in_time(async |sender| match sender.send(call.by_digest()).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                sender.send(call.by_code()).await
            }
            result => result,
        })
        .await
    }

    pub(super) async fn publish(&self, channel: &[u8], message: &[u8]) -> Result<(), StoreError> {
        let mut command = redis::cmd("PUBLISH");
        command.arg(channel).arg(message);
        self.in_time(async |sender| sender.send_anywhere(command).await).await?;
        Ok(())
    }

    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        self.in_time(async |sender| sender.send_anywhere(redis::cmd("PING")).await)
            .await?;
        Ok(())
    }

    /// Bounds a call from outside: the client's own time-outs start anew for each attempt and each reconnection.
    async fn in_time(&self, call: impl AsyncFnOnce(&mut Sender) -> RedisResult<Value>) -> Result<Value, StoreError> {
        self.link.check()?;
        if let Some(cluster) = &self.cluster {
            let result = timeout(self.call_timeout, call(&mut Sender::Cluster(cluster.clone()))).await;
            return result.map_err(|_| late())?.map_err(failed);
        }
        let connection = self.link.connection()?;
        let result = timeout(self.call_timeout, call(&mut Sender::One(connection.redis.clone()))).await;
        match result {
            Ok(result) => result.map_err(|error| {
                connection.observe(&error);
                failed(error)
            }),
            Err(_) => {
                connection.doubt();
                Err(late())
            }
        }
    }
}

/// Checks all masters of a cluster. The one that sends notices was checked before, but may be a replica.
async fn inspect_masters(connection: &mut ClusterConnection) -> Result<(), StoreError> {
    let masters = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
    match connection.route_command(redis::cmd("INFO"), masters).await {
        Ok(Value::Map(replies)) => replies
            .into_iter()
            .try_for_each(|(_, reply)| inspect::inspect_reply(Ok(reply), Expected::InCluster)),
        result => inspect::inspect_reply(result, Expected::InCluster),
    }
}

fn late() -> StoreError {
    StoreError::new("the server did not answer in time")
}

enum Sender {
    One(redis::aio::MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Sender {
    /// Sends a command to the server that holds its keys.
    async fn send(&mut self, command: Cmd) -> RedisResult<Value> {
        match self {
            Self::One(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }

    /// Sends a command that any server can take.
    async fn send_anywhere(&mut self, command: Cmd) -> RedisResult<Value> {
        match self {
            Self::One(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => {
                let anywhere = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
                connection.route_command(command, anywhere).await
            }
        }
    }
}
