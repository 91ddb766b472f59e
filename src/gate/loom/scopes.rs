//! `forget` in each of its scopes: the peer, one offer, or the session of one claim.

use super::*;

/// `F` is forgotten before, during or after its completion, and `G` decides anew or gets its turn.
#[test]
fn forget_leaves_nothing_of_a_queue() {
    up_to(3, || {
        let gate = TestGate::new(QUEUE);
        let claim = gate.offer("F").claim();
        let waiter = gate.offer("G").waiter();
        let ends = gate.spawn(|_| claim.succeed());
        let other = gate.spawn(|_| drop(wait(waiter).claim()));
        assert!(gate.forget());
        ends.join().unwrap();
        other.join().unwrap();
        gate.assert_settled(&[]);
    });
}

#[test]
fn forget_and_dropped_waiter_leave_nothing() {
    exhaustively(|| {
        let gate = TestGate::new(QUEUE);
        let claim = gate.offer("F").claim();
        let mut waiter = gate.offer("G").waiter();
        let other = gate.spawn(move |_| {
            poll_once(&mut waiter);
            drop(waiter);
        });
        assert!(gate.forget());
        other.join().unwrap();
        claim.succeed();
        gate.assert_settled(&[]);
    });
}

/// Calls the gate when it is dropped. Under the shard's mutex, that is a deadlock.
struct CallsBack {
    gate: Arc<Gate>,
    has_returned: Arc<AtomicBool>,
}

impl Drop for CallsBack {
    fn drop(&mut self) {
        self.gate.is_processing(PeerKey::from("p"));
        self.has_returned.store(true, Relaxed);
    }
}

/// Of two calls of `forget`, one may hold the last reference to the history that the other one has removed.
#[test]
fn forget_drops_answers_outside_the_mutex() {
    exhaustively(|| {
        let gate = TestGate::new(WhenBusy::Refuse);
        let has_returned = Arc::new(AtomicBool::new(false));
        let answer = CallsBack {
            gate: Arc::clone(&gate.gate),
            has_returned: Arc::clone(&has_returned),
        };
        let claim = gate.offer("F").claim();
        claim.complete(Outcome::Success, Some(Record::new(answer, 0)), true);
        let other = gate.spawn(TestGate::forget);
        let was_known = [gate.forget(), other.join().unwrap()];
        assert!(was_known.contains(&true));
        assert!(has_returned.load(Relaxed));
        gate.assert_settled(&[]);
    });
}

#[test]
fn forgotten_offer_is_not_remembered() {
    exhaustively(|| {
        let gate = TestGate::new(WhenBusy::Refuse);
        assert!(gate.process("G"));
        let claim = gate.offer("F").claim();
        let other = gate.spawn(|gate| assert!(gate.forget_offer("F")));
        claim.succeed();
        other.join().unwrap();
        gate.assert_settled(&["G"]);
    });
}

/// `forget_offer` meets the claim, the memory, or a newer claim of the same offer.
#[test]
fn forgotten_offer_releases_no_other_offer() {
    exhaustively(|| {
        let gate = TestGate::new(WhenBusy::Refuse);
        let claim = gate.offer("F").claim();
        let other = gate.spawn(|gate| {
            assert!(gate.forget_offer("F"));
            let next = gate.offer("G").claim();
            gate.offer("G").assert_refused(&[Reason::InFlight]);
            next
        });
        claim.succeed();
        let next = other.join().unwrap();
        assert!(gate.is_processing());
        assert!(!gate.forget_offer("F"));
        next.succeed();
        gate.assert_settled(&["G"]);
    });
}

/// `forget_offer` meets the place, the claim or the memory of `G`. Only `F` is not affected.
#[test]
fn forgotten_place_decides_anew() {
    up_to(3, || {
        let gate = TestGate::new(QUEUE);
        let claim = gate.offer("F").claim();
        let waiter = gate.offer("G").waiter();
        let ends = gate.spawn(|_| claim.succeed());
        let other = gate.spawn(|_| wait(waiter).claim().succeed());
        assert!(gate.forget_offer("G"));
        ends.join().unwrap();
        other.join().unwrap();
        let settled = gate.settled(&["F", "G"]);
        assert!(settled.processed.contains(&"F"), "{settled:?}");
    });
}

#[test]
fn follower_of_forgotten_offer_leads() {
    exhaustively(|| {
        let gate = TestGate::new(WhenBusy::Refuse);
        let claim = gate.offer("F").claim();
        let other = gate.spawn(|gate| gate.offer_and_follow("F").wait());
        assert!(gate.forget_offer("F"));
        match other.join().unwrap() {
            Decision::Admitted(next) => next.succeed(),
            other => panic!("{other:?}"),
        }
        claim.succeed();
        gate.assert_settled(&["F"]);
    });
}

/// The follower gets the answer of a claim that completes first, and leads otherwise.
#[test]
fn follower_gets_answer_or_leads_after_forget() {
    up_to(3, || {
        let gate = TestGate::new(WhenBusy::Refuse);
        let claim = gate.offer("F").claim();
        let waiter = gate.offer_and_follow("F").waiter();
        let forget = gate.spawn(|gate| assert!(gate.forget_offer("F")));
        let follower = gate.spawn(|_| match wait(waiter) {
            Decision::Admitted(next) => {
                next.succeed();
                true
            }
            Decision::Replayed => false,
            other => panic!("{other:?}"),
        });
        claim.succeed();
        forget.join().unwrap();
        let known: &[_] = if follower.join().unwrap() { &["F"] } else { &[] };
        gate.assert_settled(known);
    });
}

#[test]
fn session_end_prevents_remembering() {
    exhaustively(|| {
        let gate = TestGate::new(WhenBusy::Refuse);
        assert!(gate.process("G"));
        let claim = gate.offer("F").claim();
        let session = claim.memory();
        let other = gate.spawn(move |_| assert!(session.forget()));
        claim.succeed();
        other.join().unwrap();
        gate.assert_settled(&["G"]);
    });
}

/// The session ends while its claim is in flight: the lock and the follower wait for the completion.
#[test]
fn session_end_in_flight_keeps_lock_and_follower() {
    exhaustively(|| {
        let gate = TestGate::new(WhenBusy::Refuse);
        let claim = gate.offer("F").claim();
        let session = claim.memory();
        let waiter = gate.offer_and_follow("F").waiter();
        assert!(session.forget());
        let other = gate.spawn(|gate| {
            let is_processed = gate.process("G");
            assert!(matches!(wait(waiter), Decision::Replayed));
            is_processed
        });
        gate.offer("F").assert_refused(&[Reason::InFlight]);
        claim.succeed();
        let known: &[_] = if other.join().unwrap() { &["G"] } else { &[] };
        gate.assert_settled(known);
    });
}

/// The same offer is processed again as soon as the session has ended.
#[test]
fn session_end_spares_newer_claim() {
    exhaustively(|| {
        let gate = TestGate::new(WhenBusy::Refuse);
        let claim = gate.offer("F").claim();
        let session = claim.memory();
        let late = session.clone();
        let other = gate.spawn(move |_| assert!(session.forget()));
        claim.succeed();
        let is_processed_again = gate.process("F");
        other.join().unwrap();
        assert!(!late.forget(), "the session has ended already");
        let known: &[_] = if is_processed_again { &["F"] } else { &[] };
        gate.assert_settled(known);
    });
}

/// The peer was forgotten, and a newer claim completes while the old session ends.
#[test]
fn late_session_end_spares_newer_completion() {
    exhaustively(|| {
        let gate = TestGate::new(WhenBusy::Refuse);
        let claim = gate.offer("F").claim();
        let session = claim.memory();
        claim.succeed();
        let other = gate.spawn(move |_| session.forget());
        gate.forget();
        assert!(gate.process("F"));
        other.join().unwrap();
        gate.assert_settled(&["F"]);
    });
}
