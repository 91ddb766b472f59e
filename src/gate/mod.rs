//! The gate decides what becomes of each offer. It knows nothing of requests, stores or networks.
//!
//! [`Gate::admit`] returns a [`Verdict`]: a [`Claim`] to process the offer, an answer to replay, a refusal, or a
//! [`Waiter`] that resolves to one of these. This page is the protocol. Each file implements one part of it.
//!
//! # Where the state is
//!
//! - The **lock table** (`table`, sharded by peer) has an entry for each peer that is busy, cooling down or waited for. An
//!   active entry (`active`) holds the lock with its queue (`lock`) and the newest history of its peer (`draft`). One mutex
//!   per shard protects it.
//! - The **memory** (`memory`) is a moka cache with the history (`history`) of every peer that has one.
//! - `Peers` (`peers`) owns both and decides from them. `Gate` (`gate`) adds guards, effects, events and counters.
//! - The **leader** of an offer is the request that processes it or queues for it; its **followers** are duplicates that
//!   wait. A **detached** claim is processed in a task of its own.
//! - The **guards** are values in callers' hands: `Claim` holds a lock, `Waiter` a place in the queue or behind a leader,
//!   `Attendance` says that a response future waits for a detached claim.
//!
//! # Why no offer is processed twice
//!
//! 1. *One claim at a time.* A claim is granted under the shard's mutex, if the entry has no holder or in the step that
//!    takes the lock from it. While an equal offer holds the lock or is queued, an offer gets no claim: it is refused or
//!    follows.
//! 2. *Remembered before released.* A completion appends the offer to the entry's history and frees the lock in one step
//!    under the mutex. From then on the entry's history answers or refuses the offer.
//! 3. *The entry stays until the cache has the history.* The new history is written to the cache after the mutex is free,
//!    since moka runs maintenance inside its calls and drops users' answers. It does not panic: an answer catches the
//!    panics of its own `Drop`. Each write carries the **version** of the history, and the entry counts its **pending
//!    writes**. Two writes may overtake each other on the way. Each writer returns to the entry (`written`); one that
//!    finds a newer version there writes that too. So the newest history arrives last, and only then may the entry be
//!    removed.
//! 4. *A decision without an entry is checked again.* For an idle peer, a decision reads the shard's count of **writes**,
//!    then the cache without any lock, and then takes the mutex again. If there is an entry by now, it decides from that
//!    one. If the count has changed, a write may have brought this very offer, and the decision starts over
//!    (`Peers::decide`). The count rises before an entry can be removed, so without an entry an unchanged count proves
//!    that the offer is still not in the cache. Each repetition means that another history was written, so some request
//!    always makes progress.
//!
//! So between the check and the claim no request can change what the decision was based on.
//!
//! The promise has limits, which are settings or calls: past its window, its lease or a limit of memory an offer is
//! processed again, and so is one that failed, was dropped or was forgotten. A claim that has lost its lock may still be
//! running beside the next one: with a `Revocation` (see below) until its next poll, without one until it is done. Its
//! result counts for nothing.
//!
//! # How a claim ends
//!
//! By completion, by drop, or by losing the lock: to `forget` and `clear`, to the next offer after its **lease**, to a
//! different offer when nobody **attends** it any more, or to a newer offer under `Supersede`. The holder in the entry is
//! compared with the claim's **number**. A claim that is no longer the holder changes nothing when it ends. Claims that
//! must end early (detached ones, and all with a store or under `Supersede`) share a `Revocation` with the entry. Their processing checks
//! it before each poll of the inner future.
//!
//! Every claim and every queue place gets the next number. `clear` empties the cache, then takes a number and makes it the
//! **floor**. The memory of a claim below it is neither found nor stored, so a write that arrives late brings nothing
//! back. Claims that begin later are above it. Every decision reads the floor anew.
//!
//! # Waiting
//!
//! A queued offer has a place with a deadline, which counts whether its future is polled or not. A follower waits for the
//! `Completion` of the offer in flight. Both subscribe before they look, so that what is resolved in between wakes them.
//! They also look again by themselves at the end of a lease, a cooldown or their own deadline.
//!
//! # Order of locks and effects
//!
//! The shard's mutex is the outermost lock and is never held across an await. The mutexes of a `Revocation` and of the
//! collector are taken alone. Under the shard's mutex nothing is woken, nothing of the user's is dropped and moka is not
//! called: all of that is collected in `Effects` and runs when the mutex is free.
//!
//! Effects, events and metrics may panic in code that is not ours. So before any of them runs, the guards exist, the state
//! is settled and the decision is counted. The effects run first, then metrics and events. In a `Drop` their panics are
//! caught. A handler that panics drops its claim, which frees the lock and remembers nothing.
//!
//! # Time
//!
//! The time is read under the mutex (`Peers::with`), since an older time would find a deadline still ahead that another
//! thread has found passed. A memory's deadline is compared with the time of its lookup.
//!
//! Expired memories and cooldowns are freed by the `collector`, one thread for the process. Decisions never depend on it.

mod active;
mod body_read;
mod claim;
mod clock;
pub(crate) mod collector;
mod completion;
pub(crate) mod decision;
mod draft;
mod effects;
mod end;
#[allow(clippy::module_inception, reason = "the file of the type `Gate`")]
mod gate;
mod history;
mod in_flight;
mod live;
mod lock;
mod memory;
mod number;
mod peer;
mod peers;
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
    body_read::BodyRead,
    claim::{Attendance, Claim, ClaimMemory},
    clock::{Clock, Tick},
    decision::{Arrival, DuplicatePolicy, Scope, Verdict},
    end::Elsewhere,
    gate::Gate,
    history::Record,
    revocation::Revoked,
    waiter::Waiter,
};
