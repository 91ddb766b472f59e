//! A request on its way through the inner service, and its answer back.
//!
//! [`spawn`] decides where an offer is processed: in the response future or in a task of its own. There [`lead`] holds the
//! claim while it calls the inner service by [`invoke`] and settles the answer. [`pass`] polls requests that are not
//! offers.
//!
//! With a store, [`arbitrate`] asks it before that, [`shared_claim`] holds the claim in it, and [`listen`] applies its
//! notices.

pub(crate) mod arbitrate;
pub(crate) mod invoke;
pub(crate) mod lead;
pub(crate) mod listen;
pub(crate) mod pass;
pub(crate) mod shared_claim;
pub(crate) mod spawn;
