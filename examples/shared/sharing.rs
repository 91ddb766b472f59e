//! The options of a node that shares its decisions with others.

use std::{fmt, path::PathBuf, str::FromStr};

use clap::{Args, ValueEnum};
use tower_offer_dedup::OfferDedupBuilder;

#[cfg(feature = "redis")]
mod secrets;

#[derive(Clone, Debug, Args)]
pub(crate) struct Sharing {
    /// Share decisions with other nodes through this Redis or Valkey server, such as redis://127.0.0.1/
    #[arg(long, value_name = "URL")]
    redis: Option<Url>,

    /// File with the secret that all nodes share. Without it, the secret is in the environment variable
    /// OFFER_DEDUP_SECRET. With neither, a server on this machine is used with a secret that is public
    #[arg(long, value_name = "FILE", requires = "redis")]
    secret_file: Option<PathBuf>,

    /// While the store cannot be reached, decide alone (open), or refuse new offers (closed)
    #[arg(long, value_name = "MODE", default_value = "open", requires = "redis")]
    on_store_error: OnError,
}

/// A URL, which may contain a password.
#[derive(Clone)]
struct Url(String);

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum OnError {
    #[value(help = None)]
    Open,
    #[value(help = None)]
    Closed,
}

impl Sharing {
    /// Gives a layer the store. Layers with different prefixes do not meet in it.
    pub(crate) async fn share<X, A, M>(
        &self,
        layer: OfferDedupBuilder<X, A, M>,
        prefix: &str,
    ) -> Result<OfferDedupBuilder<X, A, M>, String> {
        let Some(url) = &self.redis else {
            return Ok(layer);
        };
        self.connect(url, layer, prefix)
            .await
            .map_err(|error| format!("cannot use the store at {url}: {error}"))
    }

    #[cfg(feature = "redis")]
    async fn connect<X, A, M>(
        &self,
        url: &Url,
        layer: OfferDedupBuilder<X, A, M>,
        prefix: &str,
    ) -> Result<OfferDedupBuilder<X, A, M>, String> {
        use tower_offer_dedup::store::{OnStoreError, RedisOptions};

        let options = RedisOptions::new(&url.0).prefix(prefix);
        let options = secrets::find(self.secret_file.as_deref(), url.is_local())?.add_to(options);
        let store = options.connect().await.map_err(|error| causes(&error))?;
        tracing::info!(%url, prefix, on_store_error = ?self.on_store_error, "shares its decisions with other nodes");
        Ok(layer.store(store).on_store_error(match self.on_store_error {
            OnError::Open => OnStoreError::FailOpen,
            OnError::Closed => OnStoreError::FailClosed,
        }))
    }

    #[cfg(not(feature = "redis"))]
    async fn connect<X, A, M>(
        &self,
        _: &Url,
        _: OfferDedupBuilder<X, A, M>,
        _: &str,
    ) -> Result<OfferDedupBuilder<X, A, M>, String> {
        Err("this program was built without it; add --features redis to cargo's options".to_owned())
    }
}

impl Url {
    fn without_scheme(&self) -> &str {
        self.0.split_once("://").map_or("", |(_, rest)| rest)
    }

    /// Returns the part after the scheme and the credentials.
    fn place(&self) -> &str {
        // A password may contain anything that a path may, so the last `@` ends it.
        self.without_scheme().rsplit('@').next().unwrap_or_default()
    }

    /// Returns whether the server is on this machine.
    #[cfg(feature = "redis")]
    fn is_local(&self) -> bool {
        // As a URL is read: the first of these ends the host, whatever follows.
        let authority = self.without_scheme().split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        let host = match host.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => host,
            _ => host,
        };
        let is_loopback = || {
            let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            ip.is_ok_and(|ip| ip.is_loopback())
        };
        self.0.starts_with("unix:") || host == "localhost" || is_loopback()
    }
}

impl FromStr for Url {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let has_scheme = ["redis://", "rediss://", "unix://"]
            .iter()
            .any(|scheme| text.starts_with(scheme));
        has_scheme
            .then(|| Self(text.to_owned()))
            .ok_or("not a URL with redis://, rediss:// or unix://")
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.place())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An error with those behind it.
#[cfg(feature = "redis")]
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[cfg(all(test, feature = "redis"))]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_local() {
        for (url, is_local) in [
            ("redis://127.0.0.1/", true),
            ("redis://user:pass@localhost:6379/1", true),
            ("rediss://[::1]", true),
            ("redis://[::1]:6379/", true),
            ("unix:///run/redis.sock", true),
            ("redis://10.0.0.1/", false),
            ("redis://localhost@10.0.0.1:6379", false),
            ("redis://10.0.0.1/@localhost", false),
            ("redis://[2001:db8::1]:6379/", false),
        ] {
            let url: Url = url.parse().expect("it is a URL");
            assert_eq!(url.is_local(), is_local, "{}", url.0);
        }
    }

    #[test]
    fn credentials_are_not_shown() {
        let url: Url = "redis://user:p/a@ss@10.0.0.1:6379/1".parse().expect("it is a URL");
        assert_eq!(format!("{url} {url:?}"), "10.0.0.1:6379/1 10.0.0.1:6379/1");
    }
}
