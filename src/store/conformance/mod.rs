//! Checks of a [`SharedStore`]: every implementation must pass them.
//!
//! # Examples
//!
//! The test of an implementation:
//!
//! ```
//! use std::sync::Arc;
//! use tower_offer_dedup::store::{MemoryStore, conformance};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let store = MemoryStore::new();
//! let (first, second) = (store.node(), store.node());
//! conformance::check([Arc::new(first), Arc::new(second)]).await;
//! # }
//! ```

mod abandoned;
mod cleared;
mod completed;
mod decided;
mod forgotten;
mod node;
mod released;
mod superseded;

use std::sync::Arc;

use self::node::Pair;
use super::SharedStore;

/// Runs all checks on two nodes of one store.
///
/// The nodes must be fresh, and the store theirs alone, because one check clears it. The checks wait for deadlines of
/// one second, so that they work with a store on another machine. They take about 20 seconds; on a runtime whose time is
/// paused, as long as the calls.
///
/// # Panics
///
/// Panics with the rule that is broken.
pub async fn check(nodes: [Arc<dyn SharedStore>; 2]) {
    let mut pair = Pair::new(nodes);
    macro_rules! check {
        ($($module:ident: $($case:ident),+;)+) => {
            $($({
                pair.next_case(concat!(stringify!($module), "::", stringify!($case)));
                $module::$case(&mut pair).await;
            })+)+
        };
    }
    check! {
        decided:
            free_peer_admits,
            same_token_gets_same_claim,
            same_offer_is_in_flight,
            different_offer_is_busy,
            peers_are_independent,
            claim_past_lease_is_taken_over,
            renewal_extends_lease,
            renewal_never_acquires,
            unclaimed_renewal_is_lost,
            late_renewal_keeps_claim,
            waiting_keeps_late_claim;
        completed:
            completed_offer_is_processed,
            memory_ends_with_window,
            zero_window_remembers_nothing,
            cooldown_closes_peer,
            memory_precedes_claim,
            completion_wakes_waiting_nodes,
            repeated_completion_is_done,
            completion_after_forget_changes_nothing,
            late_completion_counts,
            overtaken_completion_is_lost,
            sixteen_offers_are_remembered,
            oldest_offer_goes_first,
            record_travels_intact,
            unwanted_record_stays;
        released:
            released_offer_is_admitted_again,
            release_wakes_waiting_nodes,
            foreign_release_does_nothing,
            repeated_release_leaves_next_claim;
        abandoned:
            different_offer_takes_abandoned_claim,
            same_offer_attends_claim_again,
            refused_offer_leaves_claim_abandoned,
            renewal_attends_claim_again,
            abandonment_wakes_waiting_nodes;
        superseded:
            newer_offer_displaces_older,
            displaced_node_confirms_stop,
            unconfirmed_claim_is_handed_on,
            released_claim_hands_stop_on,
            completed_claim_hands_nothing_on,
            stop_after_release_does_nothing,
            confirmed_claim_is_not_handed_on,
            other_node_awaits_holder,
            confirmed_stop_keeps_late_claim,
            marks_name_newest_claim,
            released_claim_frees_its_marks,
            completed_claim_keeps_its_marks,
            expired_offer_leaves_its_marks,
            overdue_claim_frees_its_marks,
            supersede_ignores_cooldown,
            same_offer_does_not_displace;
        forgotten:
            forgotten_peer_is_free,
            forgotten_claim_cannot_complete,
            forget_wakes_waiting_nodes,
            forgotten_offer_keeps_cooldown,
            forgotten_offer_in_flight_frees_peer,
            forget_of_other_offer_keeps_claim,
            forget_keeps_late_claim,
            forgotten_claim_number_is_exact,
            forgotten_claim_in_flight_goes_on,
            next_claim_is_not_forgotten,
            other_node_is_notified;
        cleared:
            cleared_store_is_empty,
            cleared_memory_stays_gone,
            cleared_claim_cannot_complete,
            numbers_rise_through_clear,
            announcement_reaches_other_node,
            ping_succeeds;
    }
}
