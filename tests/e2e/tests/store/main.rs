//! The store on real servers: Redis and Valkey, alone, with TLS, behind Sentinel and as a cluster.
//!
//! `tests/run` installs them. If one is missing, its tests fail.

mod conformance;
mod failover;
mod faults;
mod options;
mod support;
mod traffic;
