//! Tests of what cannot be seen from outside: the table is empty again after any history.

mod queue;
mod time;
mod upkeep;

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Poll,
    time::Duration,
};

use tokio::time::advance;
use tokio_test::task::{Spawn, spawn};

use super::{
    clock::{Clock, Tick},
    collector::Collect,
    history::{History, Kind, Remembered},
    *,
};
use crate::{
    Fingerprint, Offer, PeerKey, Reason, Stats, WhenBusy, answer::Duplicates, metrics::LayerName, outcome::Outcome,
    settings::Settings,
};

const SECOND: Duration = Duration::from_secs(1);

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % n
    }
}

fn settings(when_busy: WhenBusy) -> Settings {
    Settings {
        window: 10 * SECOND,
        cooldown: SECOND,
        when_busy,
        lease: 3 * SECOND,
        max_memory: 1 << 20,
        remember_failures: false,
        is_shared: false,
    }
}

fn gate(when_busy: WhenBusy) -> Arc<Gate> {
    gate_with(settings(when_busy))
}

fn gate_with(settings: Settings) -> Arc<Gate> {
    Arc::new(Gate::new(settings, &LayerName::default()))
}

fn policy(duplicates: Duplicates) -> DuplicatePolicy {
    DuplicatePolicy {
        duplicates,
        can_replay: |_| true,
    }
}

fn offer(peer: &str, text: &str) -> Offer {
    Offer::new(peer, Fingerprint::exact(text.as_bytes()))
}

type Admitted = Verdict<Claim, Pin<Box<Waiter>>>;

fn admit(gate: &Arc<Gate>, offer: &Offer) -> Admitted {
    gate.admit(Arrival::new(offer, policy(Duplicates::Refuse), false))
}

#[track_caller]
fn claim(verdict: Admitted) -> Claim {
    match verdict {
        Verdict::Admitted(claim) => claim,
        other => panic!("not admitted: {other:?}"),
    }
}

#[track_caller]
fn waiter(verdict: Admitted) -> Pin<Box<Waiter>> {
    match verdict {
        Verdict::Wait(waiter) => waiter,
        other => panic!("not waiting: {other:?}"),
    }
}

fn is_empty(gate: &Gate) -> bool {
    gate.peers
        .shards
        .iter()
        .all(|shard| shard.with(|table| table.is_empty()))
}

/// The claims, attendances and waiters of a history.
#[derive(Default)]
struct Held {
    claims: Vec<Claim>,
    attendances: Vec<Attendance>,
    waiters: Vec<Spawn<Pin<Box<Waiter>>>>,
}

impl Held {
    fn take(&mut self, verdict: Admitted) {
        match verdict {
            Verdict::Admitted(claim) => self.take_claim(claim),
            Verdict::Wait(waiter) => self.waiters.push(spawn(waiter)),
            Verdict::Replay { .. } | Verdict::Refused { .. } => {}
        }
    }

    fn take_claim(&mut self, claim: Claim) {
        self.attendances.push(claim.attend());
        self.claims.push(claim);
    }

    fn poll(&mut self) {
        let mut n = 0;
        while let Some(waiter) = self.waiters.get_mut(n) {
            match waiter.poll() {
                Poll::Pending => n += 1,
                Poll::Ready(verdict) => {
                    drop(self.waiters.swap_remove(n));
                    if let Verdict::Admitted(claim) = verdict {
                        self.take_claim(claim);
                    }
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn table_is_empty_after_any_history() {
    let queue = WhenBusy::Queue {
        depth: 3,
        timeout: 5 * SECOND,
    };
    let modes = [WhenBusy::Refuse, queue, WhenBusy::Supersede];
    for (seed, when_busy) in (1..=500_u64).flat_map(|seed| modes.map(|mode| (seed, mode))) {
        let (gate, mut random, mut held) = (gate(when_busy), Random(seed * 7919), Held::default());
        for _ in 0..40 {
            let peer = PeerKey::from(random.below(2) as u64);
            let fingerprint = Fingerprint::exact(&[random.below(3) as u8]);
            match random.below(14) {
                0..=4 => {
                    let duplicates = if seed % 2 == 0 {
                        Duplicates::Refuse
                    } else {
                        Duplicates::WAIT
                    };
                    let offer = Offer::new(peer, fingerprint);
                    held.take(gate.admit(Arrival::new(&offer, policy(duplicates), seed % 5 < 2)));
                    held.poll();
                }
                5 | 6 if !held.claims.is_empty() => {
                    let claim = held.claims.swap_remove(random.below(held.claims.len()));
                    let outcomes = [Outcome::Success, Outcome::Success, Outcome::Failure, Outcome::Broken];
                    claim.complete(outcomes[random.below(4)], None, false);
                }
                7 if !held.claims.is_empty() => drop(held.claims.swap_remove(random.below(held.claims.len()))),
                8 if !held.waiters.is_empty() => drop(held.waiters.swap_remove(random.below(held.waiters.len()))),
                9 => drop(gate.forget(peer, Scope::Peer)),
                10 => drop(gate.forget(peer, Scope::Offer(fingerprint))),
                11 => gate.clear(),
                12 => advance(SECOND).await,
                13 if !held.attendances.is_empty() => {
                    drop(held.attendances.swap_remove(random.below(held.attendances.len())));
                }
                _ => held.poll(),
            }
        }
        if seed % 3 == 0 {
            held.waiters.clear();
        }
        drop(held);
        advance(2 * SECOND).await;
        gate.collect();
        assert!(is_empty(&gate), "{seed}, {when_busy:?}: {gate:?}");
        let Stats { claims, waiters, .. } = gate.stats();
        assert_eq!((claims, waiters), (0, 0), "{seed}");
    }
}

/// An answer that calls back when it is dropped.
struct CallsBack(Arc<Gate>);

impl Drop for CallsBack {
    fn drop(&mut self) {
        // Deadlocks under the shard's mutex.
        let _ = self.0.is_processing(PeerKey::from("p"));
    }
}

#[test]
fn answer_is_dropped_outside_the_mutex() {
    let gate = gate(WhenBusy::Refuse);
    let too_heavy = usize::try_from(gate.settings().max_memory).unwrap();
    let claim = claim(admit(&gate, &offer("p", "f")));
    let record = Record::new(CallsBack(Arc::clone(&gate)), too_heavy);
    claim.complete(Outcome::Success, Some(record), true);
    assert!(!gate.is_processing(PeerKey::from("p")));
}

#[test]
fn trimmed_answer_is_counted() {
    let gate = gate(WhenBusy::Refuse);
    let too_heavy = usize::try_from(gate.settings().max_memory).unwrap();
    let claim = claim(admit(&gate, &offer("p", "f")));
    claim.complete(Outcome::Success, Some(Record::new("an answer", too_heavy)), true);
    assert_eq!(gate.stats().not_recorded, 1);
}

#[test]
fn list_of_offers_counts_on_top_of_its_entry() {
    let gate = gate(WhenBusy::Refuse);
    let now = gate.peers.clock.now();
    let remembered = |n: u64| Remembered {
        number: gate.peers.numbers.next(),
        fence: crate::fence::Fence::NONE,
        fingerprint: Fingerprint::exact(&n.to_le_bytes()),
        at: now,
        kind: Kind::Processed(None),
    };
    let (one, _) = History::append(None, remembered(1), &gate.peers.cutoff(now), u64::MAX);
    let (two, _) = History::append(Some(&one), remembered(2), &gate.peers.cutoff(now), u64::MAX);
    assert_eq!(two.bytes() - one.bytes(), 2 * size_of::<Remembered>());
}

/// A memory takes no more room because it may be a mark.
#[test]
fn remembered_offer_is_small() {
    assert!(size_of::<Remembered>() <= 64, "{}", size_of::<Remembered>());
}

#[tokio::test(start_paused = true)]
async fn superseded_offers_are_marked_until_the_newest_fails() {
    let gate = gate(WhenBusy::Supersede);
    let first = claim(admit(&gate, &offer("p", "1")));
    let mut second = spawn(waiter(admit(&gate, &offer("p", "2"))));
    let mut third = spawn(waiter(admit(&gate, &offer("p", "3"))));
    let reason = |poll| match poll {
        Poll::Ready(Verdict::Refused { refusal, .. }) => refusal.reason(),
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!(reason(second.poll()), Reason::Superseded);
    assert!(third.poll().is_pending());
    drop(first);
    let Poll::Ready(Verdict::Admitted(newest)) = third.poll() else {
        panic!("the newest offer has its turn");
    };
    for text in ["1", "2"] {
        match admit(&gate, &offer("p", text)) {
            Verdict::Refused { refusal, .. } => assert_eq!(refusal.reason(), Reason::Superseded, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    newest.complete(Outcome::Failure, None, false);
    claim(admit(&gate, &offer("p", "1"))).complete(Outcome::Success, None, false);
}

#[tokio::test(start_paused = true)]
async fn queued_offer_takes_over_when_last_attendant_leaves() {
    let queue = WhenBusy::Queue {
        depth: 3,
        timeout: 5 * SECOND,
    };
    let gate = gate(queue);
    let (one, two) = (offer("p", "1"), offer("p", "2"));
    let detached = |offer, duplicates| gate.admit(Arrival::new(offer, policy(duplicates), true));
    let first = claim(detached(&one, Duplicates::WAIT));
    let attendance = first.attend();
    let mut follower = spawn(waiter(detached(&one, Duplicates::WAIT)));
    assert!(follower.poll().is_pending());
    let mut second = spawn(waiter(detached(&two, Duplicates::WAIT)));
    assert!(second.poll().is_pending());

    drop(attendance);
    assert!(second.poll().is_pending(), "the follower still waits for the first");
    drop(follower);
    assert!(second.is_woken());
    let Poll::Ready(Verdict::Admitted(_claim)) = second.poll() else {
        panic!("the second takes over");
    };
    let revoked = spawn(std::future::poll_fn(|cx| Poll::Ready(first.poll_revoked(cx)))).poll();
    assert_eq!(revoked, Poll::Ready(Some(Revoked::Abandoned)));
    assert_eq!(gate.stats().taken_over, 1);
}

#[tokio::test(start_paused = true)]
async fn session_end_touches_its_own_claim_only() {
    let gate = gate_with(Settings {
        cooldown: Duration::ZERO,
        ..settings(WhenBusy::Refuse)
    });
    let same = offer("p", "1");
    let old = claim(admit(&gate, &same));
    let old_memory = old.memory();
    old.complete(Outcome::Success, None, false);
    assert!(old_memory.forget());
    let newer = claim(admit(&gate, &same));
    let newer_memory = newer.memory();
    newer.complete(Outcome::Success, None, false);
    assert!(!old_memory.forget(), "the late end finds nothing");
    assert!(matches!(admit(&gate, &same), Verdict::Refused { .. }));
    assert!(newer_memory.forget());

    let in_flight = claim(admit(&gate, &same));
    in_flight.memory().forget();
    assert!(gate.is_processing(PeerKey::from("p")), "the lock stays");
    in_flight.complete(Outcome::Success, None, false);
    drop(claim(admit(&gate, &same)));
}
