//! The state of one peer in a store: the reference for every other store.

#[cfg(all(test, not(offer_dedup_loom)))]
mod protocol;

use super::super::{Ask, ClaimToken, Claimed, Completed, Completion, Fence, Lost, NodeId, Renewed, Scope};
use crate::{Fingerprint, answer::EncodedRecord, gate::Tick};

/// The limit of remembered offers of one peer. Past it, the oldest go.
const MAX_OFFERS: usize = 16;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Peer {
    holder: Option<Holder>,
    /// The claim that the holder displaced, or a holder that has been released since, until its node confirms that it has
    /// stopped.
    displaced: Option<ClaimToken>,
    cooling_until: Tick,
    /// Oldest first.
    memories: Vec<Memory>,
    /// The claim that was completed last, in case its reply was lost.
    completed: Option<ClaimToken>,
    /// The nodes that wait for the holder.
    waiting: Vec<NodeId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Holder {
    token: ClaimToken,
    fingerprint: Fingerprint,
    fence: Fence,
    since: Tick,
    lease_end: Tick,
    is_abandoned: bool,
    is_forgotten: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Memory {
    fingerprint: Fingerprint,
    /// The claim that processed the offer, or the one that superseded it.
    fence: Fence,
    until: Tick,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Processed(Option<EncodedRecord>),
    Superseded,
}

impl Peer {
    /// Decides on an offer. Returns the claim that was taken away for it as well, whose waiting nodes are then to be woken.
    pub(super) fn claim(&mut self, ask: &Ask, next: Fence, now: Tick) -> (Claimed, Option<(ClaimToken, Lost)>) {
        self.memories.retain(|memory| memory.until > now);
        if let Some(memory) = self
            .memories
            .iter()
            .find(|memory| memory.fingerprint == ask.fingerprint)
        {
            return (memory.claimed(ask.wants_record, now), None);
        }
        let node = ask.token.node();
        let mut lost = None;
        let mut displaced = self.displaced.filter(|_| self.holder.is_none());
        if let Some(holder) = &mut self.holder {
            if holder.token == ask.token {
                let (fence, displaced) = (holder.fence, self.displaced);
                return (Claimed::Admitted { fence, displaced }, None);
            }
            let left = holder.lease_end.since(now);
            if !left.is_zero() && holder.fingerprint == ask.fingerprint {
                // An offer that is refused does not wait for the claim.
                holder.is_abandoned &= !ask.wants_record;
                self.wait(node);
                return (Claimed::InFlight { left }, None);
            }
            let is_taken_over = left.is_zero() || holder.is_abandoned;
            if !is_taken_over && ask.supersede.is_none() {
                let age = now.since(holder.since);
                self.wait(node);
                return (Claimed::Busy { left, age }, None);
            }
            lost = Some((holder.token, Lost::TakenOver));
            match ask.supersede {
                Some(window) if !is_taken_over => {
                    lost = Some((holder.token, Lost::Superseded));
                    // A node stops its own claim before it supersedes it, but that claim may have waited for another one.
                    let earlier = self.displaced.filter(|_| holder.token.node() == node);
                    displaced = Some(earlier.unwrap_or(holder.token));
                    let loser = Memory {
                        fingerprint: holder.fingerprint,
                        fence: next,
                        until: now.after(window),
                        kind: Kind::Superseded,
                    };
                    let fence = holder.fence;
                    for memory in self.memories.iter_mut().filter(|memory| memory.is_mark_of(fence)) {
                        memory.fence = next;
                    }
                    self.remember(loser);
                }
                // The marks of a claim that was taken over go with it.
                _ => {
                    let fence = holder.fence;
                    self.memories.retain(|memory| !memory.is_mark_of(fence));
                }
            }
        }
        let cooling = self.cooling_until.since(now);
        if self.holder.is_none() && ask.supersede.is_none() && !cooling.is_zero() {
            return (Claimed::CoolingDown { left: cooling }, None);
        }
        self.displaced = displaced;
        self.holder = Some(Holder {
            token: ask.token,
            fingerprint: ask.fingerprint,
            fence: next,
            since: now,
            lease_end: now.after(ask.lease),
            is_abandoned: false,
            is_forgotten: false,
        });
        (Claimed::Admitted { fence: next, displaced }, lost)
    }

    pub(super) fn renew(&mut self, token: ClaimToken, lease_end: Tick, is_abandoned: bool) -> (Renewed, Vec<NodeId>) {
        match self.holder(token) {
            Some(holder) => {
                holder.lease_end = lease_end;
                holder.is_abandoned = is_abandoned;
                // A different offer that waits takes over.
                let woken = if is_abandoned { self.take_waiting() } else { Vec::new() };
                (Renewed::Yes, woken)
            }
            None => (Renewed::Lost, Vec::new()),
        }
    }

    pub(super) fn complete(
        &mut self,
        token: ClaimToken,
        completion: Completion,
        now: Tick,
    ) -> (Completed, Vec<NodeId>) {
        let Some(holder) = self.holder.take_if(|holder| holder.token == token) else {
            let completed = if self.completed == Some(token) {
                Completed::Done
            } else {
                Completed::Lost
            };
            return (completed, Vec::new());
        };
        self.completed = Some(token);
        self.displaced = None;
        let until = now.after(completion.window);
        if holder.is_forgotten || until <= now {
            self.memories.retain(|memory| !memory.is_mark_of(holder.fence));
        } else {
            self.remember(Memory {
                fingerprint: holder.fingerprint,
                fence: holder.fence,
                until,
                kind: Kind::Processed(completion.record),
            });
        }
        self.cooling_until = now.after(completion.cooldown);
        (Completed::Done, self.take_waiting())
    }

    /// Ends a claim without a memory. Returns the nodes to wake, and the claim that displaced this one.
    pub(super) fn release(&mut self, token: ClaimToken) -> (Vec<NodeId>, Option<ClaimToken>) {
        if let Some(holder) = self.holder.take_if(|holder| holder.token == token) {
            self.memories.retain(|memory| !memory.is_mark_of(holder.fence));
            return (self.take_waiting(), None);
        }
        let was_displaced = self.displaced.take_if(|displaced| *displaced == token).is_some();
        let displacer = self.holder.as_ref().filter(|_| was_displaced);
        (Vec::new(), displacer.map(|holder| holder.token))
    }

    pub(super) fn forget(&mut self, scope: Scope, now: Tick) -> (bool, Vec<NodeId>) {
        self.memories.retain(|memory| memory.until > now);
        match scope {
            Scope::Peer => {
                let was_known = self.holder.is_some() || !self.memories.is_empty() || self.cooling_until > now;
                let woken = self.take_waiting();
                *self = Self::default();
                (was_known, woken)
            }
            Scope::Offer(fingerprint) => {
                let before = self.memories.len();
                let processed = self.memories.iter().find(|memory| memory.is_processed(fingerprint));
                if let Some(fence) = processed.map(|memory| memory.fence) {
                    self.memories.retain(|memory| !memory.is_mark_of(fence));
                }
                self.memories.retain(|memory| memory.fingerprint != fingerprint);
                let is_same = |holder: &mut Holder| holder.fingerprint == fingerprint;
                let Some(holder) = self.holder.take_if(is_same) else {
                    return (self.memories.len() < before, Vec::new());
                };
                self.memories.retain(|memory| !memory.is_mark_of(holder.fence));
                (true, self.take_waiting())
            }
            Scope::Claim(fingerprint, fence) => {
                if let Some(holder) = self.holder.as_mut().filter(|holder| holder.fence == fence) {
                    holder.is_forgotten = true;
                    return (true, Vec::new());
                }
                let before = self.memories.len();
                self.memories
                    .retain(|memory| memory.fence != fence || !(memory.is_processed(fingerprint) || memory.is_mark()));
                (self.memories.len() < before, Vec::new())
            }
        }
    }

    pub(super) fn into_waiting(self) -> Vec<NodeId> {
        self.waiting
    }

    fn remember(&mut self, memory: Memory) {
        self.memories.retain(|known| known.fingerprint != memory.fingerprint);
        self.memories.push(memory);
        let surplus = self.memories.len().saturating_sub(MAX_OFFERS);
        self.memories.drain(..surplus);
    }

    fn wait(&mut self, node: NodeId) {
        if !self.waiting.contains(&node) {
            self.waiting.push(node);
        }
    }

    pub(super) fn take_waiting(&mut self) -> Vec<NodeId> {
        std::mem::take(&mut self.waiting)
    }

    fn holder(&mut self, token: ClaimToken) -> Option<&mut Holder> {
        self.holder.as_mut().filter(|holder| holder.token == token)
    }
}

impl Memory {
    fn claimed(&self, wants_record: bool, now: Tick) -> Claimed {
        let left = self.until.since(now);
        match &self.kind {
            Kind::Processed(record) => Claimed::Processed {
                left,
                fence: self.fence,
                record: record.clone().filter(|_| wants_record),
            },
            Kind::Superseded => Claimed::Superseded { left },
        }
    }

    fn is_processed(&self, fingerprint: Fingerprint) -> bool {
        self.fingerprint == fingerprint && matches!(self.kind, Kind::Processed(_))
    }

    fn is_mark(&self) -> bool {
        matches!(self.kind, Kind::Superseded)
    }

    fn is_mark_of(&self, fence: Fence) -> bool {
        self.is_mark() && self.fence == fence
    }
}
