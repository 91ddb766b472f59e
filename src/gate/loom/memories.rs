//! A processed offer is remembered without a gap, a forgotten one stays forgotten, and the newest write arrives last.

use super::*;

#[test]
fn one_of_two_equal_offers_is_admitted() {
    exhaustively(|| {
        let gate = TestGate::new(WhenBusy::Refuse);
        let others = [(); 2].map(|()| gate.spawn(|gate| gate.offer("F")));
        let [first, second] = others.map(|other| other.join().unwrap());
        let claim = match (first, second) {
            (Decision::Admitted(claim), Decision::Refused(Reason::InFlight))
            | (Decision::Refused(Reason::InFlight), Decision::Admitted(claim)) => claim,
            others => panic!("{others:?}"),
        };
        drop(claim);
        gate.assert_settled(&[]);
    });
}

/// Between the read of the cache and the claim, the other offer may be admitted, completed and written.
#[test]
fn one_of_two_equal_offers_is_processed() {
    exhaustively(|| {
        let gate = TestGate::new(WhenBusy::Refuse);
        let others = [(); 2].map(|()| gate.spawn(|gate| gate.process("F")));
        let times = others.map(|other| usize::from(other.join().unwrap()));
        assert_eq!(times[0] + times[1], 1);
        gate.assert_settled(&["F"]);
    });
}

#[test]
fn one_of_three_equal_offers_is_processed() {
    up_to(5, || {
        let gate = TestGate::new(WhenBusy::Refuse);
        let others = [(); 2].map(|()| gate.spawn(|gate| gate.process("F")));
        let mine = usize::from(gate.process("F"));
        let times = others.map(|other| usize::from(other.join().unwrap()));
        assert_eq!(mine + times[0] + times[1], 1);
        gate.assert_settled(&["F"]);
    });
}

#[test]
fn completion_is_remembered_without_a_gap() {
    exhaustively(|| {
        let gate = TestGate::new(WhenBusy::Refuse);
        let claim = gate.offer("F").claim();
        let other = gate.spawn(|gate| {
            for _ in 0..2 {
                gate.offer("F").assert_refused(&[Reason::InFlight, Reason::Processed]);
            }
        });
        claim.succeed();
        gate.offer("F").assert_refused(&[Reason::Processed]);
        other.join().unwrap();
        gate.assert_settled(&["F"]);
    });
}

#[test]
fn memory_survives_another_completion() {
    exhaustively(|| {
        let gate = TestGate::new(WhenBusy::Refuse);
        assert!(gate.process("F"));
        let other = gate.spawn(|gate| assert!(gate.process("G")));
        for _ in 0..2 {
            gate.offer("F").assert_refused(&[Reason::Processed]);
        }
        other.join().unwrap();
        gate.assert_settled(&["F", "G"]);
    });
}

/// `G` may be admitted, completed and written while the write of `F` is under way.
#[test]
fn newest_write_arrives_last() {
    exhaustively(|| {
        let gate = TestGate::new(WhenBusy::Refuse);
        let claim = gate.offer("F").claim();
        let other = gate.spawn(|gate| {
            let is_processed = gate.process("G");
            if is_processed {
                for text in ["F", "G"] {
                    gate.offer(text).assert_refused(&[Reason::Processed]);
                }
            }
            is_processed
        });
        claim.succeed();
        gate.offer("F").assert_refused(&[Reason::Processed]);
        let known: &[_] = if other.join().unwrap() { &["F", "G"] } else { &["F"] };
        gate.assert_settled(known);
    });
}

#[test]
fn newest_of_three_writes_arrives_last() {
    up_to(5, || {
        let gate = TestGate::new(WhenBusy::Refuse);
        let claim = gate.offer("F").claim();
        let others = ["G", "H"].map(|text| gate.spawn(move |gate| gate.process(text).then_some(text)));
        claim.succeed();
        let others = others.map(|other| other.join().unwrap());
        let known: Vec<_> = ["F"].into_iter().chain(others.into_iter().flatten()).collect();
        gate.assert_settled(&known);
    });
}

#[test]
fn forgotten_completion_changes_nothing() {
    exhaustively(|| {
        let gate = TestGate::new(WhenBusy::Refuse);
        let claim = gate.offer("F").claim();
        let other = gate.spawn(|gate| {
            assert!(gate.forget());
            let again = gate.offer("F").claim();
            gate.offer("F").assert_refused(&[Reason::InFlight]);
            again
        });
        claim.succeed();
        let again = other.join().unwrap();
        assert!(gate.is_processing());
        gate.offer("F").assert_refused(&[Reason::InFlight]);
        again.succeed();
        gate.assert_settled(&["F"]);
    });
}

#[test]
fn double_forget_is_idempotent() {
    up_to(5, || {
        let gate = TestGate::new(WhenBusy::Refuse);
        let claim = gate.offer("F").claim();
        let others = [(); 2].map(|()| gate.spawn(TestGate::forget));
        claim.succeed();
        let was_known = others.map(|other| other.join().unwrap());
        assert!(was_known.contains(&true));
        gate.assert_settled(&[]);
    });
}

/// Two older writes may be under way: the history with `F` and the one without it.
#[test]
fn completion_after_forget_is_remembered() {
    exhaustively(|| {
        let gate = TestGate::new(WhenBusy::Refuse);
        let claim = gate.offer("F").claim();
        let other = gate.spawn(|gate| {
            assert!(gate.forget());
            assert!(gate.process("G"));
            gate.offer("G").assert_refused(&[Reason::Processed]);
        });
        claim.succeed();
        other.join().unwrap();
        gate.assert_settled(&["G"]);
        drop(gate.offer("F").claim());
    });
}

#[test]
fn clear_hides_no_later_completion() {
    up_to(5, || {
        let gate = TestGate::new(WhenBusy::Refuse);
        let claim = gate.offer("F").claim();
        let clear = gate.spawn(|gate| gate.gate.clear());
        let other = gate.spawn(|gate| gate.offer("F").admitted());
        claim.succeed();
        clear.join().unwrap();
        let later = other.join().unwrap();
        let is_held = gate.is_processing();
        assert!(later.is_some() || !is_held);
        later.map(Claim::succeed);
        // A cleared memory may still be in the cache, below the floor.
        match gate.offer("F") {
            Decision::Refused(Reason::Processed) => assert!(is_held, "a cleared offer is remembered"),
            Decision::Admitted(claim) => {
                assert!(!is_held, "a held offer is not remembered");
                claim.succeed();
            }
            other => panic!("{other:?}"),
        }
        gate.assert_settled(&["F"]);
    });
}

#[test]
fn eviction_admits_again_and_leaves_no_entry() {
    exhaustively(|| {
        let gate = TestGate::new(WhenBusy::Refuse);
        assert!(gate.process("F"));
        let other = gate.spawn(|gate| {
            gate.evict();
            gate.process("F")
        });
        let mine = gate.process("F");
        assert!(other.join().unwrap() || mine);
        gate.assert_settled(&["F"]);
    });
}
