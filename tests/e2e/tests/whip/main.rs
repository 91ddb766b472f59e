//! The WHIP endpoint, with publishers that nobody here wrote: FFmpeg, Chromium, the Eyevinn client and aiortc.
//!
//! They are installed by `tests/run`. Where one is missing, its tests fail.

mod aiortc;
mod browser;
mod clients;
mod endpoint;
mod ffmpeg;
mod http;
mod process;
mod proxy;
mod server;
