//! Nodes of the WHIP example as processes that share a real server, behind a load balancer.
//!
//! `tests/run` installs Redis, Chromium and HAProxy. If one is missing, its tests fail.

mod balancer;
mod browser;
mod faults;
mod fleet;
mod promises;
mod recipe;
