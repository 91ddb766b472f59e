//! Starts the room server as the process that a user would start.

#[path = "../example/mod.rs"]
mod example;

use std::process::{Child, Command};

/// A running room server. Stopped on drop.
#[derive(Debug)]
pub(crate) struct RoomServer {
    /// The server's process.
    pub(crate) child: Child,
    /// Host and port.
    pub(crate) address: String,
}

impl RoomServer {
    /// Starts the server on any free port.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_on("127.0.0.1:0", flags)
    }

    /// Starts the server on `address`, and waits until it listens.
    pub(crate) fn start_on(address: &str, flags: &[&str]) -> Self {
        let (child, address) = example::start(Self::command(), "room server", address, flags);
        Self { child, address }
    }

    /// The server's binary.
    pub(crate) fn command() -> Command {
        example::command("room")
    }
}

impl Drop for RoomServer {
    fn drop(&mut self) {
        example::stop(&mut self.child);
    }
}
