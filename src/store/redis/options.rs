//! [`RedisOptions`]: where the servers are, and how to use them.

use std::{fmt, time::Duration};

use super::{super::StoreError, store::RedisStore};

/// The shortest secret that [`RedisOptions::secret`] takes, in bytes.
const MIN_SECRET: usize = 16;

/// Options of a [`RedisStore`].
///
/// A secret is required: [`secret`](Self::secret), or [`digest_secret`](Self::digest_secret) and
/// [`sealing_key`](Self::sealing_key). All nodes must have the same.
///
/// # Examples
///
/// ```no_run
/// use tower_offer_dedup::store::{RedisOptions, StoreError};
///
/// # async fn connect(secret: &[u8]) -> Result<(), StoreError> {
/// let store = RedisOptions::sentinel(
///     ["redis://10.0.0.1:26379", "redis://10.0.0.2:26379"],
///     "signaling",
/// )
/// .password("s3cret")
/// .prefix("whip:")
/// .secret(secret)
/// .connect()
/// .await?;
/// # Ok(())
/// # }
/// ```
///
/// Wrong options are errors of [`connect`](Self::connect):
///
/// ```
/// use tower_offer_dedup::store::RedisOptions;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let options = RedisOptions::new("http://localhost").secret(&[7; 32]);
/// let error = options.connect().await.expect_err("the URL is wrong");
/// assert!(error.to_string().contains("redis://"));
///
/// let options = RedisOptions::new("redis://localhost");
/// let error = options.connect().await.expect_err("the secret is missing");
/// assert!(error.to_string().contains("secret"));
/// # }
/// ```
#[derive(Clone)]
#[must_use = "options do nothing until `connect`"]
pub struct RedisOptions {
    pub(super) place: Place,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: Option<u16>,
    pub(super) certificates: Certificates,
    pub(super) connect_timeout: Duration,
    pub(super) call_timeout: Duration,
    prefix: String,
    digest_secret: Option<[u8; 32]>,
    sealing_keys: Vec<[u8; 32]>,
    is_secret_too_short: bool,
}

/// The addresses of the servers.
#[derive(Clone)]
pub(super) enum Place {
    One(String),
    Sentinel { urls: Vec<String>, master: String },
    Cluster(Vec<String>),
}

/// Certificates for TLS, in PEM.
#[derive(Clone, Default)]
pub(super) struct Certificates {
    pub(super) root: Option<Vec<u8>>,
    pub(super) client: Option<(Vec<u8>, Vec<u8>)>,
}

/// The secrets of a store.
pub(super) struct Secrets {
    pub(super) digest: [u8; 32],
    /// The first one seals, all of them open. There is at least one.
    pub(super) sealing: Vec<[u8; 32]>,
}

impl RedisOptions {
    /// Uses one server: `redis://user:password@host:port/database`, `rediss://` for TLS, or `unix:///path`.
    pub fn new(url: impl Into<String>) -> Self {
        Self::at(Place::One(url.into()))
    }

    /// Uses the master with this name, as these Sentinels know it.
    ///
    /// User, password and database in the URLs are for the Sentinels; those of the servers are set by
    /// [`username`](Self::username), [`password`](Self::password) and [`database`](Self::database). With `rediss://`,
    /// the servers are reached by TLS, too.
    pub fn sentinel(urls: impl IntoIterator<Item = impl Into<String>>, master: impl Into<String>) -> Self {
        Self::at(Place::Sentinel {
            urls: urls.into_iter().map(Into::into).collect(),
            master: master.into(),
        })
    }

    /// Uses the cluster that these servers belong to.
    ///
    /// The store finds the other servers by itself. It receives notices from one of these, so they should be several,
    /// and the list must keep naming servers of the cluster.
    pub fn cluster(urls: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::at(Place::Cluster(urls.into_iter().map(Into::into).collect()))
    }

    fn at(place: Place) -> Self {
        Self {
            place,
            username: None,
            password: None,
            database: None,
            certificates: Certificates::default(),
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_millis(250),
            prefix: String::new(),
            digest_secret: None,
            sealing_keys: Vec::new(),
            is_secret_too_short: false,
        }
    }

    /// Sets the user, in place of one in the URL.
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.username = Some(username.into());
        self
    }

    /// Sets the password, in place of one in the URL.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Sets the number of the database, in place of one in the URL. A cluster has number 0 only, except for Valkey 9.
    pub fn database(mut self, database: u16) -> Self {
        self.database = Some(database);
        self
    }

    /// Trusts these certificate authorities, in PEM, in place of those of the system.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.certificates.root = Some(pem.into());
        self
    }

    /// Presents this certificate to the server, in PEM, with its key.
    pub fn client_certificate(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.certificates.client = Some((certificate.into(), key.into()));
        self
    }

    /// Sets what the names of keys and channels begin with. Layers that share servers need different prefixes. It must
    /// not contain braces, which would change how a cluster places keys. The default is empty; the names then begin
    /// with `od1:`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Derives the digest secret and a sealing key from one secret of at least 16 random bytes.
    ///
    /// Such a sealing key cannot be replaced without the digest secret. Set the two apart to replace keys.
    pub fn secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        let secret = secret.as_ref();
        self.is_secret_too_short |= secret.len() < MIN_SECRET;
        let derive = |purpose: &str| blake3::derive_key(&format!("tower-offer-dedup 2026 store {purpose}"), secret);
        self.digest_secret(derive("digest")).sealing_key(derive("sealing"))
    }

    /// Sets the secret of the keyed digests that stand for peers. It must stay the same as long as the prefix: with
    /// another one, nothing that is stored is found.
    pub fn digest_secret(mut self, secret: [u8; 32]) -> Self {
        self.digest_secret = Some(secret);
        self
    }

    /// Adds a key that recorded answers and notices are sealed with. The first one seals, all of them open.
    ///
    /// To replace a key, append the new one on every node, then move it to the front on every node. Remove the old key
    /// once the window is over.
    pub fn sealing_key(mut self, key: [u8; 32]) -> Self {
        self.sealing_keys.push(key);
        self
    }

    /// Sets how long connecting may take. The default is 5 seconds.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long a call may take. The default is 250 milliseconds. A layer waits no longer than that, so a longer time
    /// is for other callers only.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// Connects to the servers, and checks that they are fit for use.
    ///
    /// # Errors
    ///
    /// An option is wrong or missing; no server can be reached; the server refuses the user or the password, is older
    /// than Redis 6.2, or is a read-only replica; a server of a cluster was given as a single one.
    ///
    /// A server that may evict keys is a warning in the log: what it evicts is processed again. Set its
    /// `maxmemory-policy` to `noeviction`.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime with its time and network enabled.
    ///
    /// # Runtime
    ///
    /// The connection is kept up by a task of the runtime that connects. Once that runtime has shut down, all calls fail.
    pub async fn connect(self) -> Result<RedisStore, StoreError> {
        RedisStore::open(self).await
    }

    pub(super) fn checked_prefix(&self) -> Result<&str, StoreError> {
        if self.prefix.contains(['{', '}']) {
            return Err(StoreError::new("the prefix contains a brace"));
        }
        Ok(&self.prefix)
    }

    pub(super) fn secrets(&self) -> Result<Secrets, StoreError> {
        if self.is_secret_too_short {
            return Err(StoreError::new("the secret is shorter than 16 bytes"));
        }
        match self.digest_secret {
            Some(digest) if !self.sealing_keys.is_empty() => Ok(Secrets {
                digest,
                sealing: self.sealing_keys.clone(),
            }),
            Some(_) => Err(StoreError::new("a sealing key is missing")),
            None => Err(StoreError::new(
                "a secret is missing: set `secret`, or `digest_secret` and `sealing_key`",
            )),
        }
    }
}

/// Shows no URL, as it may hold a password.
impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("prefix", &self.prefix)
            .field("connect_timeout", &self.connect_timeout)
            .field("call_timeout", &self.call_timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn error(options: RedisOptions) -> String {
        options.connect().await.expect_err("the options are wrong").to_string()
    }

    #[tokio::test]
    async fn wrong_options_are_errors() {
        let options = || RedisOptions::new("redis://localhost");
        let secret = [7; 32];
        assert!(error(options()).await.contains("secret is missing"));
        assert!(
            error(options().digest_secret(secret))
                .await
                .contains("sealing key is missing")
        );
        assert!(error(options().sealing_key(secret)).await.contains("secret is missing"));
        assert!(error(options().secret([7; 15])).await.contains("shorter"));
        assert!(error(options().secret(secret).prefix("{a}")).await.contains("brace"));
        for url in ["", "localhost", "http://localhost", "redis://", "redis://host:99999"] {
            let wrong = error(RedisOptions::new(url).secret(secret)).await;
            assert!(wrong.contains("redis://"), "{url}: {wrong}");
        }
        let none: [&str; 0] = [];
        assert!(
            error(RedisOptions::cluster(none).secret(secret))
                .await
                .contains("no URL")
        );
        assert!(
            error(RedisOptions::sentinel(none, "m").secret(secret))
                .await
                .contains("no URL")
        );
        let plain = options().secret(secret).root_certificates("");
        assert!(error(plain).await.contains("rediss://"));
    }

    #[test]
    fn secret_is_not_shown() {
        let options = RedisOptions::new("redis://user:hunter2@localhost")
            .password("hunter2")
            .secret(b"hunter2hunter2hunter2");
        assert!(!format!("{options:?}").contains("hunter2"));
    }

    #[test]
    fn derived_secrets_differ() {
        let secrets = RedisOptions::new("").secret([7; 32]).secrets().unwrap();
        assert_ne!(secrets.digest, secrets.sealing[0]);
        let again = RedisOptions::new("").secret([7; 32]).secrets().unwrap();
        assert_eq!((secrets.digest, secrets.sealing), (again.digest, again.sealing));
    }
}
