//! Answers to requests: the trait [`Answer`] and the types of its methods.
//!
//! [`Refuse`](crate::Refuse) and [`Replay`](crate::Replay) serve for messages, [`HttpAnswer`](crate::http::HttpAnswer)
//! for HTTP. Implement [`Answer`] where an answer has to be read before it can be kept.
//!
//! # Examples
//!
//! Answers of a service that returns `Ok` also for failures:
//!
//! ```
//! use std::{convert::Infallible, future::{Ready, ready}};
//! use tower_offer_dedup::{
//!     Fingerprint, Offer, Refusal,
//!     answer::{Answer, Duplicates, Settled},
//! };
//!
//! #[derive(Clone, Debug, PartialEq)]
//! enum Reply { Sdp(String), Failed, Refused(&'static str) }
//!
//! struct Replies;
//!
//! impl Answer<Reply, Infallible> for Replies {
//!     type Response = Reply;
//!     type Record = String;
//!     type Settle = Ready<Settled<Reply, String>>;
//!
//!     fn duplicates(&self) -> Duplicates { Duplicates::WAIT }
//!     fn pass(&self, reply: Reply) -> Reply { reply }
//!     fn settle(&self, reply: Reply, _: &Offer) -> Self::Settle {
//!         ready(match &reply {
//!             Reply::Sdp(sdp) => {
//!                 Settled::success(reply.clone()).recorded(sdp.clone(), sdp.len())
//!             }
//!             _ => Settled::failure(reply),
//!         })
//!     }
//!     fn replay(&self, sdp: &String) -> Reply { Reply::Sdp(sdp.clone()) }
//!     fn refuse(&self, refusal: &Refusal) -> Result<Reply, Infallible> {
//!         Ok(Reply::Refused(refusal.reason().as_str()))
//!     }
//! }
//!
//! let offer = Offer::new("alice", Fingerprint::exact(b"v=0"));
//! let settled = Replies.settle(Reply::Failed, &offer).into_inner();
//! assert_eq!(settled, Settled::failure(Reply::Failed));
//! ```

mod codec;
mod duplicates;
pub(crate) mod refusal;
pub(crate) mod refuse;
pub(crate) mod replay;
mod settled;
mod success;
mod traits;

#[cfg(feature = "json")]
pub use self::codec::AsJson;
pub use self::{
    codec::{Codec, Unshared, WithClosures},
    duplicates::Duplicates,
    refuse::{BuildRefusal, WithError},
    replay::{SizeOf, Weigh},
    settled::Settled,
    success::{EveryOk, Success},
    traits::{Answer, EncodedRecord, Ended},
};
