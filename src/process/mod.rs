//! An admitted offer on its way through the inner service, and its answer back.
//!
//! [`spawn`] decides where that happens: in the response future or in a task of its own. There [`lead`] holds the claim
//! while it calls the inner service by [`invoke`] and settles the answer.

pub(crate) mod invoke;
pub(crate) mod lead;
pub(crate) mod spawn;
