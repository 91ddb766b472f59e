//! Where offers are processed, as a type parameter of the layer and of its service.
//!
//! # Examples
//!
//! The type of a layer that is kept in a struct:
//!
//! ```
//! use tower_offer_dedup::{Offer, OfferDedupLayer, Refuse, builder::Inline};
//!
//! struct Room<F, R> {
//!     layer: OfferDedupLayer<F, Refuse<R>, Inline>,
//! }
//!
//! let layer = OfferDedupLayer::builder()
//!     .offers(|_: &String| None::<Offer>)
//!     .answer(Refuse::with(|refusal| refusal.to_string()))
//!     .build();
//! assert_eq!(Room { layer }.layer.handle().stats().admitted, 0);
//! ```

pub(crate) mod options;

pub use self::options::{AnswerUnset, OffersUnset};
pub use crate::process::spawn::{Detached, Inline, SpawnMode};
