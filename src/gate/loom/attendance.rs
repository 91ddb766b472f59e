//! A different offer takes over a claim that nobody attends any more, whatever the order of arrivals and departures.

use super::*;

/// The last attendant leaves before or after `G` queues.
#[test]
fn queued_offer_takes_over_abandoned_claim() {
    exhaustively(|| {
        let gate = TestGate::new(QUEUE);
        let claim = gate.offer_detached("F").claim();
        let attendance = claim.attend();
        let other = gate.spawn(|gate| gate.offer_detached("G").wait().claim().succeed());
        drop(attendance);
        assert_eq!(claim.wait_revoked(), Revoked::Abandoned);
        claim.succeed();
        other.join().unwrap();
        assert_eq!(gate.gate.stats().taken_over, 1);
        gate.assert_settled(&["G"]);
    });
}

#[test]
fn newcomer_takes_over_or_is_refused_as_busy() {
    exhaustively(|| {
        let gate = TestGate::new(WhenBusy::Refuse);
        let claim = gate.offer_detached("F").claim();
        let attendance = claim.attend();
        let other = gate.spawn(|gate| gate.process("G"));
        drop(attendance);
        let is_taken_over = other.join().unwrap();
        assert_eq!(claim.revoked().is_some(), is_taken_over);
        claim.succeed();
        gate.assert_settled(if is_taken_over { &["G"] } else { &["F"] });
    });
}

/// The last attendant is a follower.
#[test]
fn queued_offer_takes_over_from_last_follower() {
    exhaustively(|| {
        let gate = TestGate::new(QUEUE);
        let claim = gate.offer_detached("F").claim();
        let follower = gate.offer_detached("F").waiter();
        drop(claim.attend());
        let other = gate.spawn(|gate| gate.offer_detached("G").wait().claim().succeed());
        drop(follower);
        assert_eq!(claim.wait_revoked(), Revoked::Abandoned);
        claim.succeed();
        other.join().unwrap();
        gate.assert_settled(&["G"]);
    });
}

/// Leader and follower leave at once. One of them is the last.
#[test]
fn last_of_two_attendants_hands_over() {
    up_to(3, || {
        let gate = TestGate::new(QUEUE);
        let claim = gate.offer_detached("F").claim();
        let attendance = claim.attend();
        let follower = gate.offer_detached("F").waiter();
        let waiter = gate.offer_detached("G").waiter();
        let other = gate.spawn(|_| wait(waiter).claim().succeed());
        let follower = gate.spawn(|_| drop(follower));
        drop(attendance);
        assert_eq!(claim.wait_revoked(), Revoked::Abandoned);
        claim.succeed();
        other.join().unwrap();
        follower.join().unwrap();
        gate.assert_settled(&["G"]);
    });
}

#[test]
fn follower_gets_answer_of_leaderless_claim() {
    exhaustively(|| {
        let gate = TestGate::new(QUEUE);
        let claim = gate.offer_detached("F").claim();
        let attendance = claim.attend();
        let other = gate.spawn(|gate| assert!(matches!(gate.offer_detached("F").wait(), Decision::Replayed)));
        drop(attendance);
        assert_eq!(claim.revoked(), None);
        claim.succeed();
        other.join().unwrap();
        gate.assert_settled(&["F"]);
    });
}

/// The follower arrives in time, and `G` waits, or too late, and `G` takes over. `F` is processed once either way.
#[test]
fn arriving_follower_keeps_claim_attended_or_leads_later() {
    up_to(3, || {
        let gate = TestGate::new(QUEUE);
        let claim = gate.offer_detached("F").claim();
        let attendance = claim.attend();
        let waiter = gate.offer_detached("G").waiter();
        let other = gate.spawn(|_| wait(waiter).claim().succeed());
        let follower = gate.spawn(|gate| match gate.offer_detached("F").wait() {
            Decision::Admitted(claim) => {
                claim.succeed();
                true
            }
            Decision::Replayed => false,
            other => panic!("{other:?}"),
        });
        drop(attendance);
        claim.succeed();
        other.join().unwrap();
        let leads = follower.join().unwrap();
        assert_eq!(gate.gate.stats().taken_over, u64::from(leads));
        gate.assert_settled(&["F", "G"]);
    });
}

/// The claim is polled with one task, then with another, while a newcomer takes over.
#[test]
fn revocation_never_misses_its_waker() {
    exhaustively(|| {
        let gate = TestGate::new(WhenBusy::Refuse);
        let claim = gate.offer_detached("F").claim();
        drop(claim.attend());
        let other = gate.spawn(|gate| gate.offer_detached("G").claim().succeed());
        let first = claim.revoked();
        let cause = claim.wait_revoked();
        assert!(first.is_none_or(|first| first == cause));
        assert_eq!(cause, Revoked::Abandoned);
        drop(claim);
        other.join().unwrap();
        gate.assert_settled(&["G"]);
    });
}
