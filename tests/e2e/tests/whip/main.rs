//! The WHIP endpoint with publishers written by others: FFmpeg, Chromium, the Eyevinn client and aiortc.
//!
//! `tests/run` installs them. If one is missing, its tests fail.

mod aiortc;
mod browser;
mod clients;
mod endpoint;
mod ffmpeg;
mod process;
mod proxy;
