//! Every interleaving of two nodes that process two offers of one peer: with lost replies, a node that is paused, leases
//! that end, superseded offers, and an offer that is forgotten.
//!
//! A model for `stateright`. The store is the reference itself. Time goes in steps, far longer than the time-out of a
//! call: a node that is not paused has its reply, or has given up, before the next one, and has renewed its claim.

mod calls;
mod state;
mod steps;

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model, Property};

use self::{
    state::{Limits, Loss, Message, State},
    steps::Action,
};

const GUARANTEE: &str = "guarantee holds";
const LEASES_EXCLUDE: &str = "leases exclude";

struct Protocol {
    limits: Limits,
    /// Checks the claim that leases exclude, which is wrong, in place of the states that must be reached.
    leases_exclude: bool,
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self.limits)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.violation.is_none() {
            state.actions(actions);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        Some(state.after(action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![Property::<Self>::always(GUARANTEE, |_, state| {
            state.violation.is_none()
        })];
        if self.leases_exclude {
            properties.push(Property::<Self>::always(LEASES_EXCLUDE, |_, state| {
                !state.runs_overlap()
            }));
            return properties;
        }
        // The search would prove little if these states were out of its reach.
        properties.extend([
            Property::<Self>::sometimes("two offers run after a lease has ended", |_, state| {
                state.runs_overlap() && state.runs_after(Loss::Overdue)
            }),
            Property::<Self>::sometimes("a forgotten claim runs on", |_, state| {
                state.runs_after(Loss::Forgotten)
            }),
            Property::<Self>::sometimes("a completion comes too late", |_, state| state.completes_late()),
        ]);
        if self.limits.supersedes {
            properties.push(Property::<Self>::sometimes("a superseded claim runs on", |_, state| {
                state.runs_after(Loss::Superseded)
            }));
        }
        properties
    }
}

impl State {
    /// Returns whether both nodes run a claim, and neither was superseded or forgotten.
    fn runs_overlap(&self) -> bool {
        let is_excluding = |loss: Option<Loss>| matches!(loss, None | Some(Loss::Overdue));
        (0..2).all(|node| self.running(node).is_some_and(|grant| is_excluding(grant.lost)))
    }

    fn runs_after(&self, loss: Loss) -> bool {
        (0..2).any(|node| self.running(node).is_some_and(|grant| grant.lost == Some(loss)))
    }

    fn completes_late(&self) -> bool {
        let is_late = |message: &Message| {
            let lost = |grant: &state::Grant| grant.lost.is_some() && *message == Message::Complete(grant.token);
            self.grants.iter().any(lost)
        };
        self.network.iter().any(is_late)
    }
}

/// A third request would take gigabytes of memory and many minutes.
const LIMITS: Limits = Limits {
    supersedes: false,
    requests: 2,
    losses: 1,
    pauses: 1,
    forgets: 1,
    time: 4,
};

fn search(limits: Limits, leases_exclude: bool) -> impl Checker<Protocol> {
    let model = Protocol { limits, leases_exclude };
    // More threads would visit the states in another order each time, and the path to a failure would not be short.
    model
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join()
}

#[track_caller]
fn assert_holds(limits: Limits) {
    let start = Instant::now();
    let found = search(limits, false);
    found.assert_properties();
    let (states, seconds) = (found.unique_state_count(), start.elapsed().as_secs_f32());
    assert!(states > 10_000, "only {states} states");
    println!("search: {states} states in {seconds:.1} s");
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
    let path = found.assert_any_discovery(LEASES_EXCLUDE);
    println!("{path}");
    let actions = path.into_actions();
    let pauses = actions.iter().any(|action| matches!(action, Action::Pause { .. }));
    assert!(pauses, "{actions:?}");
    // Without a pause, leases do exclude.
    let unpaused = Limits {
        pauses: 0,
        forgets: 0,
        ..LIMITS
    };
    search(unpaused, true).assert_properties();
}
