//! The gate.

mod claim;
mod clock;
pub(crate) mod collector;
mod completion;
pub(crate) mod decision;
mod effects;
mod gate;
mod history;
mod memory;
mod number;
mod peer;
mod revocation;
mod sync;
mod table;
mod waiter;

// `cfg(test)` stands alone: cargo-mutants then sees that these are tests.
#[cfg(test)]
#[cfg(offer_dedup_loom)]
mod loom;
#[cfg(test)]
#[cfg(not(offer_dedup_loom))]
mod tests;

pub(crate) use self::{
    claim::{Attendance, Claim, ClaimMemory},
    clock::{Clock, Tick},
    decision::{Arrival, DuplicatePolicy, Scope, Verdict},
    gate::Gate,
    history::Record,
    revocation::Revoked,
    waiter::Waiter,
};
