//! Checks that a server is fit for use.

use redis::{ErrorKind, RedisResult, ServerErrorKind, Value};
use tracing::warn;

use super::{super::StoreError, reply::failed};
use crate::{observe::TARGET, quiet::quietly};

/// The first version of Redis that has everything the scripts need.
const OLDEST: (u32, u32) = (6, 2);

/// The kind of server that the options call for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Expected {
    /// A server of its own, or one that Sentinels watch.
    Master,
    /// A server of a cluster.
    InCluster,
}

/// Checks the reply of a server to `INFO`. One that does not let this user ask passes with a warning.
pub(super) fn inspect_reply(reply: RedisResult<Value>, expected: Expected) -> Result<(), StoreError> {
    match reply {
        Ok(Value::BulkString(bytes)) => inspect(&String::from_utf8_lossy(&bytes), expected),
        Ok(Value::VerbatimString { text, .. }) => inspect(&text, expected),
        Err(error) if error.kind() != ErrorKind::Server(ServerErrorKind::NoPerm) => Err(failed(error)),
        Ok(_) | Err(_) => {
            quietly(|| {
                warn!(
                    target: TARGET,
                    "store could not be checked: make sure that it is Redis 6.2 or newer, or Valkey, and that its \
                     maxmemory-policy is noeviction",
                );
            });
            Ok(())
        }
    }
}

fn inspect(info: &str, expected: Expected) -> Result<(), StoreError> {
    let value = |name: &str| {
        let mut lines = info.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    };
    let version = value("redis_version").unwrap_or_default();
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    if (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < OLDEST {
        return Err(too_old(version));
    }
    let is_in_cluster = value("cluster_enabled") == Some("1");
    match expected {
        Expected::Master if is_in_cluster => {
            return Err(StoreError::new(
                "the server belongs to a cluster: use `RedisOptions::cluster`",
            ));
        }
        Expected::Master if value("role") == Some("slave") => {
            return Err(StoreError::new(
                "the server is a read-only replica: use its master, or `RedisOptions::sentinel`",
            ));
        }
        Expected::InCluster if !is_in_cluster => {
            return Err(StoreError::new(
                "the server belongs to no cluster: use `RedisOptions::new`",
            ));
        }
        Expected::Master | Expected::InCluster => {}
    }
    match value("maxmemory_policy") {
        Some("noeviction") | None => {}
        Some(policy) => quietly(|| {
            warn!(
                target: TARGET,
                policy,
                "store may evict claims and memories, whose offers are then processed again: set maxmemory-policy to \
                 noeviction",
            );
        }),
    }
    Ok(())
}

pub(super) fn too_old(version: &str) -> StoreError {
    let version = if version.is_empty() { "before 6.0" } else { version };
    StoreError::new(format!(
        "the server is too old: it is Redis {version}, and 6.2 is needed"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(version: &str, role: &str, cluster: &str) -> String {
        format!(
            "# Server\r\nredis_version:{version}\r\nrole:{role}\r\ncluster_enabled:{cluster}\r\n\
             maxmemory_policy:noeviction\r\n"
        )
    }

    #[test]
    fn versions_from_6_2_are_accepted() {
        for version in ["6.2.0", "6.10", "7.0.15", "10.0.1"] {
            assert!(
                inspect(&info(version, "master", "0"), Expected::Master).is_ok(),
                "{version}"
            );
        }
        for version in ["6.0.16", "5.0", "2.8.24", ""] {
            let error = inspect(&info(version, "master", "0"), Expected::Master).expect_err(version);
            assert!(error.to_string().contains("too old"), "{error}");
        }
    }

    #[test]
    fn wrong_kind_of_server_is_error() {
        for (role, cluster, expected, hint) in [
            ("slave", "0", Expected::Master, "replica"),
            ("master", "1", Expected::Master, "cluster"),
            ("master", "0", Expected::InCluster, "no cluster"),
        ] {
            let error = inspect(&info("7.0.0", role, cluster), expected).expect_err(hint);
            assert!(error.to_string().contains(hint), "{error}");
        }
        assert!(inspect(&info("7.0.0", "slave", "1"), Expected::InCluster).is_ok());
    }
}
