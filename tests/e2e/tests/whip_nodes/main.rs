//! Nodes of the WHIP example as processes that share a real server, behind a load balancer.
//!
//! `tests/run` installs Redis, Chromium and HAProxy. If one is missing, its tests fail.

mod balancer;
mod browser;
mod faults;
mod fleet;
#[allow(dead_code, reason = "the tests of the endpoint use all of it")]
#[path = "../whip/http.rs"]
mod http;
mod promises;
mod recipe;
#[allow(dead_code, reason = "the tests of the endpoint use all of it")]
#[path = "../whip/server.rs"]
mod server;
