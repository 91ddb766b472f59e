//! Makes connections as the options say.

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, PushInfo,
    RedisError, RedisResult, TlsCertificates, TlsMode,
    aio::MultiplexedConnection,
    cluster::{ClusterClient, ClusterClientBuilder},
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};

use super::{
    super::StoreError,
    options::{Place, RedisOptions},
};

/// The limit of calls on their way to a connection. With the 50 of the client's default, a burst waits for it.
const BUFFERED_CALLS: usize = 1024;

/// Connects to one server at a time.
pub(super) enum Connector {
    /// The server, or the first of these servers that can be reached.
    Servers(Vec<Client>),
    /// The master that Sentinels name.
    Sentinel(Box<SentinelClient>),
}

impl Connector {
    pub(super) fn new(options: &RedisOptions) -> Result<Self, StoreError> {
        match &options.place {
            Place::One(url) => Ok(Self::Servers(vec![client(url, options)?])),
            Place::Sentinel { urls, master } => {
                let client = sentinel(urls, master, options)?;
                Ok(Self::Sentinel(Box::new(client)))
            }
            Place::Cluster(urls) => {
                let clients = some(urls)?.iter().map(|url| client(url, options));
                Ok(Self::Servers(clients.collect::<Result<_, _>>()?))
            }
        }
    }

    /// Connects. What the server sends unasked goes to `pushed`, and so does the end of the connection.
    pub(super) async fn connect(
        &mut self,
        options: &RedisOptions,
        pushed: impl Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static,
    ) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            // Calls have a time-out around them, which also covers what comes before the connection.
            .set_response_timeout(None)
            .set_connection_timeout(Some(options.connect_timeout))
            .set_pipeline_buffer_size(BUFFERED_CALLS)
            .set_push_sender(pushed);
        match self {
            Self::Servers(clients) => {
                let mut failure = None;
                for index in 0..clients.len() {
                    let connecting = clients[index].get_multiplexed_async_connection_with_config(&config);
                    // A server that accepts connections but does not answer must not keep the next one from its turn.
                    let patience = options.connect_timeout / u32::try_from(clients.len()).unwrap_or(u32::MAX);
                    match tokio::time::timeout(patience, connecting).await {
                        Ok(Ok(connection)) => {
                            // The next one to try when this one fails is another one.
                            clients.rotate_left(index + 1);
                            return Ok(connection);
                        }
                        Ok(Err(error)) => failure = Some(error),
                        Err(_) => failure = Some(timed_out()),
                    }
                }
                Err(failure.unwrap_or_else(timed_out))
            }
            Self::Sentinel(sentinels) => {
                let connecting = sentinels.get_async_connection_with_config(&config);
                let connected = tokio::time::timeout(options.connect_timeout, connecting).await;
                connected.unwrap_or_else(|_| Err(timed_out()))
            }
        }
    }
}

fn timed_out() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

/// Makes a client of a cluster.
pub(super) fn cluster(urls: &[String], options: &RedisOptions) -> Result<ClusterClient, StoreError> {
    let infos: Vec<_> = some(urls)?
        .iter()
        .map(|url| info(url, options))
        .collect::<Result<_, _>>()?;
    let is_tls = infos.iter().any(is_tls);
    let mut builder = ClusterClientBuilder::new(infos)
        .use_protocol(ProtocolVersion::RESP3)
        .connection_timeout(options.connect_timeout)
        .response_timeout(options.call_timeout)
        // The default of 16 retries outlasts every time-out. One retry follows a slot that moved.
        .retries(2)
        .min_retry_wait(10)
        .max_retry_wait(50);
    if let Some(certificates) = certificates(options, is_tls)? {
        builder = builder.certs(certificates);
    }
    builder.build().map_err(wrong)
}

fn client(url: &str, options: &RedisOptions) -> Result<Client, StoreError> {
    let info = info(url, options)?;
    match certificates(options, is_tls(&info))? {
        Some(certificates) => Client::build_with_tls(info, certificates),
        None => Client::open(info),
    }
    .map_err(wrong)
}

fn sentinel(urls: &[String], master: &str, options: &RedisOptions) -> Result<SentinelClient, StoreError> {
    let infos: Vec<_> = some(urls)?.iter().map(|url| parsed(url)).collect::<Result<_, _>>()?;
    let is_tls = infos.iter().any(is_tls);
    let first = infos[0].redis_settings().clone();
    let addresses = infos.iter().map(|info| info.addr().clone());
    let mut builder = SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)
        .map_err(wrong)?
        .set_client_to_redis_protocol(ProtocolVersion::RESP3);
    if let Some(username) = first.username() {
        builder = builder.set_client_to_sentinel_username(username);
    }
    if let Some(password) = first.password() {
        builder = builder.set_client_to_sentinel_password(password);
    }
    if let Some(username) = &options.username {
        builder = builder.set_client_to_redis_username(username);
    }
    if let Some(password) = &options.password {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(database) = options.database {
        builder = builder.set_client_to_redis_db(database.into());
    }
    if is_tls {
        builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
    }
    if let Some(certificates) = certificates(options, is_tls)? {
        builder = builder
            .set_client_to_redis_certificates(certificates.clone())
            .set_client_to_sentinel_certificates(certificates);
    }
    builder.build().map_err(wrong)
}

/// Returns the number of the database that the options or the URL name.
pub(super) fn database(options: &RedisOptions) -> Result<i64, StoreError> {
    match &options.place {
        Place::One(url) => Ok(info(url, options)?.redis_settings().db()),
        Place::Sentinel { .. } | Place::Cluster(_) => Ok(options.database.unwrap_or(0).into()),
    }
}

/// Parses a URL and completes it by the options.
fn info(url: &str, options: &RedisOptions) -> Result<ConnectionInfo, StoreError> {
    let info = parsed(url)?;
    let mut settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    if let Some(username) = &options.username {
        settings = settings.set_username(username);
    }
    if let Some(password) = &options.password {
        settings = settings.set_password(password);
    }
    if let Some(database) = options.database {
        settings = settings.set_db(database.into());
    }
    Ok(info.set_redis_settings(settings))
}

fn parsed(url: &str) -> Result<ConnectionInfo, StoreError> {
    let info = url
        .into_connection_info()
        .map_err(|error| StoreError::new("the URL is not one of redis://, rediss:// and unix://").with_source(error))?;
    if is_tls(&info) {
        choose_cryptography();
    }
    Ok(info)
}

fn some(urls: &[String]) -> Result<&[String], StoreError> {
    if urls.is_empty() {
        return Err(StoreError::new("there is no URL"));
    }
    Ok(urls)
}

fn is_tls(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), ConnectionAddr::TcpTls { .. })
}

fn certificates(options: &RedisOptions, is_tls: bool) -> Result<Option<TlsCertificates>, StoreError> {
    let certificates = &options.certificates;
    if certificates.root.is_none() && certificates.client.is_none() {
        return Ok(None);
    }
    if !is_tls {
        return Err(StoreError::new("certificates are for rediss:// only"));
    }
    let client = certificates.client.clone();
    Ok(Some(TlsCertificates {
        client_tls: client.map(|(client_cert, client_key)| redis::ClientTlsConfig {
            client_cert,
            client_key,
        }),
        root_cert: certificates.root.clone(),
    }))
}

/// Chooses who does the cryptography of TLS, unless the program has chosen. Without a choice, rustls panics where the
/// program has two providers among its dependencies.
fn choose_cryptography() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // It fails if another thread has chosen in the meantime, which is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

fn wrong(error: RedisError) -> StoreError {
    StoreError::new("the options do not fit together").with_source(error)
}
