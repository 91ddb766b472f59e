//! Random histories of rooms, and histories that show the documented differences from the original.

use proptest::{collection::vec, prelude::*, sample::select};

use crate::{manager::Peer, support};

pub(crate) const PEERS: [Peer; 2] = ["alice", "bob"];

/// Messages with a lower number are ASCII.
const ASCII: u8 = 6;

/// The number of half-second steps within which no lease ends.
const SHORT: u32 = 59;

#[derive(Clone, Debug)]
pub(crate) struct History {
    /// Amends the original to follow `docs/design.md` where the two differ.
    pub(crate) is_amended: bool,
    pub(crate) detaches: bool,
    pub(crate) ops: Vec<Op>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Offer(Peer, u8),
    /// Ends the n-th call in progress.
    End(usize, Ending),
    /// Drops the client of the n-th call in progress.
    Drop(usize),
    Remove(Peer),
    /// Forgets one offer, which the original cannot do.
    ForgetOffer(Peer, u8),
    Destroy,
    Clock(u32),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ending {
    Answer,
    Failure,
    Err,
    Panic,
}

impl From<Ending> for support::End {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Answer => Self::Answer,
            Ending::Failure => Self::Failure,
            Ending::Err => Self::Broken,
            Ending::Panic => Self::Panic,
        }
    }
}

/// The n-th message. Messages come in pairs that differ only after the first hundred characters, or after the first
/// hundred bytes if they are not ASCII.
pub(crate) fn message(n: u8) -> String {
    let (pair, second) = (n / 2, n % 2);
    if n < ASCII {
        let sdp =
            format!(r"v=0\r\no=- 461173140043005{pair} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n");
        format!(r#"{{"type":"offer","sdp":"{sdp}a=ice-ufrag:7h6{second}\r\n"}}"#)
    } else {
        let name = "Zoë".repeat(20);
        format!(r#"{{"type":"offer","name":"{name}","sdp":"{second}"}}"#)
    }
}

pub(crate) fn histories() -> impl Strategy<Value = History> {
    (any::<bool>(), any::<bool>(), vec(op(), 1..80)).prop_map(|(is_amended, detaches, mut ops)| {
        if !is_amended {
            ops.retain(|op| is_original(*op));
            let mut steps = 0;
            ops.retain(|op| {
                steps += if let Op::Clock(more) = op { *more } else { 0 };
                steps <= SHORT
            });
        }
        History {
            is_amended,
            detaches,
            ops,
        }
    })
}

/// Returns `true` if layer and original agree on this operation.
fn is_original(op: Op) -> bool {
    match op {
        Op::Offer(_, n) => n < ASCII,
        Op::End(_, ending) => ending != Ending::Panic,
        Op::Drop(_) | Op::Remove(_) | Op::Destroy | Op::ForgetOffer(..) => false,
        Op::Clock(_) => true,
    }
}

fn op() -> impl Strategy<Value = Op> {
    let ending = prop_oneof![
        4 => Just(Ending::Answer),
        1 => Just(Ending::Failure),
        1 => Just(Ending::Err),
        1 => Just(Ending::Panic),
    ];
    let peer = || select(&PEERS[..]);
    prop_oneof![
        24 => (peer(), 0..ASCII + 2).prop_map(|(peer, n)| Op::Offer(peer, n)),
        12 => (any::<usize>(), ending).prop_map(|(n, ending)| Op::End(n, ending)),
        3 => any::<usize>().prop_map(Op::Drop),
        2 => peer().prop_map(Op::Remove),
        2 => (peer(), 0..ASCII + 2).prop_map(|(peer, n)| Op::ForgetOffer(peer, n)),
        1 => Just(Op::Destroy),
        12 => (1_u32..6).prop_map(Op::Clock),
        1 => (56_u32..64).prop_map(Op::Clock),
    ]
}

/// A documented difference, with a history in which the original behaves differently.
pub(crate) struct Difference {
    pub(crate) rule: &'static str,
    pub(crate) detaches: bool,
    pub(crate) ops: Vec<Op>,
}

pub(crate) fn differences() -> Vec<Difference> {
    use Op::{Clock, Destroy, Drop, End, ForgetOffer, Offer, Remove};
    let [p, _] = PEERS;
    let answer = End(0, Ending::Answer);
    // The completion of a removed offer opens the lock of the next offer.
    let stray = |remove| vec![Offer(p, 0), remove, Offer(p, 2), answer, Clock(4), Offer(p, 4)];
    let inline = |rule, ops| Difference {
        rule,
        detaches: false,
        ops,
    };
    vec![
        inline("rules 3 and 7", vec![Offer(p, 0), End(0, Ending::Panic), Offer(p, 0)]),
        inline("rule 6", vec![Offer(p, 0), Drop(0), Offer(p, 0)]),
        Difference {
            rule: "rule 6, detached",
            detaches: true,
            ops: vec![Offer(p, 0), Drop(0), Offer(p, 2)],
        },
        inline("rule 8, removePeer", stray(Remove(p))),
        inline("rule 8, destroy", stray(Destroy)),
        inline("rule 8, one offer", stray(ForgetOffer(p, 0))),
        inline(
            "rule 8, timers",
            vec![
                Offer(p, 0),
                answer,
                Clock(2),
                Remove(p),
                Offer(p, 0),
                answer,
                Clock(18),
                Offer(p, 0),
            ],
        ),
        inline("rule 9", vec![Offer(p, 0), Clock(60), Offer(p, 2)]),
        inline(
            "prefix in bytes",
            vec![Offer(p, ASCII), answer, Clock(4), Offer(p, ASCII + 1)],
        ),
    ]
}

#[test]
fn message_prefixes_match_only_in_pairs() {
    let prefix = |n| message(n).chars().take(100).collect::<String>();
    for n in 0..ASCII + 2 {
        for m in 0..n {
            let is_pair = n / 2 == m / 2 && n < ASCII;
            assert_eq!(prefix(n) == prefix(m), is_pair, "{n} and {m}");
            assert_ne!(message(n), message(m));
        }
    }
    let bytes = |n| message(n).as_bytes()[..100].to_vec();
    assert_eq!(bytes(ASCII), bytes(ASCII + 1));
}
