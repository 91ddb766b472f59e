//! Under `Supersede` the newest offer wins. Marks of superseded offers never outlive a winner that failed.

use super::*;

fn test_gate() -> TestGate {
    TestGate::new(WhenBusy::Supersede)
}

/// Processes an offer that may be superseded.
fn run(decision: Decision) {
    match decision.wait() {
        Decision::Admitted(claim) => claim.run(),
        other => other.assert_refused(&[Reason::Superseded]),
    }
}

/// `F` completes before `G` arrives, or is superseded by it.
#[test]
fn newcomer_waits_for_completion_of_loser() {
    exhaustively(|| {
        let gate = test_gate();
        let claim = gate.offer("F").claim();
        let other = gate.spawn(|gate| gate.offer("G").wait().claim().succeed());
        claim.succeed();
        other.join().unwrap();
        let settled = gate.settled(&["F", "G"]);
        assert!(settled.processed.contains(&"G"), "{settled:?}");
        assert_eq!(settled.processed.len() + settled.superseded.len(), 2, "{settled:?}");
    });
}

/// `F` is dropped before `G` arrives, or is superseded by it and dropped then.
#[test]
fn newcomer_waits_for_drop_of_loser() {
    exhaustively(|| {
        let gate = test_gate();
        let claim = gate.offer("F").claim();
        let other = gate.spawn(|gate| gate.offer("G").wait().claim().succeed());
        drop(claim);
        other.join().unwrap();
        assert_eq!(gate.settled(&["F", "G"]).processed, ["G"]);
    });
}

#[test]
fn superseded_claim_is_woken() {
    exhaustively(|| {
        let gate = test_gate();
        let claim = gate.offer("F").claim();
        let other = gate.spawn(|gate| gate.offer("G").wait().claim().succeed());
        assert_eq!(claim.wait_revoked(), Revoked::Superseded);
        claim.end_superseded();
        other.join().unwrap();
        gate.assert_settled_with(&["G"], &["F"]);
    });
}

#[test]
fn follower_is_superseded_with_its_leader() {
    exhaustively(|| {
        let gate = test_gate();
        let claim = gate.offer("F").claim();
        let other = gate.spawn(|gate| gate.offer_and_follow("F").wait());
        let newest = gate.offer("G").waiter();
        claim.end_superseded();
        other.join().unwrap().assert_refused(&[Reason::Superseded]);
        wait(newest).claim().succeed();
        gate.assert_settled_with(&["G"], &["F"]);
    });
}

#[test]
fn newest_of_two_newcomers_counts() {
    up_to(2, || {
        let gate = test_gate();
        let claim = gate.offer("F").claim();
        let newcomers = ["G", "H"].map(|text| gate.spawn(move |gate| run(gate.offer(text))));
        assert_eq!(claim.wait_revoked(), Revoked::Superseded);
        claim.end_superseded();
        for newcomer in newcomers {
            newcomer.join().unwrap();
        }
        let Settled { processed, superseded } = gate.settled(&["F", "G", "H"]);
        assert!(superseded.contains(&"F"));
        assert!(!processed.is_empty());
        assert_eq!(processed.len() + superseded.len(), 3);
    });
}

/// The older newcomer is refused even if it is never polled before.
#[test]
fn older_newcomer_is_superseded() {
    exhaustively(|| {
        let gate = test_gate();
        let claim = gate.offer("F").claim();
        let older = gate.offer("G").waiter();
        let other = gate.spawn(|gate| gate.offer("H").wait().claim().succeed());
        assert_eq!(claim.wait_revoked(), Revoked::Superseded);
        claim.end_superseded();
        run(Decision::Waiting(older));
        other.join().unwrap();
        let Settled { processed, superseded } = gate.settled(&["F", "G", "H"]);
        assert!(superseded.contains(&"F"));
        assert!(processed.contains(&"H"));
        assert_eq!(processed.len() + superseded.len(), 3);
    });
}

/// Whatever the loser's end, nothing counts once the newest offer is dropped.
#[test]
fn dropped_newest_leaves_no_marks() {
    for end in [Claim::end_superseded, Claim::succeed, drop::<Claim>] {
        exhaustively(move || {
            let gate = test_gate();
            let claim = gate.offer("F").claim();
            let mut newest = gate.offer("G").waiter();
            let other = gate.spawn(move |_| {
                poll_once(&mut newest);
                drop(newest);
            });
            end(claim);
            other.join().unwrap();
            gate.assert_settled(&[]);
        });
    }
}

/// `G` is dropped while it waits or before; `H` inherits its marks or makes its own.
#[test]
fn marks_share_the_fate_of_the_newest() {
    for succeeds in [true, false] {
        up_to(3, move || {
            let gate = test_gate();
            let claim = gate.offer("F").claim();
            let older = gate.offer("G").waiter();
            let dropped = gate.spawn(|_| drop(older));
            let newest = gate.spawn(move |gate| {
                let claim = gate.offer("H").wait().claim();
                if succeeds { claim.succeed() } else { claim.fail() }
            });
            claim.end_superseded();
            dropped.join().unwrap();
            newest.join().unwrap();
            let processed: &[_] = if succeeds { &["H"] } else { &[] };
            let settled = gate.settled(&["F", "G", "H"]);
            assert_eq!(settled.processed, processed);
            assert!(succeeds || settled.superseded.is_empty(), "{settled:?}");
        });
    }
}

/// The winner runs and fails while a newer offer arrives, which fails too.
#[test]
fn marks_of_two_failed_winners_are_removed() {
    exhaustively(|| {
        let gate = test_gate();
        let claim = gate.offer("F").claim();
        let winner = gate.offer("G").waiter();
        claim.end_superseded();
        let winner = wait(winner).claim();
        let other = gate.spawn(|gate| gate.offer("H").wait().claim().fail());
        winner.fail();
        other.join().unwrap();
        gate.assert_settled(&[]);
    });
}

#[test]
fn forget_and_dropped_newcomer_leave_nothing() {
    up_to(5, || {
        let gate = test_gate();
        let claim = gate.offer("F").claim();
        let other = gate.spawn(|gate| drop(gate.offer("G").wait().claim()));
        gate.forget();
        claim.succeed();
        other.join().unwrap();
        gate.assert_settled(&[]);
    });
}

#[test]
fn newcomer_succeeds_beside_forget() {
    up_to(5, || {
        let gate = test_gate();
        let claim = gate.offer("F").claim();
        let other = gate.spawn(|gate| gate.offer("G").wait().claim().succeed());
        gate.forget();
        claim.end_superseded();
        other.join().unwrap();
        let settled = gate.settled(&["F", "G"]);
        assert!(!settled.processed.contains(&"F"));
        assert!(
            settled.superseded.is_empty() || settled.processed == ["G"],
            "{settled:?}"
        );
    });
}

#[test]
fn forgotten_newest_supersedes_again() {
    up_to(5, || {
        let gate = test_gate();
        let claim = gate.offer("F").claim();
        let newest = gate.offer("G").waiter();
        let other = gate.spawn(|_| wait(newest).claim().fail());
        assert!(gate.forget_offer("G"));
        claim.end_superseded();
        other.join().unwrap();
        gate.assert_settled(&[]);
    });
}

/// `clear` may take its number before `G` arrives and reach the shard after it.
#[test]
fn clear_and_dropped_newcomer_leave_no_marks() {
    up_to(5, || {
        let gate = test_gate();
        let claim = gate.offer("F").claim();
        let other = gate.spawn(|gate| drop(gate.offer("G").wait().claim()));
        gate.gate.clear();
        drop(claim);
        other.join().unwrap();
        // A cleared history may still be in the cache, below the floor.
        drop(gate.offer("F").claim());
        drop(gate.offer("G").claim());
        gate.assert_idle();
    });
}

/// `G` was forgotten while it waited, and decides anew before or after `H` arrives.
#[test]
fn older_waiter_never_supersedes_newer_offer() {
    up_to(5, || {
        let gate = test_gate();
        let claim = gate.offer("F").claim();
        let older = gate.offer("G").waiter();
        let other = gate.spawn(|_| run(Decision::Waiting(older)));
        assert!(gate.forget());
        let newest = gate.offer("H").wait().claim();
        other.join().unwrap();
        assert_eq!(newest.revoked(), None);
        newest.succeed();
        claim.end_superseded();
        let Settled { processed, superseded } = gate.settled(&["G", "H"]);
        assert!(processed.contains(&"H"));
        assert_eq!(processed.len() + superseded.len(), 2);
    });
}

/// The leader was dropped, and its follower decides anew before or after `G` arrives.
#[test]
fn older_follower_never_supersedes_newer_offer() {
    up_to(5, || {
        let gate = test_gate();
        let claim = gate.offer("F").claim();
        let follower = gate.offer_and_follow("F").waiter();
        let other = gate.spawn(|_| run(Decision::Waiting(follower)));
        drop(claim);
        let newest = gate.offer("G").wait().claim();
        other.join().unwrap();
        assert_eq!(newest.revoked(), None);
        newest.succeed();
        let Settled { processed, superseded } = gate.settled(&["F", "G"]);
        assert!(processed.contains(&"G"));
        assert_eq!(processed.len() + superseded.len(), 2);
    });
}

/// The loser outlives the 100 ms that it has left.
#[test]
fn newest_takes_over_from_lasting_loser() {
    exhaustively(|| {
        let gate = test_gate();
        let claim = gate.offer("F").claim();
        let newest = gate.offer("G").waiter();
        let other = gate.spawn(|_| wait(newest).claim().succeed());
        Instant::advance(SECOND);
        other.join().unwrap();
        claim.succeed();
        gate.assert_settled_with(&["G"], &["F"]);
    });
}
