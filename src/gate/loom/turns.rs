//! Whoever waits is woken: for its turn, or for the answer of the same offer. loom reports who sleeps for ever.

use std::{
    sync::atomic::AtomicBool,
    task::{Context, Waker},
};

use super::*;

#[test]
fn a_queued_offer_gets_its_turn() {
    every_order(|| {
        let room = Room::new(QUEUE);
        let claim = room.offer("F").claim();
        let other = room.spawn(|room| room.offer("G").in_the_end().claim().succeed());
        claim.succeed();
        other.join().unwrap();
        room.assert_over(&["F", "G"]);
    });
}

#[test]
fn a_newcomer_overtakes_nobody() {
    up_to(3, || {
        let room = Room::new(QUEUE);
        let claim = room.offer("F").claim();
        let wait = room.offer("G").wait();
        let had_its_turn = Arc::new(AtomicBool::new(false));
        let has_its_turn = Arc::clone(&had_its_turn);
        let first = room.spawn(move |_| {
            let claim = Fate::from(block_on(wait)).claim();
            assert!(!has_its_turn.swap(true, Relaxed));
            claim.succeed();
        });
        let newcomer = room.spawn(move |room| {
            let claim = room.offer("H").in_the_end().claim();
            assert!(had_its_turn.load(Relaxed));
            claim.succeed();
        });
        claim.succeed();
        first.join().unwrap();
        newcomer.join().unwrap();
        room.assert_over(&["F", "G", "H"]);
    });
}

#[test]
fn the_turn_of_one_who_gives_up_goes_to_the_next() {
    up_to(4, || {
        let room = Room::new(QUEUE);
        let claim = room.offer("F").claim();
        let mut first = room.offer("G").wait();
        let second = room.offer("H").wait();
        let ends = room.spawn(|_| claim.succeed());
        let other = room.spawn(move |_| Fate::from(block_on(second)).claim().succeed());
        let is_over = first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        drop(first);
        ends.join().unwrap();
        other.join().unwrap();
        assert_eq!(room.gate.stats().waits_abandoned, u64::from(!is_over));
        room.assert_over(&["F", "H"]);
    });
}

#[test]
fn holder_and_waiter_may_both_be_dropped() {
    every_order(|| {
        let room = Room::new(QUEUE);
        let claim = room.offer("F").claim();
        let wait = room.offer("G").wait();
        let other = room.spawn(|_| drop(wait));
        drop(claim);
        other.join().unwrap();
        room.assert_over(&[]);
    });
}

#[test]
fn what_is_queued_behind_what_is_forgotten_or_cleared_gets_its_turn() {
    for free in [|room: &Room| assert!(room.forget()), |room: &Room| room.gate.clear()] {
        every_order(move || {
            let room = Room::new(QUEUE);
            let claim = room.offer("F").claim();
            let wait = room.offer("G").wait();
            let other = room.spawn(|_| Fate::from(block_on(wait)).claim().succeed());
            free(&room);
            other.join().unwrap();
            claim.succeed();
            room.assert_over(&["G"]);
        });
    }
}

#[test]
fn duplicates_get_the_answer_of_the_first() {
    up_to(4, || {
        let room = Room::new(WhenBusy::Refuse);
        let claim = room.offer("F").claim();
        let others = [(); 2].map(|()| {
            room.spawn(|room| match room.offer_and_wait("F").in_the_end() {
                Fate::Replayed => {}
                other => panic!("{other:?}"),
            })
        });
        claim.succeed();
        for other in others {
            other.join().unwrap();
        }
        room.assert_over(&["F"]);
    });
}

/// Of the two who wait for an offer that has no answer one leads, and the other follows it.
#[test]
fn a_duplicate_leads_when_the_first_is_dropped_or_forgotten() {
    let ways = [
        |_: &Room, first: Claim| drop(first),
        |room: &Room, first: Claim| {
            assert!(room.forget());
            first.succeed();
        },
    ];
    for end in ways {
        up_to(3, move || {
            let room = Room::new(WhenBusy::Refuse);
            let first = room.offer("F").claim();
            let waits = [(); 2].map(|()| room.offer_and_wait("F").wait());
            let others = waits.map(|wait| {
                room.spawn(|_| match Fate::from(block_on(wait)) {
                    Fate::Admitted(claim) => {
                        claim.succeed();
                        true
                    }
                    Fate::Replayed => false,
                    other => panic!("{other:?}"),
                })
            });
            end(&room, first);
            let leads = others.map(|other| other.join().unwrap());
            assert!(leads[0] != leads[1]);
            room.assert_over(&["F"]);
        });
    }
}

/// It follows a queued offer, and queues in its stead.
#[test]
fn a_duplicate_of_what_gives_up_its_place_gets_a_turn() {
    up_to(4, || {
        let room = Room::new(QUEUE);
        let claim = room.offer("F").claim();
        let wait = room.offer("G").wait();
        let other = room.spawn(|room| room.offer_and_wait("G").in_the_end().claim().succeed());
        let ends = room.spawn(|_| claim.succeed());
        drop(wait);
        other.join().unwrap();
        ends.join().unwrap();
        room.assert_over(&["F", "G"]);
    });
}

#[test]
fn no_more_wait_than_may() {
    every_order(|| {
        let room = Room::new(WhenBusy::Refuse);
        let claim = room.offer("F").claim();
        let one = Duplicates::Wait {
            limit: 1,
            timeout: SECOND,
        };
        let others = [(); 2].map(|()| room.spawn(move |room| room.meet("F", one)));
        let [first, second] = others.map(|other| other.join().unwrap());
        let wait = match (first, second) {
            (Fate::Waits(wait), Fate::Refused(Reason::QueueFull))
            | (Fate::Refused(Reason::QueueFull), Fate::Waits(wait)) => wait,
            others => panic!("{others:?}"),
        };
        claim.succeed();
        assert!(matches!(Fate::from(block_on(wait)), Fate::Replayed));
        room.assert_over(&["F"]);
    });
}
