//! The possible next events.

use super::super::Scope;
use super::state::{Message, Node, State, Step, fingerprint, tick};
use super::{Next, state::Loss};

impl State {
    /// Returns every state that may follow, or why the next one is not allowed.
    pub(super) fn successors(&self, leases_exclude: bool, mut next: impl FnMut(&dyn Fn() -> String, Next)) {
        let mut step = |name: &dyn Fn() -> String, act: &dyn Fn(&mut Self) -> Result<(), &'static str>| {
            let mut state = self.clone();
            let done = act(&mut state);
            state.drop_stale();
            state.network.sort_unstable();
            next(name, done.map(|()| state));
        };
        for (number, message) in self.network.iter().enumerate() {
            let receiver = message.receiver();
            if receiver.is_none_or(|node| !self.node(node).is_paused) {
                step(&|| format!("{message:?} arrives"), &|state| {
                    state.network.remove(number);
                    state.receive(*message, leases_exclude)
                });
            }
            if self.left.losses > 0 && message.may_be_lost() {
                step(&|| format!("{message:?} is lost"), &|state| {
                    state.network.remove(number);
                    state.left.losses -= 1;
                    if let Message::Acknowledged(token) = message {
                        state.network.push(Message::Complete(*token));
                    }
                    Ok(())
                });
            }
        }
        for node in 0..2 {
            let Node {
                step: at,
                claim,
                is_paused,
            } = *self.node(node);
            let mine = (node, claim);
            if is_paused {
                step(&|| format!("node {node} resumes"), &|state| {
                    state.nodes[usize::from(node)].is_paused = false;
                    Ok(())
                });
                continue;
            }
            if self.left.pauses > 0 && at != Step::Idle {
                step(&|| format!("node {node} pauses"), &|state| {
                    state.left.pauses -= 1;
                    state.nodes[usize::from(node)].is_paused = true;
                    Ok(())
                });
            }
            match at {
                Step::Idle => {
                    for offer in (0..2).filter(|_| self.left.requests > 0) {
                        step(&|| format!("node {node} asks for {offer}"), &|state| {
                            state.left.requests -= 1;
                            let claim = claim + 1;
                            state.nodes[usize::from(node)].claim = claim;
                            state.go(node, Step::Asking(offer));
                            state.network.push(Message::Ask((node, claim), offer));
                            Ok(())
                        });
                    }
                }
                Step::Asking(_) => step(&|| format!("node {node} gives up"), &|state| {
                    state.go(node, Step::Idle);
                    state.network.push(Message::Release(mine));
                    Ok(())
                }),
                // Only a node that is paused, or that has not been told, takes longer than that to stop.
                Step::Stopping(offer, displaced) if !self.stops(displaced) => {
                    step(&|| format!("node {node} waits no longer"), &|state| {
                        state.start(node, offer, leases_exclude)
                    });
                }
                Step::Stopping(..) => {}
                Step::Running(_) => {
                    step(&|| format!("node {node} succeeds"), &|state| {
                        state.go(node, Step::Completing);
                        state.network.push(Message::Complete(mine));
                        Ok(())
                    });
                    step(&|| format!("node {node} fails"), &|state| {
                        state.go(node, Step::Idle);
                        state.network.push(Message::Release(mine));
                        Ok(())
                    });
                }
                Step::Completing => step(&|| format!("node {node} answers"), &|state| {
                    state.go(node, Step::Idle);
                    Ok(())
                }),
            }
        }
        if self.left.forgets > 0 {
            step(&|| "offer 0 is forgotten".to_owned(), &|state| {
                state.left.forgets -= 1;
                state.store.forget(Scope::Offer(fingerprint(0)), tick(state.now));
                state.processed[0] = None;
                state.lose(Loss::Forgotten, |grant| grant.offer == 0);
                Ok(())
            });
        }
        let is_urgent = |node: &Node| !node.is_paused && matches!(node.step, Step::Asking(_) | Step::Stopping(..));
        if self.now < self.left.time && !self.nodes.iter().any(is_urgent) {
            step(&|| "time passes".to_owned(), &Self::pass_time);
        }
    }

    /// Removes the messages that their receivers would ignore whenever they arrive.
    pub(super) fn drop_stale(&mut self) {
        let nodes = self.nodes;
        self.network.retain(|message| match *message {
            Message::Ask(..) | Message::Complete(_) | Message::Release(_) => true,
            Message::Admitted((node, claim), _) | Message::Refused((node, claim)) => {
                let Node { step, claim: last, .. } = nodes[usize::from(node)];
                last == claim && matches!(step, Step::Asking(_))
            }
            Message::Acknowledged((node, claim)) => {
                let Node { step, claim: last, .. } = nodes[usize::from(node)];
                last == claim && step == Step::Completing
            }
            Message::Lost((node, claim)) => {
                let Node { step, claim: last, .. } = nodes[usize::from(node)];
                last == claim && matches!(step, Step::Asking(_) | Step::Stopping(..) | Step::Running(_))
            }
            Message::Stopped(node, displaced) => match nodes[usize::from(node)].step {
                // The claim that displaced it may not know yet.
                Step::Asking(_) => true,
                Step::Stopping(_, awaited) => awaited == displaced,
                Step::Idle | Step::Running(_) | Step::Completing => false,
            },
        });
    }
}
