//! Compares the layer with the model.

use std::collections::BTreeMap;

use proptest::{prop_assert, prop_assert_eq, test_runner::TestCaseError};
use tower_offer_dedup::{Reason, Stats};

use crate::{
    real::Real,
    reference::Model,
    request::{Outcome, Request},
    terms::{Id, PEERS, State, Time},
};

/// Compares both after a step that began at `then`.
pub(crate) fn compare(real: &mut Real, model: &mut Model, then: Time, now: Time) -> Result<(), TestCaseError> {
    for (id, (request, expected)) in real.requests.iter_mut().zip(&model.requests).enumerate() {
        let state = match expected.state {
            State::Waits | State::Processed => None,
            // The result waits for the next poll.
            State::Answered(..) | State::Refused(..) | State::Erred | State::Panicked if request.is_held => None,
            state => Some(state),
        };
        prop_assert_eq!(request.state, state, "request {}: {:?}", id, expected);
        if std::mem::take(&mut request.woke_without_result) && expected.state == State::Waits {
            // A lease may begin late, so a waiter may check once per lease.
            let has_slept = request.polled - request.polled_before >= model.rules.lease;
            let has_reason = model.may_have_changed(expected.peer, then, now) || (now > then && has_slept);
            prop_assert!(has_reason, "request {} was woken without a reason: {:?}", id, expected);
        }
    }
    model.clear_changed();

    let requests = model.requests.iter().enumerate();
    let ids = |counts: fn(&Request) -> bool| {
        requests
            .clone()
            .filter(move |(_, request)| counts(request))
            .map(|(id, _)| id)
    };
    prop_assert_eq!(real.inner.open(), ids(Request::is_called).collect::<Vec<Id>>());
    let mut called = real.inner.called();
    called.sort_unstable();
    prop_assert_eq!(called, ids(was_called).collect::<Vec<Id>>());

    let stats = real.handle.stats();
    let claims = ids(Request::is_open).count() as u64;
    let waiters = ids(|request| request.state == State::Waits).count() as u64;
    prop_assert_eq!((stats.claims, stats.waiters), (claims, waiters));
    // The layer may still hold memories past their window.
    prop_assert!(stats.memories >= model.live_memories(now).count() as u64);
    for peer in PEERS {
        prop_assert_eq!(real.handle.is_processing(peer), model.holder(peer).is_some());
    }
    let is_drained = real.is_drained();
    prop_assert_eq!(is_drained, model.is_drained(now).unwrap_or(is_drained));
    Ok(())
}

/// Asserts that nothing is left once every client has gone away.
pub(crate) fn nothing_is_left(real: &Real) -> Result<(), TestCaseError> {
    for peer in PEERS {
        real.handle.forget(peer);
        prop_assert!(!real.handle.forget(peer), "peer {} still has state", peer);
    }
    let Stats { claims, waiters, .. } = real.handle.stats();
    prop_assert_eq!((claims, waiters), (0, 0));
    Ok(())
}

/// Compares the counters at the end of a history.
pub(crate) fn count(stats: &Stats, model: &Model) -> Result<(), TestCaseError> {
    let count = |counts: &dyn Fn(&Request) -> bool| model.requests.iter().filter(|request| counts(request)).count();
    let refused = |reason| {
        count(&|request| request.work.is_none() && matches!(request.state, State::Refused(is, _) if is == reason))
    };
    let ended = |outcome| count(&|request| request.work.as_ref().is_some_and(|work| work.outcome == Some(outcome)));
    let left = |request: &Request| request.work.is_none() && request.state == State::Dropped;
    let expected = [
        ("admitted", count(&|request| request.work.is_some())),
        ("completed", ended(Outcome::Completed)),
        ("failed", ended(Outcome::Failed)),
        ("abandoned", ended(Outcome::Abandoned)),
        ("superseded", ended(Outcome::Superseded)),
        ("waits_abandoned", count(&left)),
        ("replayed", model.replayed.len()),
        ("refused_in_flight", refused(Reason::InFlight)),
        ("refused_processed", refused(Reason::Processed)),
        ("refused_not_recorded", refused(Reason::NotRecorded)),
        ("refused_superseded", refused(Reason::Superseded)),
        ("refused_busy", refused(Reason::Busy)),
        ("refused_cooling_down", refused(Reason::CoolingDown)),
        ("refused_queue_full", refused(Reason::QueueFull)),
        ("refused_timed_out", refused(Reason::TimedOut)),
        ("taken_over", model.taken_over),
        ("forgotten", model.forgotten),
        ("evicted", model.evicted),
    ];
    for (name, is) in stats.counters().filter(|(name, _)| *name != NOT_MODELLED) {
        let expected = expected.iter().find(|(expected, _)| *expected == name);
        prop_assert_eq!(is, expected.map_or(0, |(_, count)| *count as u64), "{}", name);
    }
    Ok(())
}

/// The model does not say which answers are kept.
const NOT_MODELLED: &str = "not_recorded";

/// The counters that the model's messages cannot reach.
const UNREACHED: [&str; 12] = [
    NOT_MODELLED,
    "passed",
    "unchecked",
    "refused_aborted",
    "refused_body_too_large",
    "refused_body_timed_out",
    "refused_peer_missing",
    "refused_store_unavailable",
    "store_failures",
    "admitted_alone",
    "store_claims_lost",
    "store_messages_dropped",
];

/// The rules that no counter shows.
const NOTED: [&str; 13] = [
    "claim was overdue",
    "loser met without a memory",
    "loser was overdue",
    "mark evicted",
    "mark removed",
    "mark transferred",
    "newcomer took over abandoned work",
    "offer forgotten while active",
    "older waiter gave way",
    "place lost without a poll",
    "queue took over abandoned work",
    "waiter superseded",
    "work attended again",
];

/// Counts each outcome over all histories. An outcome that never occurs is not tested.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    stats: Vec<(&'static str, u64)>,
    noted: BTreeMap<&'static str, u64>,
}

impl Seen {
    pub(crate) fn note(&mut self, stats: &Stats, model: &Model) {
        let ended = |reason| {
            let is_ended = |request: &&Request| request.work.is_some() && request.state == Request::refused(reason);
            model.requests.iter().filter(is_ended).count() as u64
        };
        let reached = stats.counters().filter(|(name, _)| !UNREACHED.contains(name));
        let seen: Vec<_> = reached
            .chain([
                ("ended as overdue", ended(Reason::TimedOut)),
                ("ended as superseded", ended(Reason::Superseded)),
            ])
            .collect();
        if self.stats.is_empty() {
            self.stats = seen.iter().map(|(name, _)| (*name, 0)).collect();
        }
        for ((_, sum), (_, times)) in self.stats.iter_mut().zip(seen) {
            *sum += times;
        }
        for (what, times) in &model.seen {
            *self.noted.entry(what).or_default() += times;
        }
    }

    pub(crate) fn assert_everything(&self) {
        for (name, times) in &self.stats {
            assert!(*times > 0, "no history had this outcome: {name}");
        }
        for what in NOTED {
            assert!(self.noted.contains_key(what), "this rule never applied: {what}");
        }
        assert_eq!(self.noted.len(), NOTED.len(), "{:?}", self.noted);
    }
}

fn was_called(request: &Request) -> bool {
    request.work.as_ref().is_some_and(|work| work.was_called)
}
