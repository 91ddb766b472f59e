//! Starts the servers of the examples and real browsers, for the end-to-end tests and the trial.

pub mod chromium;
pub mod program;
pub mod room_server;
