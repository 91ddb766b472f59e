//! [`RedisStore`]: a store on Redis 6.2 or newer, or on Valkey.
//!
//! # Keys
//!
//! | key | type | holds |
//! |---|---|---|
//! | `od1:{a3f}` + digest | hash | the claim, the cooldown and the memories of one peer |
//! | the same + `a` | hash | its recorded answers, sealed |
//! | `od1:{a3f}` | string | the floor: all numbers up to it are cleared |
//!
//! The digest is 16 bytes, keyed with the digest secret. `a3f` stands for its first 12 bits: they place all keys of a call
//! in one slot of a cluster, and 4,096 buckets spread evenly over the slots. `clear` raises each bucket's floor, as no
//! server can list the keys of a store. Every key has a deadline.
//!
//! # Calls
//!
//! Each call is one script (`scripts/`), so that it takes effect as a whole or not at all. The clock of the server
//! decides. The number of a claim is the higher one of the last number plus one and the time in microseconds: it keeps
//! rising when the server has lost its data. The claim is held by a token, which the node chooses, so that a repeated
//! call finds its own claim.
//!
//! Scripts are named by their digest, and sent whole if the server does not know them. Two versions of the scripts can
//! be in use side by side. A change of what is stored or published needs a new format version in [`keys`].
//!
//! # Notices
//!
//! Each node subscribes to a channel of its own and to one of all nodes. A script registers a node that waits in the same
//! step in which it decides that it has to, so no wake-up is lost between the two. Plain `PUBLISH` reaches every server
//! of a cluster.
//!
//! A broken connection is replaced by a task ([`link`]). It subscribes again, and then sends
//! [`Notice::Missed`](super::Notice::Missed).

mod connect;
mod inspect;
mod keys;
mod link;
mod notices;
mod options;
mod reply;
mod scripts;
mod seal;
mod server;
mod store;

pub use self::{options::RedisOptions, store::RedisStore};
