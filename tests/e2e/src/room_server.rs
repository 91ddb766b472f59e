//! Starts the room server as the process that a user would start.

use std::process::{Child, Command};

use crate::program;

/// A running room server. Stopped on drop.
#[derive(Debug)]
pub struct RoomServer {
    /// The server's process.
    pub child: Child,
    /// Host and port.
    pub address: String,
}

impl RoomServer {
    /// Starts the server on any free port.
    pub fn start(flags: &[&str]) -> Self {
        Self::start_on("127.0.0.1:0", flags)
    }

    /// Starts the server on `address`, and waits until it listens.
    pub fn start_on(address: &str, flags: &[&str]) -> Self {
        let (child, address) = program::start(Self::command(), "room server", address, flags);
        Self { child, address }
    }

    /// The server's binary.
    pub fn command() -> Command {
        program::command("room")
    }
}

impl Drop for RoomServer {
    fn drop(&mut self) {
        program::stop(&mut self.child);
    }
}
