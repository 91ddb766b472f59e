//! The answers that the store must give to each call, by the documentation of its trait.

use std::time::Duration;

use tokio::time::Instant;
use tower_offer_dedup::{
    PeerKey,
    store::{Ask, Claimed, Completed, Completion, Fence, Held, Renewed, Scope},
};

use crate::{
    model::{Forget, Grant, Loss, Memory, Model, Peer},
    node::decode,
};

impl Model {
    pub(crate) fn claimed(&mut self, node: usize, ask: &Ask, claimed: &Claimed) {
        let now = Instant::now();
        let (key, fingerprint) = (ask.peer, ask.fingerprint);
        self.note(|| format!("store: node {node} claims {key:?} {fingerprint:?}: {claimed:?}"));
        let known = self.processed(key, fingerprint);
        let peer = self.peers.entry(key).or_default();
        let owner = peer.owner.map(|fence| (fence, &self.grants[&fence]));
        let in_lease = owner.filter(|(_, grant)| grant.lease_end > now);
        let is_cooling = peer.cooling_until.is_some_and(|until| until > now);
        let is_right = match claimed {
            Claimed::Processed { left, fence, record } => known.is_some_and(|memory| {
                let answer = record.as_ref().map(|record| decode(record).run);
                memory.fence == *fence
                    && memory.until - now == *left
                    && answer == memory.answer.filter(|_| ask.wants_record)
            }),
            Claimed::Superseded { .. } => peer.superseded.get(&fingerprint).is_some_and(|until| *until > now),
            Claimed::InFlight { .. } => in_lease.is_some_and(|(_, grant)| grant.fingerprint == fingerprint),
            Claimed::Busy { .. } => {
                let is_other = |(_, grant): (_, &Grant)| grant.fingerprint != fingerprint && !grant.is_abandoned;
                in_lease.is_some_and(is_other) && ask.supersede.is_none()
            }
            Claimed::CoolingDown { .. } => is_cooling && owner.is_none() && ask.supersede.is_none(),
            Claimed::Admitted { fence, .. } if owner.is_some_and(|(_, grant)| grant.token == ask.token) => {
                owner.is_some_and(|(owner, _)| owner == *fence) && known.is_none()
            }
            Claimed::Admitted { fence, .. } => {
                let may_take = in_lease.is_none_or(|(_, grant)| {
                    grant.fingerprint != fingerprint && (grant.is_abandoned || ask.supersede.is_some())
                });
                let is_closed = is_cooling && owner.is_none() && ask.supersede.is_none();
                may_take && !is_closed && known.is_none() && *fence > self.last
            }
        };
        if !is_right {
            let state = format!("{peer:?}, owner {owner:?}, last {:?}", self.last);
            self.fail(format_args!("the store replied {claimed:?} to {ask:?} with {state}"));
        }
        match claimed {
            Claimed::Admitted { fence, .. } => self.granted(node, ask, *fence),
            Claimed::InFlight { .. } if ask.wants_record => {
                let owner = self.peers.get(&key).and_then(|peer| peer.owner);
                if let Some(grant) = owner.and_then(|fence| self.grants.get_mut(&fence)) {
                    grant.is_abandoned = false;
                }
            }
            _ => {}
        }
    }

    fn granted(&mut self, node: usize, ask: &Ask, fence: Fence) {
        let now = Instant::now();
        let peer = self.peers.entry(ask.peer).or_default();
        if peer.owner == Some(fence) {
            return;
        }
        if let Some(owner) = peer.owner.replace(fence) {
            let grant = self.grants.get_mut(&owner).expect("it was granted");
            let loss = if grant.lease_end <= now {
                Loss::Overdue
            } else if grant.is_abandoned {
                Loss::Abandoned
            } else {
                let window = ask.supersede.unwrap_or_default();
                peer.superseded.insert(grant.fingerprint, now + window);
                Loss::Superseded
            };
            grant.lost = Some((loss, now));
        }
        self.last = self.last.max(fence);
        self.by_token.insert(ask.token, fence);
        let grant = Grant {
            node,
            token: ask.token,
            peer: ask.peer,
            fingerprint: ask.fingerprint,
            granted: now,
            lease_end: now + ask.lease,
            is_abandoned: false,
            is_forgotten: false,
            lost: None,
            has_run: false,
            is_stray: self.is_stray || self.ended.contains(&ask.token),
        };
        let is_new = self.grants.insert(fence, grant).is_none();
        self.expect(is_new, || format!("{fence:?} was granted twice"));
    }

    pub(crate) fn renewed(&mut self, held: &Held, lease: Duration, is_abandoned: bool, renewed: Renewed) {
        let owner = self.owner(held);
        self.note(|| {
            format!(
                "store: renews {owner:?} of {:?}, abandoned {is_abandoned}: {renewed:?}",
                held.peer
            )
        });
        let expected = if owner.is_some() { Renewed::Yes } else { Renewed::Lost };
        self.expect(renewed == expected, || format!("{renewed:?} in place of {expected:?}"));
        if let Some(grant) = owner.and_then(|fence| self.grants.get_mut(&fence)) {
            grant.lease_end = Instant::now() + lease;
            grant.is_abandoned = is_abandoned;
        }
    }

    pub(crate) fn completed(&mut self, held: &Held, completion: &Completion, completed: Completed) {
        let now = Instant::now();
        let owner = self.owner(held);
        self.ended.insert(held.token);
        self.note(|| format!("store: completes {owner:?} of {:?}: {completed:?}", held.peer));
        let Some(fence) = owner else {
            // A late copy of the claim may have been granted since.
            let is_its = |grant: &Grant| grant.token == held.token && matches!(grant.lost, Some((Loss::Completed, _)));
            let was_completed = self.grants.values().any(is_its);
            self.expect(completed == Completed::Lost || was_completed, || {
                "a lost claim completed".to_owned()
            });
            return;
        };
        self.expect(completed == Completed::Done, || {
            format!("{fence:?} is held but {completed:?}")
        });
        self.lose(fence, Loss::Completed);
        let answer = completion.record.as_ref().map(|record| decode(record).run);
        let peer = self.peers.entry(held.peer).or_default();
        peer.cooling_until = Some(now + completion.cooldown);
        if !self.grants[&fence].is_forgotten && !completion.window.is_zero() {
            let until = now + completion.window;
            peer.superseded.remove(&held.fingerprint);
            peer.processed.insert(held.fingerprint, Memory { fence, until, answer });
        }
        self.runs.acknowledged(answer, fence);
    }

    pub(crate) fn released(&mut self, held: &Held) {
        let owner = self.owner(held);
        self.ended.insert(held.token);
        self.note(|| format!("store: releases {owner:?} of {:?}", held.peer));
        if let Some(fence) = owner {
            self.lose(fence, Loss::Released);
        }
    }

    /// Notes a call that forgets: of one peer, or of all.
    pub(crate) fn forgotten(&mut self, node: usize, peer: Option<PeerKey>, scope: Scope) {
        let now = Instant::now();
        self.note(|| format!("store: node {node} forgets {peer:?} {scope:?}"));
        // The node itself has forgotten when it sent the call, so not what it has learned since.
        let told = (!self.is_stray).then_some((node, now)).into_iter().collect();
        self.forgets.push(Forget {
            peer,
            scope,
            last: self.last,
            at: now,
            told,
        });
        match peer {
            Some(peer) => self.forget(peer, scope, Loss::Forgotten),
            None => self.forget_all(Loss::Forgotten),
        }
    }

    pub(crate) fn lost_data(&mut self) {
        self.note(|| "store: loses its data".to_owned());
        self.data_lost = Some(Instant::now());
        self.forget_all(Loss::DataLost);
    }

    fn forget_all(&mut self, loss: Loss) {
        let peers: Vec<_> = self.peers.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.forget(peer, Scope::Peer, loss));
    }

    fn forget(&mut self, key: PeerKey, scope: Scope, loss: Loss) {
        let peer = self.peers.entry(key).or_default();
        let owner = peer.owner;
        let is_owner = |fingerprint| owner.is_some_and(|fence| self.grants[&fence].fingerprint == fingerprint);
        match scope {
            Scope::Peer => {
                *peer = Peer::default();
                self.lose_owner(key, owner, loss);
            }
            Scope::Offer(fingerprint) => {
                peer.processed.remove(&fingerprint);
                peer.superseded.remove(&fingerprint);
                if is_owner(fingerprint) {
                    self.lose_owner(key, owner, loss);
                }
            }
            Scope::Claim(_, fence) if owner == Some(fence) => {
                let grant = self.grants.get_mut(&fence).expect("it is held");
                grant.is_forgotten = true;
            }
            Scope::Claim(fingerprint, fence) => {
                if peer
                    .processed
                    .get(&fingerprint)
                    .is_some_and(|memory| memory.fence == fence)
                {
                    peer.processed.remove(&fingerprint);
                }
            }
        }
    }

    fn lose_owner(&mut self, peer: PeerKey, owner: Option<Fence>, loss: Loss) {
        self.peers.entry(peer).or_default().owner = owner;
        if let Some(fence) = owner {
            self.lose(fence, loss);
        }
    }

    fn lose(&mut self, fence: Fence, loss: Loss) {
        let grant = self.grants.get_mut(&fence).expect("it was granted");
        grant.lost = Some((loss, Instant::now()));
        self.peers.entry(grant.peer).or_default().owner = None;
    }

    fn owner(&self, held: &Held) -> Option<Fence> {
        let fence = self.peers.get(&held.peer)?.owner?;
        (self.grants[&fence].token == held.token).then_some(fence)
    }
}
