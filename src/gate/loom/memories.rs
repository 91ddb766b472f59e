//! What is processed is remembered without a gap, what is forgotten stays forgotten, and the newest hides behind nothing.

use super::*;

#[test]
fn of_equal_offers_one_is_admitted() {
    every_order(|| {
        let room = Room::new(WhenBusy::Refuse);
        let others = [(); 2].map(|()| room.spawn(|room| room.offer("F")));
        let [first, second] = others.map(|other| other.join().unwrap());
        let claim = match (first, second) {
            (Fate::Admitted(claim), Fate::Refused(Reason::InFlight))
            | (Fate::Refused(Reason::InFlight), Fate::Admitted(claim)) => claim,
            others => panic!("{others:?}"),
        };
        drop(claim);
        room.assert_over(&[]);
    });
}

/// Between the look at the memory and the claim, another may come, end and be published.
#[test]
fn of_equal_offers_one_is_processed() {
    every_order(|| {
        let room = Room::new(WhenBusy::Refuse);
        let others = [(); 2].map(|()| room.spawn(|room| room.process("F")));
        let times = others.map(|other| usize::from(other.join().unwrap()));
        assert_eq!(times[0] + times[1], 1);
        room.assert_over(&["F"]);
    });
}

#[test]
fn of_three_equal_offers_one_is_processed() {
    up_to(5, || {
        let room = Room::new(WhenBusy::Refuse);
        let others = [(); 2].map(|()| room.spawn(|room| room.process("F")));
        let mine = usize::from(room.process("F"));
        let times = others.map(|other| usize::from(other.join().unwrap()));
        assert_eq!(mine + times[0] + times[1], 1);
        room.assert_over(&["F"]);
    });
}

#[test]
fn a_completion_is_remembered_without_a_gap() {
    every_order(|| {
        let room = Room::new(WhenBusy::Refuse);
        let claim = room.offer("F").claim();
        let other = room.spawn(|room| {
            for _ in 0..2 {
                room.offer("F").assert_refused(&[Reason::InFlight, Reason::Processed]);
            }
        });
        claim.succeed();
        room.offer("F").assert_refused(&[Reason::Processed]);
        other.join().unwrap();
        room.assert_over(&["F"]);
    });
}

#[test]
fn what_was_known_stays_known_beside_what_comes() {
    every_order(|| {
        let room = Room::new(WhenBusy::Refuse);
        assert!(room.process("F"));
        let other = room.spawn(|room| assert!(room.process("G")));
        for _ in 0..2 {
            room.offer("F").assert_refused(&[Reason::Processed]);
        }
        other.join().unwrap();
        room.assert_over(&["F", "G"]);
    });
}

/// `G` may be admitted, end and be published while `F` is on its way to be.
#[test]
fn of_completions_that_overtake_each_other_the_newest_stays() {
    every_order(|| {
        let room = Room::new(WhenBusy::Refuse);
        let claim = room.offer("F").claim();
        let other = room.spawn(|room| {
            let is_processed = room.process("G");
            if is_processed {
                for text in ["F", "G"] {
                    room.offer(text).assert_refused(&[Reason::Processed]);
                }
            }
            is_processed
        });
        claim.succeed();
        room.offer("F").assert_refused(&[Reason::Processed]);
        let known: &[_] = if other.join().unwrap() { &["F", "G"] } else { &["F"] };
        room.assert_over(known);
    });
}

#[test]
fn of_three_who_publish_the_newest_stays() {
    up_to(5, || {
        let room = Room::new(WhenBusy::Refuse);
        let claim = room.offer("F").claim();
        let others = ["G", "H"].map(|text| room.spawn(move |room| room.process(text).then_some(text)));
        claim.succeed();
        let others = others.map(|other| other.join().unwrap());
        let known: Vec<_> = ["F"].into_iter().chain(others.into_iter().flatten()).collect();
        room.assert_over(&known);
    });
}

#[test]
fn a_forgotten_completion_is_not_remembered_and_releases_no_other() {
    every_order(|| {
        let room = Room::new(WhenBusy::Refuse);
        let claim = room.offer("F").claim();
        let other = room.spawn(|room| {
            assert!(room.forget());
            let again = room.offer("F").claim();
            room.offer("F").assert_refused(&[Reason::InFlight]);
            again
        });
        claim.succeed();
        let again = other.join().unwrap();
        assert!(room.is_processing());
        room.offer("F").assert_refused(&[Reason::InFlight]);
        again.succeed();
        room.assert_over(&["F"]);
    });
}

#[test]
fn what_is_forgotten_twice_stays_forgotten() {
    up_to(5, || {
        let room = Room::new(WhenBusy::Refuse);
        let claim = room.offer("F").claim();
        let others = [(); 2].map(|()| room.spawn(Room::forget));
        claim.succeed();
        let was_known = others.map(|other| other.join().unwrap());
        assert!(was_known.contains(&true));
        room.assert_over(&[]);
    });
}

/// The two editions before it, that with `F` and that without, may be on their way still.
#[test]
fn what_comes_after_a_forget_stays() {
    every_order(|| {
        let room = Room::new(WhenBusy::Refuse);
        let claim = room.offer("F").claim();
        let other = room.spawn(|room| {
            assert!(room.forget());
            assert!(room.process("G"));
            room.offer("G").assert_refused(&[Reason::Processed]);
        });
        claim.succeed();
        other.join().unwrap();
        room.assert_over(&["G"]);
        drop(room.offer("F").claim());
    });
}

#[test]
fn what_is_cleared_hides_nothing_of_what_comes_later() {
    up_to(5, || {
        let room = Room::new(WhenBusy::Refuse);
        let claim = room.offer("F").claim();
        let clear = room.spawn(|room| room.gate.clear());
        let other = room.spawn(|room| room.offer("F").admitted());
        claim.succeed();
        clear.join().unwrap();
        let later = other.join().unwrap();
        let is_held = room.is_processing();
        assert!(later.is_some() || !is_held);
        later.map(Claim::succeed);
        // What was cleared may be stored still, below the floor.
        match room.offer("F") {
            Fate::Refused(Reason::Processed) => assert!(is_held, "what was cleared is remembered"),
            Fate::Admitted(claim) => {
                assert!(!is_held, "what was held is not remembered");
                claim.succeed();
            }
            other => panic!("{other:?}"),
        }
        room.assert_over(&["F"]);
    });
}

#[test]
fn what_is_thrown_out_lets_an_offer_pass_and_leaves_no_entry() {
    every_order(|| {
        let room = Room::new(WhenBusy::Refuse);
        assert!(room.process("F"));
        let other = room.spawn(|room| {
            room.evict();
            room.process("F")
        });
        let mine = room.process("F");
        assert!(other.join().unwrap() || mine);
        room.assert_over(&["F"]);
    });
}
