//! A waiter is woken for its turn, for the answer of the offer it follows, or to decide anew. Loom reports a waiter that
//! nobody wakes as a deadlock.

use super::*;

#[test]
fn queued_offer_gets_its_turn() {
    exhaustively(|| {
        let gate = TestGate::new(QUEUE);
        let claim = gate.offer("F").claim();
        let other = gate.spawn(|gate| gate.offer("G").wait().claim().succeed());
        claim.succeed();
        other.join().unwrap();
        gate.assert_settled(&["F", "G"]);
    });
}

#[test]
fn newcomer_never_overtakes_queue() {
    up_to(3, || {
        let gate = TestGate::new(QUEUE);
        let claim = gate.offer("F").claim();
        let waiter = gate.offer("G").waiter();
        let had_turn = Arc::new(AtomicBool::new(false));
        let set_turn = Arc::clone(&had_turn);
        let first = gate.spawn(move |_| {
            let claim = wait(waiter).claim();
            assert!(!set_turn.swap(true, Relaxed));
            claim.succeed();
        });
        let newcomer = gate.spawn(move |gate| {
            let claim = gate.offer("H").wait().claim();
            assert!(had_turn.load(Relaxed));
            claim.succeed();
        });
        claim.succeed();
        first.join().unwrap();
        newcomer.join().unwrap();
        gate.assert_settled(&["F", "G", "H"]);
    });
}

#[test]
fn turn_of_dropped_waiter_passes_on() {
    up_to(4, || {
        let gate = TestGate::new(QUEUE);
        let claim = gate.offer("F").claim();
        let mut first = gate.offer("G").waiter();
        let second = gate.offer("H").waiter();
        let ends = gate.spawn(|_| claim.succeed());
        let other = gate.spawn(move |_| wait(second).claim().succeed());
        let is_done = poll_once(&mut first);
        drop(first);
        ends.join().unwrap();
        other.join().unwrap();
        assert_eq!(gate.gate.stats().waits_abandoned, u64::from(!is_done));
        gate.assert_settled(&["F", "H"]);
    });
}

#[test]
fn dropped_claim_and_waiter_leave_nothing() {
    exhaustively(|| {
        let gate = TestGate::new(QUEUE);
        let claim = gate.offer("F").claim();
        let waiter = gate.offer("G").waiter();
        let other = gate.spawn(|_| drop(waiter));
        drop(claim);
        other.join().unwrap();
        gate.assert_settled(&[]);
    });
}

#[test]
fn queued_offer_is_admitted_after_forget() {
    let ways: [fn(&TestGate); 2] = [|gate| assert!(gate.forget()), |gate| gate.gate.clear()];
    for free in ways {
        exhaustively(move || {
            let gate = TestGate::new(QUEUE);
            let claim = gate.offer("F").claim();
            let waiter = gate.offer("G").waiter();
            let other = gate.spawn(|_| wait(waiter).claim().succeed());
            free(&gate);
            other.join().unwrap();
            claim.succeed();
            gate.assert_settled(&["G"]);
        });
    }
}

#[test]
fn followers_get_the_answer() {
    up_to(4, || {
        let gate = TestGate::new(WhenBusy::Refuse);
        let claim = gate.offer("F").claim();
        let others = [(); 2].map(|()| {
            gate.spawn(|gate| match gate.offer_and_follow("F").wait() {
                Decision::Replayed => {}
                other => panic!("{other:?}"),
            })
        });
        claim.succeed();
        for other in others {
            other.join().unwrap();
        }
        gate.assert_settled(&["F"]);
    });
}

/// Of two followers of an offer without an answer, one leads and the other follows it.
#[test]
fn one_follower_leads_after_lost_leader() {
    let ends = [
        |_: &TestGate, first: Claim| drop(first),
        |gate: &TestGate, first: Claim| {
            assert!(gate.forget());
            first.succeed();
        },
    ];
    for end in ends {
        up_to(3, move || {
            let gate = TestGate::new(WhenBusy::Refuse);
            let first = gate.offer("F").claim();
            let waiters = [(); 2].map(|()| gate.offer_and_follow("F").waiter());
            let others = waiters.map(|waiter| {
                gate.spawn(|_| match wait(waiter) {
                    Decision::Admitted(claim) => {
                        claim.succeed();
                        true
                    }
                    Decision::Replayed => false,
                    other => panic!("{other:?}"),
                })
            });
            end(&gate, first);
            let leads = others.map(|other| other.join().unwrap());
            assert!(leads[0] != leads[1]);
            gate.assert_settled(&["F"]);
        });
    }
}

/// The follower of a queued offer queues in its place.
#[test]
fn follower_takes_over_dropped_place() {
    up_to(4, || {
        let gate = TestGate::new(QUEUE);
        let claim = gate.offer("F").claim();
        let waiter = gate.offer("G").waiter();
        let other = gate.spawn(|gate| gate.offer_and_follow("G").wait().claim().succeed());
        let ends = gate.spawn(|_| claim.succeed());
        drop(waiter);
        other.join().unwrap();
        ends.join().unwrap();
        gate.assert_settled(&["F", "G"]);
    });
}

#[test]
fn follower_limit_is_enforced() {
    exhaustively(|| {
        let gate = TestGate::new(WhenBusy::Refuse);
        let claim = gate.offer("F").claim();
        let one = Duplicates::Wait {
            max_waiters: 1,
            wait_timeout: SECOND,
        };
        let others = [(); 2].map(|()| gate.spawn(move |gate| gate.decide("F", one, false)));
        let [first, second] = others.map(|other| other.join().unwrap());
        let waiter = match (first, second) {
            (Decision::Waiting(waiter), Decision::Refused(Reason::QueueFull))
            | (Decision::Refused(Reason::QueueFull), Decision::Waiting(waiter)) => waiter,
            others => panic!("{others:?}"),
        };
        claim.succeed();
        assert!(matches!(wait(waiter), Decision::Replayed));
        gate.assert_settled(&["F"]);
    });
}
