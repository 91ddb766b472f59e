//! The room server's protocol, over real sockets.

mod client;
mod conditions;
mod offers;
mod process;
mod shared;
mod sockets;
