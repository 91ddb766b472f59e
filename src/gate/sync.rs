//! The types of std, tokio and moka that the gate synchronises by, or their doubles in the loom models.

#[cfg(not(all(test, offer_dedup_loom)))]
mod real {
    pub(in crate::gate) use std::sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, AtomicUsize},
    };

    pub(in crate::gate) use moka::sync::Cache;
    pub(in crate::gate) use tokio::{
        sync::{Notify, futures::OwnedNotified},
        time::{Instant, Sleep, sleep_until},
    };

    pub(in crate::gate) const SHARDS: usize = 128;
}

#[cfg(not(all(test, offer_dedup_loom)))]
pub(super) use self::real::*;
#[cfg(all(test, offer_dedup_loom))]
pub(super) use super::loom::doubles::*;
