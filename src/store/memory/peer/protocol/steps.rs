//! The possible actions, and the state that follows each.

use super::{
    super::Scope,
    state::{Loss, Message, Node, State, Step, fingerprint, tick},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Deliver(Message),
    Lose(Message),
    Pause {
        node: u8,
    },
    Resume {
        node: u8,
    },
    Ask {
        node: u8,
        offer: u8,
    },
    GiveUp {
        node: u8,
    },
    /// A displaced claim may still run.
    WaitNoLonger {
        node: u8,
    },
    Succeed {
        node: u8,
    },
    Fail {
        node: u8,
    },
    /// The node answers before its completion is acknowledged.
    Answer {
        node: u8,
    },
    ForgetOffer0,
    PassTime,
}

impl State {
    pub(super) fn actions(&self, actions: &mut Vec<Action>) {
        for &message in &self.network {
            let receiver = message.receiver();
            if receiver.is_none_or(|node| !self.node(node).is_paused) {
                actions.push(Action::Deliver(message));
            }
            if self.left.losses > 0 && message.may_be_lost() {
                actions.push(Action::Lose(message));
            }
        }
        for node in 0..2 {
            let Node { step, is_paused, .. } = *self.node(node);
            if is_paused {
                actions.push(Action::Resume { node });
                continue;
            }
            if self.left.pauses > 0 && step != Step::Idle {
                actions.push(Action::Pause { node });
            }
            match step {
                Step::Idle if self.left.requests > 0 => {
                    actions.extend((0..2).map(|offer| Action::Ask { node, offer }));
                }
                Step::Idle => {}
                Step::Asking(_) => actions.push(Action::GiveUp { node }),
                // Only a node that is paused, or that has not been told, takes longer than that to stop.
                Step::Stopping(_, displaced) if !self.stops(displaced) => actions.push(Action::WaitNoLonger { node }),
                Step::Stopping(..) => {}
                Step::Running(_) => actions.extend([Action::Succeed { node }, Action::Fail { node }]),
                Step::Completing => actions.push(Action::Answer { node }),
            }
        }
        if self.left.forgets > 0 {
            actions.push(Action::ForgetOffer0);
        }
        let is_urgent = |node: &Node| !node.is_paused && matches!(node.step, Step::Asking(_) | Step::Stopping(..));
        if self.now < self.left.time && !self.nodes.iter().any(is_urgent) {
            actions.push(Action::PassTime);
        }
    }

    pub(super) fn after(&self, action: Action) -> Self {
        let mut state = self.clone();
        state.violation = state.act(action).err();
        state.canonicalize();
        state
    }

    fn act(&mut self, action: Action) -> Result<(), &'static str> {
        match action {
            Action::Deliver(message) => {
                self.take(message);
                return self.receive(message);
            }
            Action::Lose(message) => {
                self.take(message);
                self.left.losses -= 1;
                if let Message::Acknowledged(token) = message {
                    self.network.push(Message::Complete(token));
                }
            }
            Action::Pause { node } => {
                self.left.pauses -= 1;
                self.nodes[usize::from(node)].is_paused = true;
            }
            Action::Resume { node } => self.nodes[usize::from(node)].is_paused = false,
            Action::Ask { node, offer } => {
                self.left.requests -= 1;
                self.nodes[usize::from(node)].claim += 1;
                self.go(node, Step::Asking(offer));
                self.network.push(Message::Ask(self.last_claim(node), offer));
            }
            Action::GiveUp { node } | Action::Fail { node } => {
                self.go(node, Step::Idle);
                self.network.push(Message::Release(self.last_claim(node)));
            }
            Action::WaitNoLonger { node } => {
                if let Step::Stopping(offer, _) = self.node(node).step {
                    return self.start(node, offer);
                }
            }
            Action::Succeed { node } => {
                self.go(node, Step::Completing);
                self.network.push(Message::Complete(self.last_claim(node)));
            }
            Action::Answer { node } => self.go(node, Step::Idle),
            Action::ForgetOffer0 => {
                self.left.forgets -= 1;
                self.store.forget(Scope::Offer(fingerprint(0)), tick(self.now));
                self.processed[0] = None;
                self.lose(Loss::Forgotten, |grant| grant.offer == 0);
            }
            Action::PassTime => return self.pass_time(),
        }
        Ok(())
    }

    fn take(&mut self, message: Message) {
        let is_it = |other: &Message| *other == message;
        let place = self.network.iter().position(is_it);
        self.network.remove(place.expect("the message is under way"));
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
