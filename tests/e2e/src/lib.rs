//! What end-to-end tests and the trial share: the examples as processes, and browsers.

pub mod chromium;
pub mod program;
pub mod room_server;
