//! Random histories of rooms, and those that show where DESIGN.md says otherwise.

use proptest::{collection::vec, prelude::*, sample::select};

use crate::{common, manager::Peer};

pub(crate) const PEERS: [Peer; 2] = ["alice", "bob"];

/// Below it, messages are ASCII.
const ASCII: u8 = 6;

/// The steps of half a second in which no lease ends.
const SHORT: u32 = 59;

#[derive(Clone, Debug)]
pub(crate) struct History {
    /// Whether it may come to what DESIGN.md says otherwise.
    pub(crate) is_amended: bool,
    pub(crate) detaches: bool,
    pub(crate) ops: Vec<Op>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Offer(Peer, u8),
    /// Ends the n-th of those that are processed.
    End(usize, Ending),
    /// The sender of the n-th of those goes away.
    Drop(usize),
    Remove(Peer),
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

impl From<Ending> for common::End {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Answer => Self::Answer,
            Ending::Failure => Self::Failure,
            Ending::Err => Self::Broken,
            Ending::Panic => Self::Panic,
        }
    }
}

/// The n-th message. Of each two, the second differs only behind the first hundred characters; if it is not ASCII, only
/// behind the first hundred bytes.
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
            ops.retain(|op| is_original(*op, detaches));
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

/// Whether DESIGN.md does not say otherwise of it.
fn is_original(op: Op, detaches: bool) -> bool {
    match op {
        Op::Offer(_, n) => n < ASCII,
        Op::End(_, ending) => ending != Ending::Panic,
        Op::Drop(_) => detaches,
        Op::Remove(_) | Op::Destroy => false,
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
        2 => any::<usize>().prop_map(Op::Drop),
        2 => peer().prop_map(Op::Remove),
        1 => Just(Op::Destroy),
        12 => (1_u32..6).prop_map(Op::Clock),
        1 => (56_u32..64).prop_map(Op::Clock),
    ]
}

/// Where DESIGN.md says otherwise, and a history in which the original does something else.
pub(crate) fn differences() -> Vec<(&'static str, Vec<Op>)> {
    use Op::{Clock, Destroy, Drop, End, Offer, Remove};
    let [p, _] = PEERS;
    let answer = End(0, Ending::Answer);
    // The end of what was removed opens the lock of what came after it.
    let stray = |remove| vec![Offer(p, 0), remove, Offer(p, 2), answer, Clock(4), Offer(p, 4)];
    vec![
        (
            "§3, rules 3 and 7",
            vec![Offer(p, 0), End(0, Ending::Panic), Offer(p, 0)],
        ),
        ("§3, rule 6", vec![Offer(p, 0), Drop(0), Offer(p, 0)]),
        ("§3, rule 8, removePeer", stray(Remove(p))),
        ("§3, rule 8, destroy", stray(Destroy)),
        (
            "§3, rule 8, timers",
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
        ("§3, rule 9", vec![Offer(p, 0), Clock(60), Offer(p, 2)]),
        ("§5", vec![Offer(p, ASCII), answer, Clock(4), Offer(p, ASCII + 1)]),
    ]
}

#[test]
fn messages_are_the_same_in_their_first_hundred_only_where_they_should_be() {
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
