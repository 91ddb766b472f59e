//! Deadlines count whether they are polled or not, no deadline is compared with an old time, and `drain` waits for all.

use super::*;

/// The lease outlasts the queue's time-out.
fn long_lease() -> TestGate {
    TestGate::with(Settings {
        when_busy: QUEUE,
        lease: 50 * SECOND,
        ..SETTINGS
    })
}

/// `G` is never polled. `H` arrives before or after its deadline, and before or after the end of `F`.
#[test]
fn newcomer_gets_turn_of_expired_place() {
    up_to(5, || {
        let gate = long_lease();
        let claim = gate.offer("F").claim();
        let expired = gate.offer("G").waiter();
        Instant::advance(5 * SECOND);
        let other = gate.spawn(|gate| gate.offer("H").wait().claim().succeed());
        Instant::advance(5 * SECOND);
        claim.succeed();
        other.join().unwrap();
        wait(expired).assert_refused(&[Reason::TimedOut]);
        gate.assert_settled(&["F", "H"]);
    });
}

/// `G` is called for its turn before its deadline, and never polled.
#[test]
fn called_place_keeps_turn_until_deadline() {
    exhaustively(|| {
        let gate = long_lease();
        let claim = gate.offer("F").claim();
        let unpolled = gate.offer("G").waiter();
        Instant::advance(5 * SECOND);
        let next = gate.offer("H").waiter();
        let other = gate.spawn(|_| wait(next).claim().succeed());
        claim.succeed();
        assert!(!gate.is_processing(), "it is the turn of `G`");
        Instant::advance(5 * SECOND);
        other.join().unwrap();
        wait(unpolled).assert_refused(&[Reason::TimedOut]);
        gate.assert_settled(&["F", "H"]);
    });
}

/// A sweep ends the cooldown that the dropped waiter waits for.
#[test]
fn sweep_and_leaving_waiter_leave_no_entry() {
    exhaustively(|| {
        let gate = TestGate::with(Settings {
            cooldown: SECOND,
            when_busy: QUEUE,
            ..SETTINGS
        });
        assert!(gate.process("F"));
        let waiter = gate.offer("G").waiter();
        let other = gate.spawn(|gate| {
            Instant::advance(SECOND);
            gate.gate.collect();
        });
        drop(waiter);
        other.join().unwrap();
        gate.assert_settled(&["F"]);
    });
}

/// A sweep races with the completion that starts the cooldown.
#[test]
fn sweep_and_late_write_leave_no_entry() {
    exhaustively(|| {
        let gate = TestGate::with(Settings {
            cooldown: SECOND,
            ..SETTINGS
        });
        let claim = gate.offer("F").claim();
        let other = gate.spawn(|gate| {
            Instant::advance(SECOND);
            gate.gate.collect();
        });
        claim.succeed();
        other.join().unwrap();
        Instant::advance(SECOND);
        gate.assert_settled(&["F"]);
    });
}

#[test]
fn drain_never_resolves_between_waiter_and_claim() {
    up_to(5, || {
        let gate = TestGate::new(QUEUE);
        let claim = gate.offer("F").claim();
        let waiter = gate.offer("G").waiter();
        let is_done = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&is_done);
        let drain = gate.spawn(move |gate| {
            block_on(gate.gate.drain());
            assert!(is_done.load(Relaxed), "a claim is held or a request waits");
        });
        claim.succeed();
        let claim = wait(waiter).claim();
        done.store(true, Relaxed);
        claim.succeed();
        drain.join().unwrap();
        gate.assert_settled(&["F", "G"]);
    });
}

/// The follower leads once the leader is dropped.
#[test]
fn drain_waits_for_follower_that_leads() {
    up_to(3, || {
        let gate = TestGate::new(WhenBusy::Refuse);
        let claim = gate.offer("F").claim();
        let follower = gate.offer_and_follow("F").waiter();
        let is_done = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&is_done);
        let other = gate.spawn(move |_| {
            let claim = wait(follower).claim();
            done.store(true, Relaxed);
            claim.succeed();
        });
        let drain = gate.spawn(move |gate| {
            block_on(gate.gate.drain());
            assert!(is_done.load(Relaxed), "a claim is held or a request waits");
        });
        drop(claim);
        other.join().unwrap();
        drain.join().unwrap();
        gate.assert_settled(&["F"]);
    });
}

/// A waiter that nobody polls does not hold up `drain` past its deadline.
#[test]
fn drain_ends_at_last_deadline() {
    exhaustively(|| {
        let gate = long_lease();
        let claim = gate.offer("F").claim();
        let unpolled = gate.offer("G").waiter();
        let drain = gate.spawn(|gate| block_on(gate.gate.drain()));
        claim.succeed();
        Instant::advance(10 * SECOND);
        drain.join().unwrap();
        wait(unpolled).assert_refused(&[Reason::TimedOut]);
        gate.assert_settled(&["F"]);
    });
}
