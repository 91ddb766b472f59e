//! A claim ends once, whatever comes in between: a takeover, a cooldown, a drop, the end of all.

use super::*;

#[test]
fn an_overdue_completion_counts_unless_another_took_over() {
    every_order(|| {
        let room = Room::new(WhenBusy::Refuse);
        let overdue = room.offer("F").claim();
        let other = room.spawn(|room| {
            Instant::advance(3 * SECOND);
            assert!(room.process("G"));
        });
        overdue.succeed();
        other.join().unwrap();
        if room.gate.stats().taken_over == 1 {
            room.assert_over(&["G"]);
            drop(room.offer("F").claim());
        } else {
            room.assert_over(&["F", "G"]);
        }
    });
}

#[test]
fn one_of_two_takes_over() {
    every_order(|| {
        let room = Room::new(WhenBusy::Refuse);
        let overdue = room.offer("F").claim();
        Instant::advance(3 * SECOND);
        let others = ["G", "H"].map(|text| room.spawn(move |room| room.offer(text)));
        let [first, second] = others.map(|other| other.join().unwrap());
        let claim = match (first, second) {
            (Fate::Admitted(claim), Fate::Refused(Reason::Busy))
            | (Fate::Refused(Reason::Busy), Fate::Admitted(claim)) => claim,
            others => panic!("{others:?}"),
        };
        assert_eq!(room.gate.stats().taken_over, 1);
        overdue.succeed();
        assert!(room.is_processing());
        drop(claim);
        room.assert_over(&[]);
    });
}

/// `G` is queued, and `H` comes: whoever of them looks first takes over, for `G`.
#[test]
fn a_takeover_is_for_the_front_of_the_queue() {
    up_to(3, || {
        let room = Room::new(QUEUE);
        let overdue = room.offer("F").claim();
        let wait = room.offer("G").wait();
        Instant::advance(2 * SECOND);
        let front = room.spawn(|_| Fate::from(block_on(wait)).claim().succeed());
        let newcomer = room.spawn(|room| {
            Instant::advance(SECOND);
            let claim = room.offer("H").in_the_end().claim();
            room.offer("G").assert_refused(&[Reason::Processed]);
            claim.succeed();
        });
        overdue.succeed();
        front.join().unwrap();
        newcomer.join().unwrap();
        let known = ["F", "G", "H"];
        let first = usize::try_from(room.gate.stats().taken_over).unwrap();
        room.assert_over(&known[first..]);
    });
}

#[test]
fn a_renewed_lease_is_not_taken_over() {
    every_order(|| {
        let room = Room::new(WhenBusy::Refuse);
        let claim = room.offer("F").claim();
        claim.await_capacity();
        Instant::advance(3 * SECOND);
        let other = room.spawn(|room| room.offer("G").assert_refused(&[Reason::Busy]));
        claim.start_lease();
        other.join().unwrap();
        claim.succeed();
        room.assert_over(&["F"]);
    });
}

/// The claim is renewed or taken over, and its end counts accordingly.
#[test]
fn a_lease_is_renewed_or_lost() {
    every_order(|| {
        let room = Room::new(WhenBusy::Refuse);
        let claim = room.offer("F").claim();
        Instant::advance(3 * SECOND);
        let other = room.spawn(|room| room.process("G"));
        claim.start_lease();
        claim.succeed();
        let is_processed = other.join().unwrap();
        let known: &[_] = match (is_processed, room.gate.stats().taken_over) {
            (false, _) => &["F"],
            (true, 0) => &["F", "G"],
            (true, _) => &["G"],
        };
        room.assert_over(known);
    });
}

#[test]
fn the_lease_of_another_is_left_alone() {
    every_order(|| {
        let room = Room::new(WhenBusy::Refuse);
        let overdue = room.offer("F").claim();
        Instant::advance(3 * SECOND);
        let other = room.spawn(|room| room.offer("G"));
        overdue.await_capacity();
        match other.join().unwrap() {
            Fate::Admitted(claim) => {
                Instant::advance(3 * SECOND);
                drop(room.offer("H").claim());
                drop(claim);
            }
            other => other.assert_refused(&[Reason::Busy]),
        }
        drop(overdue);
        room.assert_over(&[]);
    });
}

/// While one collects, the peer is offered to: cooled down, it is free, once.
#[test]
fn who_has_cooled_down_is_free_whoever_collects() {
    up_to(5, || {
        let room = Room::with(Settings {
            cooldown: SECOND,
            ..SETTINGS
        });
        assert!(room.process("F"));
        Instant::advance(SECOND);
        let collects = room.spawn(|room| room.gate.collect());
        let other = room.spawn(|room| room.process("G"));
        let mine = room.process("H");
        collects.join().unwrap();
        assert!(other.join().unwrap() != mine);
        room.offer("I").assert_refused(&[Reason::CoolingDown]);
        Instant::advance(SECOND);
        room.assert_over(&["F", if mine { "H" } else { "G" }]);
    });
}

#[test]
fn what_finds_no_place_in_a_cooldown_leaves_no_entry() {
    every_order(|| {
        let none = WhenBusy::Queue {
            depth: 0,
            timeout: SECOND,
        };
        let room = Room::with(Settings {
            cooldown: SECOND,
            when_busy: none,
            ..SETTINGS
        });
        let claim = room.offer("F").claim();
        let other = room.spawn(|room| room.offer("G").assert_refused(&[Reason::QueueFull]));
        claim.succeed();
        room.offer("H").assert_refused(&[Reason::QueueFull]);
        other.join().unwrap();
        Instant::advance(SECOND);
        room.assert_over(&["F"]);
    });
}

#[test]
fn all_wait_for_the_last_claim_to_end() {
    every_order(|| {
        let room = Room::new(WhenBusy::Refuse);
        let claim = room.offer("F").claim();
        let other = room.spawn(|room| {
            block_on(room.gate.drain());
            room.assert_over(&["F"]);
        });
        claim.succeed();
        other.join().unwrap();
    });
}

#[test]
fn what_is_dropped_forgotten_and_cleared_leaves_nothing() {
    up_to(5, || {
        let room = Room::new(WhenBusy::Refuse);
        let claim = room.offer("F").claim();
        let forget = room.spawn(Room::forget);
        let clear = room.spawn(|room| room.gate.clear());
        drop(claim);
        forget.join().unwrap();
        clear.join().unwrap();
        room.assert_over(&[]);
        drop(room.offer("F").claim());
    });
}
