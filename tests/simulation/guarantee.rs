//! The guarantee, checked for each run and each answer.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tower_offer_dedup::{
    Reason, WhenBusy,
    store::{Fence, OnStoreError, Scope},
};

use crate::{
    link::Link,
    model::{Grant, Loss, Model},
    node::{Broken, Reply, fingerprint, peer},
    plan::End,
    runs::{Request, Run, State},
};

/// The time in which a displaced claim has to stop.
const STOP_TIME: Duration = Duration::from_millis(100);

/// The longest wait of an answer for the store, before it is remembered.
const COMMIT_TIME: Duration = Duration::from_millis(251);

/// In that time a few of the repetitions of a message get through.
const REPEAT_TIME: Duration = Duration::from_secs(5);

impl Model {
    /// The claim was granted to this offer and this node, and it runs once. The offer was not processed, unless that
    /// happened after this claim was lost.
    pub(crate) fn check_granted(&mut self, run: &Run, fence: Fence) {
        let Some(grant) = self.grants.get_mut(&fence) else {
            self.fail(format_args!("{fence:?} was never granted"));
            return;
        };
        let has_run = std::mem::replace(&mut grant.has_run, true);
        let is_its = (grant.node, grant.peer, grant.fingerprint) == (run.link.node, run.peer, fingerprint(run.text));
        let lost = grant.lost;
        self.expect(!has_run && is_its, || format!("{fence:?} was not granted to {run:?}"));
        let was_taken = matches!(lost, Some((loss, _)) if self.is_excused(fence, loss, run.started));
        if let Some(memory) = self.processed(run.peer, fingerprint(run.text)) {
            self.expect(was_taken, || {
                format!("{run:?} was processed before: {memory:?}, lost {lost:?}")
            });
        }
    }

    /// No other offer of the peer runs, unless its claim was lost in a way that the guarantee allows.
    pub(crate) fn check_alone(&mut self, run: &Run) {
        let others = self.runs.runs.iter().enumerate();
        let open = others.filter(|(_, other)| other.ended.is_none() && other.peer == run.peer);
        let overlaps: Vec<_> = open
            .filter(|(_, other)| !self.may_overlap(run, other))
            .map(|(number, other)| format!("run {number}, {:?}", other.fence.map(|fence| self.grants[&fence].lost)))
            .collect();
        self.expect(overlaps.is_empty(), || format!("{run:?} overlaps with {overlaps:?}"));
    }

    pub(crate) fn may_overlap(&self, run: &Run, other: &Run) -> bool {
        // A node that decides alone.
        let (Some(fence), Some(new)) = (other.fence, run.fence) else {
            return true;
        };
        let now = run.started;
        let is_same_node = other.link.node == run.link.node;
        if is_same_node && self.runs.was_touched(other, self.runs.arrived(other)) {
            return true;
        }
        // The newcomer has lost its own claim.
        let was_lost = self.grants[&new].lost;
        if was_lost.is_some_and(|(loss, _)| self.is_excused(new, loss, now)) {
            return true;
        }
        match self.grants[&fence].lost {
            // The newcomer waits 100 ms for it to stop. On the same node it does so before it claims, unless the other one
            // is past its lease, or abandoned there while a request on another node waits for it.
            Some((Loss::Superseded, at)) => {
                let is_abandoned = is_same_node && !self.runs.was_attended(other, self.runs.arrived(run));
                let waited = if is_same_node { self.runs.arrived(run) } else { at };
                // The store does not know any more that there was another one.
                let mut forgets = self.forgets.iter();
                let is_forgotten = forgets.any(|forget| forget.at >= at && forget.concerns(run.peer))
                    || self.data_lost.is_some_and(|lost| lost >= at);
                let is_over = now >= waited + STOP_TIME || now >= other.started + self.runs.settings.lease;
                is_over || is_forgotten || is_abandoned
            }
            Some((loss, _)) => self.is_excused(fence, loss, now),
            None => false,
        }
    }

    /// Returns whether the node may still be processing though it has lost the claim.
    pub(crate) fn is_excused(&self, fence: Fence, loss: Loss, now: Instant) -> bool {
        let grant = &self.grants[&fence];
        let run = self.runs.by_fence.get(&fence).map(|run| &self.runs.runs[*run]);
        let Some(link) = run.map(|run| &run.link).or_else(|| self.link(grant.node)) else {
            return true;
        };
        match loss {
            // A node gives a claim up when the processing has ended.
            Loss::Completed | Loss::Released => false,
            // Only a node in trouble lets its lease end, or one whose handler takes longer than the lease of this layer.
            Loss::Overdue => {
                let is_slow = run.is_some_and(|run| now >= run.started + self.runs.settings.lease);
                is_slow || link.had_trouble_since(grant.granted)
            }
            Loss::Abandoned | Loss::Superseded | Loss::Forgotten | Loss::DataLost => true,
        }
    }

    pub(crate) fn link(&self, node: usize) -> Option<&Arc<Link>> {
        let mut links = self.runs.requests.iter().map(|request| &request.link);
        links.find(|link| link.node == node)
    }

    /// A node that has processed an offer does not do it again inside the window, whatever the store has lost.
    pub(crate) fn check_not_processed_here(&mut self, run: &Run) {
        let is_same = |other: &&Run| (other.link.node, other.peer, other.text) == (run.link.node, run.peer, run.text);
        let mut earlier = self.runs.runs.iter().enumerate().filter(|(_, other)| is_same(other));
        let window = self.runs.settings.window;
        let again = earlier.find(|(_, other)| {
            let is_remembered = other.end == Some(End::Success)
                && other.ended.is_some_and(|ended| run.started < ended + window)
                && !run.link.had_trouble_since(other.started);
            is_remembered && self.is_remembered(other)
        });
        let again = again.map(|(number, _)| number);
        self.expect(again.is_none(), || {
            format!("{run:?} was processed on the same node by {again:?}")
        });
    }

    /// Returns whether the node of a run that has ended still knows of it.
    pub(crate) fn is_remembered(&self, run: &Run) -> bool {
        let is_kept = run.fence.is_some_and(|fence| {
            let grant = &self.grants[&fence];
            !grant.is_forgotten && matches!(grant.lost, Some((Loss::Completed, _)))
        });
        // If its client leaves before the answer, an inline run leaves nothing here. Nor does a run that is superseded here
        // between its end and the answer.
        let is_settled = run.ended.zip(self.runs.answered(run)).is_some_and(|(ended, answered)| {
            let may_supersede = |request: &Request| {
                let is_other = request.link.node == run.link.node && request.offer.text != run.text;
                is_other && request.arrived.is_some_and(|at| ended <= at && at <= answered)
            };
            !self.supersedes() || !self.runs.requests.iter().any(may_supersede)
        });
        is_kept && is_settled && !self.runs.was_touched(run, self.runs.arrived(run))
    }

    pub(crate) fn answered(&mut self, number: usize, reply: Result<Reply, Broken>) {
        let now = Instant::now();
        self.note(|| format!("request {number} is answered: {reply:?}"));
        let was_open = self.runs.requests[number].end(State::Answered(reply));
        let request = &self.runs.requests[number];
        let (arrived, own, offer) = (request.arrived.unwrap_or(now), request.run, request.offer);
        let (link, took) = (Arc::clone(&request.link), now - arrived);
        self.expect(was_open, || format!("request {number} is answered twice"));
        let is_troubled = link.had_trouble_since(arrived);
        let longest = self.runs.longest(offer.work);
        self.expect(is_troubled || took <= longest, || {
            format!("request {number} took {took:?}")
        });
        match reply {
            Ok(Reply::Answer { record, is_replay }) => {
                let run = &self.runs.runs[record.run];
                let is_its = (run.peer, run.text) == (peer(offer.peer), offer.text);
                let is_end = run.end == Some(if record.is_success { End::Success } else { End::Failure });
                self.expect(is_its && is_end, || {
                    format!("request {number} got the answer of run {}", record.run)
                });
                if is_replay {
                    self.check_replay(record.run, &link, arrived, is_troubled);
                } else {
                    self.expect(own == Some(record.run), || {
                        format!("request {number} got a foreign answer")
                    });
                }
            }
            Ok(Reply::Refused(reason)) => self.check_refused(number, reason, &link, arrived),
            Err(Broken) => {
                let end = own.and_then(|run| self.runs.runs[run].end);
                self.expect(end == Some(End::Broken), || {
                    format!("request {number} failed by itself")
                });
            }
        }
    }

    /// A replayed answer is inside its window, and nobody has forgotten it.
    pub(crate) fn check_replay(&mut self, number: usize, link: &Link, arrived: Instant, is_troubled: bool) {
        let now = Instant::now();
        let run = &self.runs.runs[number];
        let ended = run.ended.unwrap_or(run.started);
        let ended = run.acknowledged.map_or(ended, |(at, _)| at.max(ended));
        let fence = run.acknowledged.map(|(_, fence)| fence).or(run.fence);
        let window = self.runs.settings.window.mul_f64(self.runs.stretch);
        let is_current = is_troubled || now <= ended + COMMIT_TIME + window;
        let forgotten = self.forgets.iter().find(|forget| {
            let is_older = fence.is_some_and(|fence| fence <= forget.last);
            let is_meant = forget.concerns(run.peer)
                && match forget.scope {
                    Scope::Peer => is_older,
                    Scope::Offer(other) => is_older && other == fingerprint(run.text),
                    // Followers of an offer in flight wait for its completion all the same.
                    Scope::Claim(_, other) => fence == Some(other) && ended + COMMIT_TIME < forget.at,
                };
            let told = forget.told.get(&link.node);
            is_meant && told.is_some_and(|told| arrived > *told && arrived > forget.at)
        });
        let forgotten = forgotten.map(|forget| format!("{forget:?}"));
        let replays = self.runs.settings.replays;
        self.expect(replays && is_current, || {
            format!("run {number} is replayed past its window")
        });
        self.expect(forgotten.is_none(), || {
            format!("run {number} is replayed after {forgotten:?}")
        });
    }

    /// A refusal has its cause.
    pub(crate) fn check_refused(&mut self, number: usize, reason: Reason, link: &Link, arrived: Instant) {
        let settings = self.runs.settings;
        let had_trouble = self.runs.may_fail || link.ever_had_trouble();
        let offer = self.runs.requests[number].offer;
        let was_processed =
            |run: &Run| (run.peer, run.text) == (peer(offer.peer), offer.text) && run.end == Some(End::Success);
        let was_taken = |grant: &Grant| {
            let is_its = (grant.node, grant.peer) == (link.node, peer(offer.peer));
            is_its && grant.fingerprint == fingerprint(offer.text) && matches!(grant.lost, Some((Loss::Overdue, _)))
        };
        let waits = settings.replays || matches!(settings.when_busy, WhenBusy::Queue { .. });
        let is_right = match reason {
            Reason::Processed => !settings.replays && self.runs.runs.iter().any(was_processed),
            Reason::InFlight => !settings.replays,
            Reason::Superseded => self.supersedes(),
            Reason::Busy => settings.when_busy == WhenBusy::Refuse,
            Reason::CoolingDown => settings.when_busy == WhenBusy::Refuse && !settings.cooldown.is_zero(),
            Reason::QueueFull => matches!(settings.when_busy, WhenBusy::Queue { .. }),
            Reason::TimedOut => waits || Instant::now() >= arrived + settings.lease,
            Reason::StoreUnavailable => had_trouble && settings.on_store_error == OnStoreError::FailClosed,
            // Its claim went to another node, perhaps before it ran.
            Reason::Aborted => self.runs.requests[number].run.is_some() || self.grants.values().any(was_taken),
            _ => false,
        };
        self.expect(is_right, || format!("request {number} is refused: {reason}"));
    }

    /// Every request is answered, every run has ended, and no claim is held but those that nobody could end.
    pub(crate) fn check_end(&mut self) {
        let requests = self.runs.requests.iter().enumerate();
        let open: Vec<_> = requests
            .filter(|(_, request)| request.state == State::Open)
            .map(|(n, _)| n)
            .collect();
        self.expect(open.is_empty(), || format!("requests {open:?} are not answered"));
        let runs = self.runs.runs.iter().enumerate();
        let open: Vec<_> = runs.filter(|(_, run)| run.ended.is_none()).map(|(n, _)| n).collect();
        self.expect(open.is_empty(), || format!("runs {open:?} have not ended"));
        // Messages are repeated until they arrive, for longer than a few of them are lost.
        let is_leaked = |grant: &Grant| {
            self.link(grant.node)
                .is_some_and(|link| !link.had_outage_since(grant.granted))
        };
        let leaked: Vec<_> = self
            .held()
            .filter(|(_, grant)| !grant.is_stray && is_leaked(grant))
            .map(|(fence, _)| fence)
            .collect();
        self.expect(leaked.is_empty(), || format!("claims {leaked:?} are held for ever"));
        let is_uncompleted = |run: &Run| {
            let grant = run.fence.map(|fence| &self.grants[&fence]);
            grant.is_some_and(|grant| {
                let lost = run.ended.filter(|_| run.end == Some(End::Success)).zip(grant.lost);
                let was_lost_later =
                    lost.is_some_and(|(ended, (loss, at))| loss == Loss::Overdue && at > ended + REPEAT_TIME);
                was_lost_later && !run.link.had_outage_since(grant.granted)
            })
        };
        let uncompleted: Vec<_> = self.runs.runs.iter().filter(|run| is_uncompleted(run)).collect();
        let uncompleted = (!uncompleted.is_empty()).then(|| format!("{uncompleted:?}"));
        self.expect(uncompleted.is_none(), || format!("{uncompleted:?} was never completed"));
    }
}
