//! Starts the servers of the examples, stores and real browsers, for the end-to-end tests and the trial.

pub mod chromium;
pub mod http;
pub mod program;
pub mod redis;
pub mod room_server;
pub mod table;
pub mod whip_server;
