//! The room server's protocol, over real sockets.

mod chance;
mod client;
mod offers;
mod process;
#[path = "../room_server/mod.rs"]
mod room_server;
mod sockets;
