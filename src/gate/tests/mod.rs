//! What cannot be seen from outside: that the table is empty again after any history.

mod upkeep;

use std::{pin::Pin, sync::atomic::Ordering::Relaxed, task::Poll};

use tokio::time::advance;
use tokio_test::task::{Spawn, spawn};

use super::*;
use crate::{Fingerprint, WhenBusy, gate};

const SECOND: Duration = Duration::from_secs(1);

/// Marsaglia's xorshift.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % n
    }
}

fn gate(when_busy: WhenBusy) -> Arc<Gate> {
    Arc::new(Gate::new(Settings {
        window: 10 * SECOND,
        cooldown: SECOND,
        when_busy,
        lease: 3 * SECOND,
        max_memory: 1 << 20,
        remember_failures: false,
    }))
}

fn treatment(duplicates: Duplicates) -> Treatment {
    Treatment {
        duplicates,
        fits: |_| true,
    }
}

/// The claims and waiters of a history.
#[derive(Default)]
struct Held {
    claims: Vec<Claim>,
    waits: Vec<Spawn<Pin<Box<Wait>>>>,
}

impl Held {
    fn take(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Admitted(claim) => self.claims.push(claim),
            Verdict::Wait(wait) => self.waits.push(spawn(wait)),
            Verdict::Replay(_) | Verdict::Refused(_) => {}
        }
    }

    fn poll(&mut self) {
        let mut n = 0;
        while let Some(wait) = self.waits.get_mut(n) {
            match wait.poll() {
                Poll::Pending => n += 1,
                Poll::Ready(verdict) => {
                    drop(self.waits.swap_remove(n));
                    self.take(verdict);
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_table_is_empty_after_any_history() {
    let queue = WhenBusy::Queue {
        depth: 3,
        timeout: 5 * SECOND,
    };
    let histories = (1..=600_u64).flat_map(|seed| [(seed, WhenBusy::Refuse), (seed, queue)]);
    for (seed, when_busy) in histories {
        let (gate, mut chance, mut held) = (gate(when_busy), Chance(seed * 7919), Held::default());
        for _ in 0..40 {
            let peer = PeerKey::from(chance.below(2) as u64);
            match chance.below(12) {
                0..=4 => {
                    let offer = Offer::new(peer, Fingerprint::exact(&[chance.below(3) as u8]));
                    let duplicates = if seed % 2 == 0 {
                        Duplicates::Refuse
                    } else {
                        Duplicates::WAIT
                    };
                    held.take(gate.admit(offer, treatment(duplicates)));
                    held.poll();
                }
                5 | 6 if !held.claims.is_empty() => {
                    let claim = held.claims.swap_remove(chance.below(held.claims.len()));
                    match chance.below(4) {
                        0 => claim.fail(),
                        1 => claim.complete(gate::Result::Failure, None),
                        _ => claim.complete(gate::Result::Success, None),
                    }
                }
                7 if !held.claims.is_empty() => drop(held.claims.swap_remove(chance.below(held.claims.len()))),
                8 if !held.waits.is_empty() => drop(held.waits.swap_remove(chance.below(held.waits.len()))),
                9 => drop(gate.forget(peer)),
                10 => gate.clear(),
                11 => advance(SECOND).await,
                _ => held.poll(),
            }
        }
        if seed % 3 == 0 {
            held.waits.clear();
        }
        drop(held);
        advance(2 * SECOND).await;
        gate.collect();
        for shard in &gate.shards {
            shard.with(|peers| assert!(peers.is_empty(), "{seed}, {when_busy:?}: {peers:?}"));
        }
        assert_eq!(
            (gate.claims.load(Relaxed), gate.waiters.load(Relaxed)),
            (0, 0),
            "{seed}"
        );
    }
}

/// An answer that calls back when it is dropped.
struct Asks(Arc<Gate>);

impl Drop for Asks {
    fn drop(&mut self) {
        // Would never return under the shard's mutex.
        let _ = self.0.is_processing(PeerKey::from("p"));
    }
}

#[test]
fn an_answer_is_dropped_outside_the_mutex() {
    let gate = gate(WhenBusy::Refuse);
    let too_heavy = usize::try_from(gate.settings.max_memory).unwrap();
    let Verdict::Admitted(claim) = gate.admit(Offer::new("p", Fingerprint::exact(b"f")), treatment(Duplicates::WAIT))
    else {
        panic!("the peer is free")
    };
    claim.complete(
        gate::Result::Success,
        Some(Record::new(Asks(Arc::clone(&gate)), too_heavy)),
    );
    assert!(!gate.is_processing(PeerKey::from("p")));
}

/// An answer that panics when it is dropped.
struct Panics;

impl Drop for Panics {
    fn drop(&mut self) {
        panic!("an answer panics");
    }
}

#[test]
fn an_answer_that_panics_locks_nobody_out() {
    let gate = gate(WhenBusy::Refuse);
    let too_heavy = usize::try_from(gate.settings.max_memory).unwrap();
    let offer = || Offer::new("p", Fingerprint::exact(b"f"));
    let Verdict::Admitted(claim) = gate.admit(offer(), treatment(Duplicates::Refuse)) else {
        panic!("the peer is free")
    };
    let record = Some(Record::new(Panics, too_heavy));
    let complete = std::panic::AssertUnwindSafe(|| claim.complete(gate::Result::Success, record));
    assert!(std::panic::catch_unwind(complete).is_err());
    assert!(!gate.is_processing(PeerKey::from("p")));
    assert_eq!(gate.claims.load(Relaxed), 0);
}

#[test]
fn what_never_comes_is_far_away() {
    let clock = Clock::new();
    assert!(clock.instant(Tick::NEVER) > tokio::time::Instant::now() + 100_000 * SECOND);
    assert_eq!(
        clock.instant(Tick::default().after(SECOND)),
        clock.instant(Tick::default()) + SECOND
    );
}

#[test]
fn a_list_of_offers_counts_on_top_of_its_entry() {
    let gate = gate(WhenBusy::Refuse);
    let processed = |n| memory::Processed {
        number: n,
        fingerprint: Fingerprint::exact(&n.to_le_bytes()),
        at: gate.clock.now(),
        record: None,
    };
    let horizon = gate.horizon(gate.clock.now());
    let bytes = |peer: &PeerMemory| {
        gate.memory.put("p".into(), Some(peer.clone()));
        gate.memory.collect();
        gate.stats().bytes as usize
    };
    let one = PeerMemory::with(None, processed(1), &horizon, u64::MAX);
    let two = PeerMemory::with(Some(&one), processed(2), &horizon, u64::MAX);
    assert_eq!(bytes(&two) - bytes(&one), 2 * size_of::<memory::Processed>());
}
