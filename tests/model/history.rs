//! Random histories, each with the settings of its layer.

use std::time::Duration;

use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::terms::{Capacity, End, Op, PEERS, Peer, Quality, Rules, STEP};

pub(crate) fn histories() -> impl Strategy<Value = (Rules, Vec<Op>)> {
    (rules(), vec(op(), 1..80))
}

fn rules() -> impl Strategy<Value = Rules> {
    let answers = (any::<bool>(), mostly(), any::<bool>(), any::<bool>(), mostly());
    let times = (
        or_zero(between(&[4000, 12_000, 40_000])),
        or_zero(between(&[1000, 3000])),
        or_zero(between(&[1500, 3000, 30_000])),
    );
    let queue = (0_usize..4, or_zero(between(&[2000, 6000, 20_000])));
    let duplicates = (0_usize..4, or_zero(between(&[2500, 10_000])));
    (answers, times, option::weighted(0.7, queue), duplicates).prop_map(
        |(
            (replays, records, detaches, remembers_failures, has_memory),
            (window, cooldown, lease),
            queue,
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
            queue: queue.filter(|_| !lease.is_zero()),
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
        4 => peer().prop_map(Op::Forget),
        3 => Just(Op::Clear),
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
