//! Every interleaving of two nodes that process two offers of one peer: with lost replies, a node that is paused, leases
//! that end, superseded offers, and an offer that is forgotten.
//!
//! A breadth-first search over all states. The store is the reference itself. Time goes in steps, far longer than the
//! time-out of a call: a node that is not paused has its reply, or has given up, before the next one, and has renewed its
//! claim.

mod calls;
mod state;
mod steps;

use std::collections::{HashSet, VecDeque};

use self::state::{Limits, State};

/// A state that follows, or why it must not.
type Next = Result<State, &'static str>;

/// A state that breaks the guarantee, and the actions that led there.
struct Broken {
    cause: &'static str,
    path: Vec<String>,
}

/// Visits every state. Returns how many there are, or the shortest way to one that breaks the guarantee.
fn search(limits: Limits, leases_exclude: bool) -> Result<usize, Broken> {
    let start = State::new(limits);
    let mut seen = HashSet::from([start.key()]);
    let mut open = VecDeque::from([(0, start)]);
    // The way to each state: the one before it, and the index of the action that led on.
    let mut reached = vec![(0, 0)];
    while let Some((from, state)) = open.pop_front() {
        let (mut action, mut broken) = (0, None);
        state.successors(leases_exclude, |_, next| {
            match next {
                Ok(next) if seen.insert(next.key()) => {
                    reached.push((from, action));
                    open.push_back((reached.len() - 1, next));
                }
                Ok(_) => {}
                Err(cause) => broken = broken.or(Some((action, cause))),
            }
            action += 1;
        });
        if let Some((last, cause)) = broken {
            let mut actions = vec![last];
            let mut at = from;
            while at > 0 {
                actions.push(reached[at].1);
                at = reached[at].0;
            }
            actions.reverse();
            let path = names(limits, leases_exclude, &actions);
            return Err(Broken { cause, path });
        }
    }
    Ok(seen.len())
}

/// Returns what the actions do, from the first state on.
fn names(limits: Limits, leases_exclude: bool, actions: &[usize]) -> Vec<String> {
    let mut state = State::new(limits);
    let mut path = Vec::new();
    for chosen in actions {
        let (mut action, mut following) = (0, None);
        state.successors(leases_exclude, |name, next| {
            if action == *chosen {
                path.push(name());
                following = next.ok();
            }
            action += 1;
        });
        let Some(next) = following else {
            break;
        };
        state = next;
    }
    path
}

const LIMITS: Limits = Limits {
    supersedes: false,
    requests: 2,
    losses: 1,
    pauses: 1,
    forgets: 1,
    time: 4,
};

#[track_caller]
fn assert_holds(limits: Limits) {
    match search(limits, false) {
        Ok(states) => {
            println!("{states} states");
            assert!(states > 10_000, "only {states} states");
        }
        Err(Broken { cause, path }) => panic!("{cause} after:\n{}", path.join("\n")),
    }
}

#[test]
fn guarantee_holds_in_every_interleaving() {
    assert_holds(LIMITS);
}

#[test]
fn guarantee_holds_while_offers_supersede() {
    assert_holds(Limits {
        supersedes: true,
        ..LIMITS
    });
}

#[test]
fn leases_do_not_exclude() {
    let found = search(Limits { forgets: 0, ..LIMITS }, true);
    let Broken { cause, path } = found.expect_err("a paused node runs on past its lease");
    println!("{cause} after:\n{}", path.join("\n"));
    assert_eq!(cause, "two offers of the peer run");
    assert!(path.iter().any(|action| action.ends_with("pauses")), "{path:?}");
    // Without a pause, leases do exclude.
    let unpaused = Limits {
        pauses: 0,
        forgets: 0,
        ..LIMITS
    };
    if let Err(Broken { cause, path }) = search(unpaused, true) {
        panic!("{cause} after:\n{}", path.join("\n"));
    }
}
