//! The reactions of the nodes and the store, and what must hold then.

use std::time::Duration;

use super::super::{Ask, Claimed, Completed, Completion, Fence, Renewed};
use super::state::{Grant, LEASE, Loss, Message, Node, State, Step, Token, WINDOW, fingerprint, tick, token, untoken};
use crate::PeerKey;

impl State {
    /// Time passes. Running nodes have renewed their claims, or find that they have lost them.
    pub(super) fn pass_time(&mut self) -> Result<(), &'static str> {
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

    pub(super) fn receive(&mut self, message: Message) -> Result<(), &'static str> {
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
                        None => self.start(mine.0, offer)?,
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
                Step::Stopping(offer, awaited) if awaited == displaced => self.start(node, offer)?,
                _ => {}
            },
        }
        Ok(())
    }

    pub(super) fn claim(&mut self, mine: Token, offer: u8) -> Result<(), &'static str> {
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

    pub(super) fn complete(&mut self, mine: Token) -> Result<(), &'static str> {
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
    pub(super) fn start(&mut self, node: u8, offer: u8) -> Result<(), &'static str> {
        let find = |token: Token| self.grants.iter().find(|grant| grant.token == token);
        let lost = |token: Token| find(token).and_then(|grant| grant.lost);
        let may_overlap = |lost: Option<Loss>| match lost {
            None => false,
            // A lease does not exclude. A superseded claim was told and has had its time, and nobody tells a forgotten one.
            Some(Loss::Overdue | Loss::Superseded | Loss::Forgotten) => true,
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
}
