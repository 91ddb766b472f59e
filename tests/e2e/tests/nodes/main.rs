//! Several nodes that share a real server: what is promised, and what is left of it under faults.
//!
//! The nodes are layers in this process, each on a thread and a runtime of its own, so that the calls of their handler
//! can be counted exactly.

mod clock;
mod evicted;
mod faults;
mod forget;
mod in_process;
mod link;
mod lost_writes;
mod moved;
mod node;
mod promises;
mod traffic;
mod upgrade;
