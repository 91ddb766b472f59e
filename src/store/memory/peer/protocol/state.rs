//! A state of two nodes, their store and what is under way between them.

use super::super::{ClaimToken, NodeId, Peer, Tick};
use crate::Fingerprint;

pub(super) const LEASE: u64 = 2;
pub(super) const WINDOW: u64 = 3;

pub(super) type Token = (u8, u8);

/// The events that may happen, and the limit of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Limits {
    pub(super) supersedes: bool,
    pub(super) requests: u8,
    pub(super) losses: u8,
    pub(super) pauses: u8,
    pub(super) forgets: u8,
    pub(super) time: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Idle,
    /// The request or its reply is under way.
    Asking(u8),
    /// A displaced claim is to stop first.
    Stopping(u8, Token),
    Running(u8),
    Completing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) step: Step,
    /// The number of its last claim.
    pub(super) claim: u8,
    pub(super) is_paused: bool,
}

/// The messages under way, in any order. Completions and releases are repeated until they arrive, so they are never lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Message {
    Ask(Token, u8),
    Complete(Token),
    Release(Token),
    Admitted(Token, Option<Token>),
    Refused(Token),
    Acknowledged(Token),
    Lost(Token),
    /// To the node that displaced the claim.
    Stopped(u8, Token),
}

/// The store's end of a claim that nobody completed or released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Loss {
    Overdue,
    Superseded,
    Forgotten,
}

/// An observer's knowledge of a granted claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Grant {
    pub(super) token: Token,
    pub(super) offer: u8,
    pub(super) fence: u64,
    pub(super) lease_end: u64,
    pub(super) is_held: bool,
    pub(super) lost: Option<Loss>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) store: Peer,
    pub(super) now: u64,
    pub(super) last: u64,
    pub(super) nodes: [Node; 2],
    /// In order, so that equal states are equal.
    pub(super) network: Vec<Message>,
    pub(super) left: Limits,
    pub(super) grants: Vec<Grant>,
    /// Until when a completion that the store has acknowledged holds, of each offer.
    pub(super) processed: [Option<u64>; 2],
    /// The rule of the guarantee that the last action broke. Nothing follows then.
    pub(super) violation: Option<&'static str>,
}

pub(super) fn token((node, number): Token) -> ClaimToken {
    ClaimToken::new(NodeId::from_bytes([node; 8]), number.into())
}

pub(super) fn untoken(token: ClaimToken) -> Token {
    let bytes = token.to_bytes();
    (bytes[0], bytes[15])
}

pub(super) fn fingerprint(offer: u8) -> Fingerprint {
    Fingerprint::from_bytes([offer; 16])
}

pub(super) fn tick(now: u64) -> Tick {
    Tick::from_nanos(now)
}

impl State {
    pub(super) fn new(limits: Limits) -> Self {
        let idle = Node {
            step: Step::Idle,
            claim: 0,
            is_paused: false,
        };
        Self {
            store: Peer::default(),
            // Zero stands for no cooldown.
            now: 1,
            last: 0,
            nodes: [idle; 2],
            network: Vec::new(),
            left: limits,
            grants: Vec::new(),
            processed: [None; 2],
            violation: None,
        }
    }

    pub(super) fn node(&self, node: u8) -> &Node {
        &self.nodes[usize::from(node)]
    }

    pub(super) fn last_claim(&self, node: u8) -> Token {
        (node, self.node(node).claim)
    }

    pub(super) fn go(&mut self, node: u8, step: Step) {
        self.nodes[usize::from(node)].step = step;
    }

    /// Returns whether a displaced claim is about to stop: its node is told, and says so.
    pub(super) fn stops(&self, displaced: Token) -> bool {
        let is_its = |message: &Message| match message {
            Message::Lost(token) | Message::Release(token) | Message::Stopped(_, token) => *token == displaced,
            _ => false,
        };
        !self.node(displaced.0).is_paused && self.network.iter().any(is_its)
    }

    pub(super) fn grant(&mut self, token: Token) -> Option<&mut Grant> {
        self.grants.iter_mut().find(|grant| grant.token == token)
    }

    pub(super) fn lose(&mut self, loss: Loss, is_meant: impl Fn(&Grant) -> bool) {
        for grant in self.grants.iter_mut().filter(|grant| grant.is_held && is_meant(grant)) {
            grant.is_held = false;
            grant.lost = Some(loss);
        }
    }

    /// Brings a state into its one form: equal states then are equal, and what no decision depends on is gone.
    pub(super) fn canonicalize(&mut self) {
        self.drop_stale();
        self.network.sort_unstable();
        // No node waits for a notice here, and no claim has a cooldown.
        self.store.waiting.clear();
        self.store.cooling_until = Tick::default();
        if let Some(holder) = &mut self.store.holder {
            holder.since = Tick::default();
        }
    }

    /// Returns the state of the claim that the node runs, or `None` if it runs none.
    pub(super) fn running(&self, node: u8) -> Option<&Grant> {
        let is_running = matches!(self.node(node).step, Step::Running(_));
        let claim = self.last_claim(node);
        self.grants.iter().find(|grant| is_running && grant.token == claim)
    }
}

impl Message {
    /// Returns the node that gets it, or `None` for the store.
    pub(super) fn receiver(&self) -> Option<u8> {
        match self {
            Self::Ask(..) | Self::Complete(_) | Self::Release(_) => None,
            Self::Admitted((node, _), _)
            | Self::Refused((node, _))
            | Self::Acknowledged((node, _))
            | Self::Lost((node, _))
            | Self::Stopped(node, _) => Some(*node),
        }
    }

    pub(super) fn may_be_lost(&self) -> bool {
        !matches!(self, Self::Complete(_) | Self::Release(_))
    }
}
