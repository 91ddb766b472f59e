//! Where to put the layer, what it answers, and what it does not do.

#[doc = include_str!("placement.md")]
pub mod placement {}

#[doc = include_str!("answers.md")]
pub mod answers {}

#[doc = include_str!("metrics.md")]
pub mod metrics {}

#[doc = include_str!("limitations.md")]
pub mod limitations {}
