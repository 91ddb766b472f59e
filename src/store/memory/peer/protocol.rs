//! Every interleaving of two nodes that process two offers of one peer: with lost replies, a node that is paused, leases
//! that end, superseded offers, and an offer that is forgotten.
//!
//! A breadth-first search over all states. The store is the reference itself. Time goes in steps, far longer than the
//! time-out of a call: a node that is not paused has its reply, or has given up, before the next one, and has renewed its
//! claim.

use std::{
    collections::{HashSet, VecDeque},
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    time::Duration,
};

use super::{Ask, ClaimToken, Claimed, Completed, Completion, Fence, Kind, NodeId, Peer, Renewed, Scope, Tick};
use crate::{Fingerprint, PeerKey};

const LEASE: u64 = 2;
const WINDOW: u64 = 3;

type Token = (u8, u8);

/// What may happen, and how often.
#[derive(Clone, Copy)]
struct Limits {
    supersedes: bool,
    requests: u8,
    losses: u8,
    pauses: u8,
    forgets: u8,
    time: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Idle,
    /// The request or its reply is under way.
    Asking(u8),
    /// A displaced claim is to stop first.
    Stopping(u8, Token),
    Running(u8),
    Completing,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Node {
    step: Step,
    /// The number of its last claim.
    claim: u8,
    is_paused: bool,
}

/// What is under way, in any order. Completions and releases are repeated until they arrive, so they are never lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Message {
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

/// How the store ended a claim that nobody completed or released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Loss {
    Overdue,
    Superseded,
    Forgotten,
}

/// What an observer knows of a granted claim.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Grant {
    token: Token,
    offer: u8,
    fence: u64,
    lease_end: u64,
    is_held: bool,
    lost: Option<Loss>,
}

#[derive(Clone)]
struct State {
    store: Peer,
    now: u64,
    last: u64,
    nodes: [Node; 2],
    /// In order, so that equal states are equal.
    network: Vec<Message>,
    left: Limits,
    grants: Vec<Grant>,
    /// Until when a completion that the store has acknowledged holds, of each offer.
    processed: [Option<u64>; 2],
}

/// A state that follows, or why it must not.
type Next = Result<State, &'static str>;

/// A state that breaks the guarantee, and the actions that led there.
struct Broken {
    cause: &'static str,
    path: Vec<String>,
}

fn token((node, number): Token) -> ClaimToken {
    ClaimToken::new(NodeId::from_bytes([node; 8]), number.into())
}

fn untoken(token: ClaimToken) -> Token {
    let bytes = token.to_bytes();
    (bytes[0], bytes[15])
}

fn fingerprint(offer: u8) -> Fingerprint {
    Fingerprint::from_bytes([offer; 16])
}

fn tick(now: u64) -> Tick {
    Tick::from_nanos(now)
}

impl State {
    fn new(limits: Limits) -> Self {
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
        }
    }

    /// Returns every state that may follow, or why the next one is not allowed.
    fn successors(&self, leases_exclude: bool, mut next: impl FnMut(&dyn Fn() -> String, Next)) {
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
    fn drop_stale(&mut self) {
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

    fn node(&self, node: u8) -> &Node {
        &self.nodes[usize::from(node)]
    }

    fn go(&mut self, node: u8, step: Step) {
        self.nodes[usize::from(node)].step = step;
    }

    /// Returns whether a displaced claim is about to stop: its node is told, and says so.
    fn stops(&self, displaced: Token) -> bool {
        let is_its = |message: &Message| match message {
            Message::Lost(token) | Message::Release(token) | Message::Stopped(_, token) => *token == displaced,
            _ => false,
        };
        !self.node(displaced.0).is_paused && self.network.iter().any(is_its)
    }

    fn grant(&mut self, token: Token) -> Option<&mut Grant> {
        self.grants.iter_mut().find(|grant| grant.token == token)
    }

    fn lose(&mut self, loss: Loss, is_meant: impl Fn(&Grant) -> bool) {
        for grant in self.grants.iter_mut().filter(|grant| grant.is_held && is_meant(grant)) {
            grant.is_held = false;
            grant.lost = Some(loss);
        }
    }

    /// Time passes. Running nodes have renewed their claims, or find that they have lost them.
    fn pass_time(&mut self) -> Result<(), &'static str> {
        self.now += 1;
        for node in 0..2 {
            let Node { step, claim, is_paused } = *self.node(node);
            if is_paused || !matches!(step, Step::Running(_)) {
                continue;
            }
            let lease_end = self.now + LEASE;
            let (renewed, _) = self.store.renew(token((node, claim)), tick(lease_end), false);
            match (renewed, self.grant((node, claim))) {
                (Renewed::Yes, Some(grant)) if grant.is_held => grant.lease_end = lease_end,
                (Renewed::Lost, Some(grant)) if !grant.is_held => {
                    self.go(node, Step::Idle);
                    self.network.push(Message::Release((node, claim)));
                }
                _ => return Err("a renewal acquires or ends a claim"),
            }
        }
        Ok(())
    }

    fn receive(&mut self, message: Message, leases_exclude: bool) -> Result<(), &'static str> {
        match message {
            Message::Ask(mine, offer) => self.claim(mine, offer)?,
            Message::Complete(mine) => self.complete(mine)?,
            Message::Release(mine) => {
                let (_, displacer) = self.store.release(token(mine));
                if let Some(grant) = self.grant(mine) {
                    grant.is_held = false;
                }
                let displacer = displacer.map(untoken);
                self.network
                    .extend(displacer.map(|(node, _)| Message::Stopped(node, mine)));
            }
            Message::Admitted(mine, displaced) => match (self.node(mine.0), displaced) {
                (
                    Node {
                        step: Step::Asking(offer),
                        claim,
                        ..
                    },
                    displaced,
                ) if *claim == mine.1 => {
                    let offer = *offer;
                    match displaced.filter(|displaced| displaced.0 != mine.0) {
                        Some(displaced) => self.go(mine.0, Step::Stopping(offer, displaced)),
                        None => self.start(mine.0, offer, leases_exclude)?,
                    }
                }
                _ => {}
            },
            Message::Refused(mine) => {
                let node = self.node(mine.0);
                if matches!(node.step, Step::Asking(_)) && node.claim == mine.1 {
                    self.go(mine.0, Step::Idle);
                }
            }
            Message::Acknowledged(mine) => {
                let node = self.node(mine.0);
                if node.step == Step::Completing && node.claim == mine.1 {
                    self.go(mine.0, Step::Idle);
                }
            }
            Message::Lost(mine) => {
                let node = self.node(mine.0);
                let may_be_told = matches!(node.step, Step::Asking(_) | Step::Stopping(..) | Step::Running(_));
                if node.claim == mine.1 && may_be_told {
                    self.go(mine.0, Step::Idle);
                    self.network.push(Message::Release(mine));
                }
            }
            Message::Stopped(node, displaced) => match self.node(node).step {
                Step::Stopping(offer, awaited) if awaited == displaced => self.start(node, offer, leases_exclude)?,
                _ => {}
            },
        }
        Ok(())
    }

    fn claim(&mut self, mine: Token, offer: u8) -> Result<(), &'static str> {
        let ask = Ask {
            peer: PeerKey::from_bytes([0; 16]),
            fingerprint: fingerprint(offer),
            token: token(mine),
            lease: Duration::from_nanos(LEASE),
            wants_record: false,
            supersede: self.left.supersedes.then_some(Duration::from_nanos(WINDOW)),
        };
        let (claimed, lost) = self.store.claim(&ask, Fence::new(self.last + 1), tick(self.now));
        let Claimed::Admitted { fence, displaced } = claimed else {
            self.network.push(Message::Refused(mine));
            return Ok(());
        };
        self.network.push(Message::Admitted(mine, displaced.map(untoken)));
        if let Some((loser, _)) = lost {
            self.network.push(Message::Lost(untoken(loser)));
        }
        if fence.get() <= self.last {
            return Err("numbers do not rise");
        }
        if self.processed[usize::from(offer)].is_some_and(|until| until > self.now) {
            return Err("a processed offer is granted");
        }
        let now = self.now;
        let held = self.grants.iter().find(|grant| grant.is_held);
        let loss = match held {
            Some(held) if held.lease_end > now && (!self.left.supersedes || held.offer == offer) => {
                return Err("a held claim is granted again");
            }
            Some(held) if held.lease_end > now => Loss::Superseded,
            _ => Loss::Overdue,
        };
        self.lose(loss, |_| true);
        self.last = fence.get();
        self.grants.push(Grant {
            token: mine,
            offer,
            fence: fence.get(),
            lease_end: now + LEASE,
            is_held: true,
            lost: None,
        });
        Ok(())
    }

    fn complete(&mut self, mine: Token) -> Result<(), &'static str> {
        let completion = Completion {
            window: Duration::from_nanos(WINDOW),
            cooldown: Duration::ZERO,
            record: None,
        };
        let (completed, _) = self.store.complete(token(mine), completion, tick(self.now));
        self.network.push(Message::Acknowledged(mine));
        let until = self.now + WINDOW;
        let Some(grant) = self.grant(mine) else {
            return Ok(());
        };
        let offer = usize::from(grant.offer);
        match (completed, grant.lost) {
            (Completed::Done, Some(_)) => Err("a lost claim completes"),
            (Completed::Lost, None) if grant.is_held => Err("a held claim does not complete"),
            (Completed::Done, None) if grant.is_held => {
                grant.is_held = false;
                self.processed[offer] = Some(until);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Starts to process an offer. That is where the guarantee is checked.
    fn start(&mut self, node: u8, offer: u8, leases_exclude: bool) -> Result<(), &'static str> {
        let find = |token: Token| self.grants.iter().find(|grant| grant.token == token);
        let lost = |token: Token| find(token).and_then(|grant| grant.lost);
        let may_overlap = |lost: Option<Loss>| match lost {
            None => false,
            Some(Loss::Overdue) => !leases_exclude,
            // It was told and has had its time, or nobody tells it.
            Some(Loss::Superseded | Loss::Forgotten) => true,
        };
        let mine = (node, self.node(node).claim);
        let other = (1 - node, self.node(1 - node).claim);
        if matches!(self.node(other.0).step, Step::Running(_)) {
            if !may_overlap(lost(mine)) && !may_overlap(lost(other)) {
                return Err("two offers of the peer run");
            }
            let (mine, other) = (find(mine), find(other));
            let is_newer = mine.map(|grant| grant.fence) > other.map(|grant| grant.fence);
            let newer_is_lost = if is_newer { mine } else { other }.is_some_and(|grant| grant.lost.is_some());
            let older_is_lost = if is_newer { other } else { mine }.is_some_and(|grant| grant.lost.is_some());
            if newer_is_lost && !older_is_lost {
                return Err("the claim with the lower number holds");
            }
        }
        let is_processed = self.processed[usize::from(offer)].is_some_and(|until| until > self.now);
        if is_processed && !may_overlap(lost(mine)) {
            return Err("a processed offer runs again");
        }
        self.go(node, Step::Running(offer));
        Ok(())
    }

    /// Returns a digest of all that tells this state from others. A collision would hide a state; there are far fewer than
    /// 2^32.
    fn key(&self) -> u64 {
        let number = |token: &ClaimToken| {
            let (node, number) = untoken(*token);
            u64::from(node) << 8 | u64::from(number)
        };
        let offer = |known: Fingerprint| u64::from(known == fingerprint(1));
        let store = &self.store;
        let mut key = vec![self.now, self.last];
        key.extend(store.holder.iter().flat_map(|holder| {
            let flags = u64::from(holder.is_abandoned) << 1 | u64::from(holder.is_forgotten);
            [
                number(&holder.token),
                holder.fence.get(),
                holder.lease_end.as_nanos(),
                flags,
            ]
        }));
        key.push(u64::MAX);
        key.extend(store.displaced.iter().map(number));
        key.push(u64::MAX);
        key.extend(store.completed.iter().map(number));
        key.push(u64::MAX);
        key.extend(store.memories.iter().flat_map(|memory| {
            let is_processed = u64::from(matches!(memory.kind, Kind::Processed(_)));
            [
                offer(memory.fingerprint) << 1 | is_processed,
                memory.fence.get(),
                memory.until.as_nanos(),
            ]
        }));
        key.push(u64::MAX);
        let Limits {
            requests,
            losses,
            pauses,
            forgets,
            ..
        } = self.left;
        let left = (requests, losses, pauses, forgets);
        let state = (key, self.nodes, &self.network, left, &self.grants, self.processed);
        BuildHasherDefault::<DefaultHasher>::default().hash_one(state)
    }
}

impl Message {
    /// Returns the node that gets it, or `None` for the store.
    fn receiver(&self) -> Option<u8> {
        match self {
            Self::Ask(..) | Self::Complete(_) | Self::Release(_) => None,
            Self::Admitted((node, _), _)
            | Self::Refused((node, _))
            | Self::Acknowledged((node, _))
            | Self::Lost((node, _))
            | Self::Stopped(node, _) => Some(*node),
        }
    }

    fn may_be_lost(&self) -> bool {
        !matches!(self, Self::Complete(_) | Self::Release(_))
    }
}

/// Visits every state. Returns how many there are, or the shortest way to one that breaks the guarantee.
fn search(limits: Limits, leases_exclude: bool) -> Result<usize, Broken> {
    let start = State::new(limits);
    let mut seen = HashSet::from([start.key()]);
    let mut open = VecDeque::from([(0, start)]);
    // How each state was reached: from which one, by its how-manieth action.
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
    let Broken { cause, path } = found.err().expect("a paused node runs on past its lease");
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
