//! Several nodes that share a real server: what is promised, and what is left of it under faults.
//!
//! The nodes are layers in this process, each on a thread and a runtime of its own, so that the calls of their handler
//! can be counted exactly.

mod clock;
mod faults;
mod link;
mod lost_writes;
mod node;
mod promises;
mod table;
mod upgrade;
