//! Random histories, each with the settings of its layer.

use std::time::Duration;

use proptest::{collection::vec, prelude::*, sample::select};
use tower_offer_dedup::WhenBusy;

use crate::terms::{Capacity, End, Op, PEERS, Peer, Quality, Rules, STEP};

pub(crate) fn histories() -> impl Strategy<Value = (Rules, Vec<Op>)> {
    let ops = vec(steps(), 1..80).prop_map(|steps| steps.concat());
    (rules(), ops)
}

fn steps() -> impl Strategy<Value = Vec<Op>> {
    prop_oneof![
        60 => op().prop_map(|op| vec![op]),
        1 => (peer(), 0_u8..4, 0_u8..4).prop_flat_map(|(peer, old, new)| select(corners(peer, old, new))),
    ]
}

/// Sequences that single steps hardly ever make up. Each begins with an idle peer and counts from the latest request.
fn corners(peer: Peer, old: u8, new: u8) -> Vec<Vec<Op>> {
    use Op::{Clock, Drop, ForgetOffer, Hold, Offer, Resume};
    const END: Op = Op::End(0, End::Err);
    let (forget, forget_old) = (Op::Forget(peer), ForgetOffer(peer, old));
    let [old, new, third, fourth] = [old, new, 4, 5].map(|offer| Offer(peer, offer));
    vec![
        // A follower decides again after a newer offer has arrived.
        vec![forget, old, old, Hold(0), forget_old, new, Resume(0)],
        // The leader of two followers is superseded. Only one of them, and the newcomer, have gone away.
        vec![forget, old, Hold(0), old, Hold(0), new, Drop(0), old, Drop(1), old],
        // The loser is not polled before its time is over.
        vec![forget, old, Hold(0), new, Clock(1), Resume(0)],
        // The loser is sent again before its processing has ended.
        vec![forget, old, Hold(0), new, old, Resume(0)],
        // The client of a detached offer leaves and comes back.
        vec![forget, old, Drop(0), old, new],
        // The first in line is not polled.
        vec![forget, old, new, Hold(0), Clock(1), third, END, Clock(6)],
        // The first in line is not polled, and the second leaves.
        vec![
            forget,
            old,
            new,
            Hold(0),
            Clock(1),
            third,
            Clock(1),
            fourth,
            END,
            Drop(1),
            Clock(6),
        ],
    ]
}

fn rules() -> impl Strategy<Value = Rules> {
    let answers = (any::<bool>(), mostly(), any::<bool>(), any::<bool>(), mostly());
    let times = (
        or_zero(between(&[4000, 12_000, 40_000])),
        or_zero(between(&[1000, 3000])),
        or_zero(between(&[1500, 3000, 30_000])),
    );
    let queue = (0_usize..4, or_zero(between(&[2000, 6000, 20_000])));
    let when_busy = prop_oneof![
        2 => Just(WhenBusy::Refuse),
        4 => queue.prop_map(|(depth, timeout)| WhenBusy::Queue { depth, timeout }),
        4 => Just(WhenBusy::Supersede),
    ];
    let duplicates = (0_usize..4, or_zero(between(&[2500, 10_000])));
    (answers, times, when_busy, duplicates).prop_map(
        |(
            (replays, records, detaches, remembers_failures, has_memory),
            (window, cooldown, lease),
            when_busy,
            duplicates,
        )| Rules {
            replays,
            records,
            detaches,
            remembers_failures,
            has_memory,
            window,
            cooldown,
            lease,
            // With a zero lease the first waiter to be polled wins, which the model cannot predict.
            when_busy: match when_busy {
                WhenBusy::Queue { .. } if lease.is_zero() => WhenBusy::Refuse,
                _ => when_busy,
            },
            duplicates,
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let capacity = prop_oneof![
        3 => Just(Capacity::Ready),
        2 => Just(Capacity::Full),
        1 => Just(Capacity::Broken),
    ];
    prop_oneof![
        44 => (peer(), 0_u8..4).prop_map(|(peer, offer)| Op::Offer(peer, offer)),
        4 => (peer(), 4_u8..24).prop_map(|(peer, offer)| Op::Offer(peer, offer)),
        2 => (peer(), 0_u8..4).prop_map(|(peer, offer)| Op::Poison(peer, offer)),
        1 => (peer(), 12_u8..24).prop_map(|(peer, many)| Op::Crowd(peer, many)),
        24 => (any::<usize>(), end()).prop_map(|(n, end)| Op::End(n, end)),
        9 => any::<usize>().prop_map(Op::Drop),
        4 => any::<usize>().prop_map(Op::Hold),
        6 => any::<usize>().prop_map(Op::Resume),
        3 => peer().prop_map(Op::Forget),
        3 => (peer(), 0_u8..4).prop_map(|(peer, offer)| Op::ForgetOffer(peer, offer)),
        2 => Just(Op::Clear),
        5 => capacity.prop_map(Op::Capacity),
        20 => (1_u32..8).prop_map(Op::Clock),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => Just(End::Answer(Quality::Success)),
        2 => Just(End::Answer(Quality::Failure)),
        1 => Just(End::Err),
        1 => Just(End::Panic),
    ]
}

fn peer() -> impl Strategy<Value = Peer> {
    select(&PEERS[..])
}

/// A time that falls between two steps, whatever step it is added to.
fn between(steps: &'static [u64]) -> impl Strategy<Value = Duration> {
    select(steps).prop_map(|ms| Duration::from_millis(ms) + STEP / 2)
}

fn or_zero(time: impl Strategy<Value = Duration>) -> impl Strategy<Value = Duration> {
    prop_oneof![1 => Just(Duration::ZERO), 4 => time]
}

fn mostly() -> impl Strategy<Value = bool> {
    prop_oneof![1 => Just(false), 7 => Just(true)]
}
