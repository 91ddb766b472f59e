//! A claim ends once, whatever it races with: a takeover, a cooldown, a drop, `forget`, `clear` or `drain`.

use super::*;

#[test]
fn overdue_completion_counts_until_takeover() {
    exhaustively(|| {
        let gate = TestGate::new(WhenBusy::Refuse);
        let overdue = gate.offer("F").claim();
        let other = gate.spawn(|gate| {
            Instant::advance(3 * SECOND);
            assert!(gate.process("G"));
        });
        overdue.succeed();
        other.join().unwrap();
        if gate.gate.stats().taken_over == 1 {
            gate.assert_settled(&["G"]);
            drop(gate.offer("F").claim());
        } else {
            gate.assert_settled(&["F", "G"]);
        }
    });
}

#[test]
fn one_of_two_newcomers_takes_over() {
    exhaustively(|| {
        let gate = TestGate::new(WhenBusy::Refuse);
        let overdue = gate.offer("F").claim();
        Instant::advance(3 * SECOND);
        let others = ["G", "H"].map(|text| gate.spawn(move |gate| gate.offer(text)));
        let [first, second] = others.map(|other| other.join().unwrap());
        let claim = match (first, second) {
            (Decision::Admitted(claim), Decision::Refused(Reason::Busy))
            | (Decision::Refused(Reason::Busy), Decision::Admitted(claim)) => claim,
            others => panic!("{others:?}"),
        };
        assert_eq!(gate.gate.stats().taken_over, 1);
        overdue.succeed();
        assert!(gate.is_processing());
        drop(claim);
        gate.assert_settled(&[]);
    });
}

/// `G` is queued and `H` arrives. Either of them finds the overdue claim first, but `G` takes over.
#[test]
fn front_of_queue_takes_over() {
    up_to(3, || {
        let gate = TestGate::new(QUEUE);
        let overdue = gate.offer("F").claim();
        let waiter = gate.offer("G").waiter();
        Instant::advance(2 * SECOND);
        let front = gate.spawn(|_| wait(waiter).claim().succeed());
        let newcomer = gate.spawn(|gate| {
            Instant::advance(SECOND);
            let claim = gate.offer("H").wait().claim();
            gate.offer("G").assert_refused(&[Reason::Processed]);
            claim.succeed();
        });
        overdue.succeed();
        front.join().unwrap();
        newcomer.join().unwrap();
        let known = ["F", "G", "H"];
        let first = usize::try_from(gate.gate.stats().taken_over).unwrap();
        gate.assert_settled(&known[first..]);
    });
}

#[test]
fn renewed_lease_is_not_taken_over() {
    exhaustively(|| {
        let gate = TestGate::new(WhenBusy::Refuse);
        let claim = gate.offer("F").claim();
        claim.await_capacity();
        Instant::advance(3 * SECOND);
        let other = gate.spawn(|gate| gate.offer("G").assert_refused(&[Reason::Busy]));
        claim.start_lease();
        other.join().unwrap();
        claim.succeed();
        gate.assert_settled(&["F"]);
    });
}

/// The claim is renewed or taken over, and its completion counts accordingly.
#[test]
fn lease_is_renewed_or_lost() {
    exhaustively(|| {
        let gate = TestGate::new(WhenBusy::Refuse);
        let claim = gate.offer("F").claim();
        Instant::advance(3 * SECOND);
        let other = gate.spawn(|gate| gate.process("G"));
        claim.start_lease();
        claim.succeed();
        let is_processed = other.join().unwrap();
        let known: &[_] = match (is_processed, gate.gate.stats().taken_over) {
            (false, _) => &["F"],
            (true, 0) => &["F", "G"],
            (true, _) => &["G"],
        };
        gate.assert_settled(known);
    });
}

#[test]
fn lost_claim_keeps_off_newer_lease() {
    exhaustively(|| {
        let gate = TestGate::new(WhenBusy::Refuse);
        let overdue = gate.offer("F").claim();
        Instant::advance(3 * SECOND);
        let other = gate.spawn(|gate| gate.offer("G"));
        overdue.await_capacity();
        match other.join().unwrap() {
            Decision::Admitted(claim) => {
                Instant::advance(3 * SECOND);
                drop(gate.offer("H").claim());
                drop(claim);
            }
            other => other.assert_refused(&[Reason::Busy]),
        }
        drop(overdue);
        gate.assert_settled(&[]);
    });
}

/// A sweep may remove the entry of the cooled peer at any time.
#[test]
fn cooled_peer_admits_one_during_collection() {
    up_to(5, || {
        let gate = TestGate::with(Settings {
            cooldown: SECOND,
            ..SETTINGS
        });
        assert!(gate.process("F"));
        Instant::advance(SECOND);
        let collects = gate.spawn(|gate| gate.gate.collect());
        let other = gate.spawn(|gate| gate.process("G"));
        let mine = gate.process("H");
        collects.join().unwrap();
        assert!(other.join().unwrap() != mine);
        gate.offer("I").assert_refused(&[Reason::CoolingDown]);
        Instant::advance(SECOND);
        gate.assert_settled(&["F", if mine { "H" } else { "G" }]);
    });
}

#[test]
fn refusal_in_cooldown_leaves_no_entry() {
    exhaustively(|| {
        let none = WhenBusy::Queue {
            depth: 0,
            timeout: SECOND,
        };
        let gate = TestGate::with(Settings {
            cooldown: SECOND,
            when_busy: none,
            ..SETTINGS
        });
        let claim = gate.offer("F").claim();
        let other = gate.spawn(|gate| gate.offer("G").assert_refused(&[Reason::QueueFull]));
        claim.succeed();
        gate.offer("H").assert_refused(&[Reason::QueueFull]);
        other.join().unwrap();
        Instant::advance(SECOND);
        gate.assert_settled(&["F"]);
    });
}

#[test]
fn drain_waits_for_last_claim() {
    exhaustively(|| {
        let gate = TestGate::new(WhenBusy::Refuse);
        let claim = gate.offer("F").claim();
        let other = gate.spawn(|gate| {
            block_on(gate.gate.drain());
            gate.assert_settled(&["F"]);
        });
        claim.succeed();
        other.join().unwrap();
    });
}

#[test]
fn drop_forget_and_clear_leave_nothing() {
    up_to(5, || {
        let gate = TestGate::new(WhenBusy::Refuse);
        let claim = gate.offer("F").claim();
        let forget = gate.spawn(TestGate::forget);
        let clear = gate.spawn(|gate| gate.gate.clear());
        drop(claim);
        forget.join().unwrap();
        clear.join().unwrap();
        gate.assert_settled(&[]);
        drop(gate.offer("F").claim());
    });
}
