//! Stores that several nodes share: the trait [`SharedStore`], the vocabulary of its calls, and implementations.
//!
//! Behind a load balancer a repeated offer may reach another node, whose lock and memory know nothing of it. A layer with
//! a [store](crate::OfferDedupBuilder::store) asks it before it processes an offer and records there what it processed.
//! The lock and the memory of the node always come first: a duplicate that the node knows costs no call.
//!
//! While the store keeps what it acknowledged, an offer is admitted by one node at a time, and once a completion is
//! acknowledged no node processes it again inside the window. A lease bounds waiting; it is not mutual exclusion: a node
//! that is paused past its lease may still be processing while another starts. Its completion then counts for nothing,
//! and its [`Fence`] is lower.
//!
//! # Examples
//!
//! Two nodes that share a store in memory, as a test would:
//!
//! ```
//! use std::convert::Infallible;
//! use tower::{Layer, Service, service_fn};
//! use tower_offer_dedup::{
//!     Fingerprint, Offer, OfferDedupLayer, Refuse, store::MemoryStore,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Infallible> {
//! let store = MemoryStore::new();
//! let node = || {
//!     OfferDedupLayer::builder()
//!         .offers(|sdp: &&str| Some(Offer::new("alice", Fingerprint::sdp(sdp))))
//!         .answer(Refuse::with(|refusal| refusal.to_string()))
//!         .store(store.node())
//!         .build()
//!         .layer(service_fn(|_: &str| async {
//!             Ok::<_, Infallible>("an answer".to_owned())
//!         }))
//! };
//! let (mut first, mut second) = (node(), node());
//!
//! assert_eq!(first.call("v=0\r\n").await?, "an answer");
//! assert_eq!(second.call("v=0\r\n").await?, "the same offer was processed");
//! # Ok(())
//! # }
//! ```

mod claim;
pub(crate) mod client;
pub mod conformance;
mod error;
mod memory;
mod notices;
#[cfg(feature = "redis")]
mod redis;
mod shared;

#[cfg(feature = "redis")]
pub use self::redis::{RedisOptions, RedisStore};
pub(crate) use self::shared::AnyStore;
pub use self::{
    claim::{Ask, ClaimToken, Claimed, Completed, Completion, Held, NodeId, Renewed, Scope},
    error::{OnStoreError, StoreError},
    memory::{MemoryNode, MemoryStore},
    notices::{Lost, Notice, Notices, Notifier, notices},
    shared::{SharedStore, StoreFuture},
};
pub use crate::fence::Fence;
