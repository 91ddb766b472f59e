//! Where to put the layer, and what it does not do.

#[doc = include_str!("placement.md")]
pub mod placement {}

#[doc = include_str!("limitations.md")]
pub mod limitations {}
