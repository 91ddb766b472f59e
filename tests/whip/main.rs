//! The WHIP endpoint with publishers written by others: FFmpeg, Chromium, the Eyevinn client and aiortc.
//!
//! `tests/run` installs them. If one is missing, its tests fail.

mod aiortc;
mod browser;
#[allow(dead_code, reason = "the room's tests use the rest")]
#[path = "../chromium/mod.rs"]
mod chromium;
mod clients;
mod endpoint;
#[path = "../example/mod.rs"]
mod example;
mod ffmpeg;
mod http;
mod process;
mod proxy;
mod server;
