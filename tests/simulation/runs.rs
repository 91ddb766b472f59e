//! [`Runs`]: the requests and the inner calls, and what the guarantee says about them.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use tokio::time::Instant;
use tower_offer_dedup::{
    OfferSession, PeerKey, Reason, WhenBusy,
    store::{Fence, Notice, OnStoreError, Scope},
};

use crate::{
    link::Link,
    model::{Loss, Model},
    node::{Broken, Message, Reply, fingerprint, peer},
    plan::{End, Offer, Plan, Settings},
};

/// How long a displaced claim has to stop.
const STOP_TIME: Duration = Duration::from_millis(100);

/// How long an answer waits for the store at most, before it is remembered.
const COMMIT_TIME: Duration = Duration::from_millis(251);

/// The requests and the inner calls so far.
#[derive(Debug)]
pub(crate) struct Runs {
    pub(crate) settings: Settings,
    /// Nodes' seconds in one of the store's, if that is longer.
    stretch: f64,
    requests: Vec<Request>,
    runs: Vec<Run>,
    by_fence: HashMap<Fence, usize>,
    /// Which node has forgotten something of which peer, or of all.
    touched: Vec<(usize, Option<PeerKey>, Instant)>,
}

#[derive(Debug)]
struct Request {
    link: Arc<Link>,
    offer: Offer,
    /// When the node got it.
    arrived: Option<Instant>,
    run: Option<usize>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Open,
    Answered(Result<Reply, Broken>),
    /// The client has left, or the node has died.
    Gone,
}

/// An inner call.
struct Run {
    link: Arc<Link>,
    peer: PeerKey,
    text: u8,
    /// When its request arrived.
    arrived: Instant,
    fence: Option<Fence>,
    session: Option<OfferSession>,
    started: Instant,
    ended: Option<Instant>,
    /// `None` if it was dropped.
    end: Option<End>,
    /// When its completion took effect in the store, and under which number. A copy of the claim may have got another one.
    acknowledged: Option<(Instant, Fence)>,
}

impl Runs {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            settings: plan.settings,
            stretch: (100.0 / f64::from(plan.faults.clock_rate)).max(1.0),
            requests: Vec::new(),
            runs: Vec::new(),
            by_fence: HashMap::new(),
            touched: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    pub(crate) fn started_on(&self, node: usize) -> usize {
        self.runs.iter().filter(|run| run.link.node == node).count()
    }

    pub(crate) fn reply(&self, request: usize) -> Option<Reply> {
        match self.requests[request].state {
            State::Answered(Ok(reply)) => Some(reply),
            _ => None,
        }
    }

    pub(crate) fn acknowledged(&mut self, run: Option<usize>, fence: Fence) {
        if let Some(run) = run {
            self.runs[run].acknowledged = Some((Instant::now(), fence));
        }
    }

    /// Returns whether the node of a run has forgotten anything of its peer since that time. Then the run holds no lock of
    /// that node, and goes on.
    fn was_touched(&self, run: &Run, since: Instant) -> bool {
        let is_meant = |(node, peer, at): &(usize, Option<PeerKey>, Instant)| {
            *node == run.link.node && peer.is_none_or(|peer| peer == run.peer) && *at >= since
        };
        self.touched.iter().any(is_meant)
    }

    /// Returns how long a request may take at most.
    fn longest(&self, work: Duration) -> Duration {
        let queued = match self.settings.when_busy {
            WhenBusy::Queue { timeout, .. } => timeout,
            // An offer takes the place of a newer one that failed, and waits like a new one.
            WhenBusy::Refuse | WhenBusy::Supersede => Duration::from_secs(1),
        };
        let following = if self.settings.replays {
            self.settings.wait_timeout
        } else {
            Duration::ZERO
        };
        // The claim and the messages before it, a displaced claim, the completion.
        queued.max(following) + work + Duration::from_secs(1)
    }
}

/// The side of the nodes.
impl Model {
    pub(crate) fn request_sent(&mut self, link: &Arc<Link>, offer: Offer) -> usize {
        self.runs.requests.push(Request {
            link: Arc::clone(link),
            offer,
            arrived: None,
            run: None,
            state: State::Open,
        });
        self.runs.requests.len() - 1
    }

    pub(crate) fn request_arrived(&mut self, request: usize) {
        self.note(|| format!("request {request} arrives"));
        self.runs.requests[request].arrived = Some(Instant::now());
    }

    pub(crate) fn left(&mut self, request: usize) {
        let state = &mut self.runs.requests[request].state;
        if *state == State::Open {
            *state = State::Gone;
            self.note(|| format!("request {request} leaves"));
        }
    }

    pub(crate) fn crashed(&mut self, node: usize) {
        for request in self
            .runs
            .requests
            .iter_mut()
            .filter(|request| request.link.node == node)
        {
            if request.state == State::Open {
                request.state = State::Gone;
            }
        }
        for run in self.runs.runs.iter_mut().filter(|run| run.link.node == node) {
            run.ended.get_or_insert_with(Instant::now);
        }
    }

    /// Returns the last request that is open, or one of those before it.
    pub(crate) fn open_request(&self, back: usize) -> Option<usize> {
        let requests = self.runs.requests.iter().enumerate().rev();
        let mut open = requests.filter(|(_, request)| request.state == State::Open);
        open.nth(back).map(|(number, _)| number)
    }

    /// Returns the session of the last run, or of one before it, if its node runs.
    pub(crate) fn session(&self, back: usize) -> Option<(usize, PeerKey, OfferSession)> {
        let run = self.runs.runs.iter().rev().nth(back)?;
        let session = run.session.clone().filter(|_| run.link.is_running())?;
        Some((run.link.node, run.peer, session))
    }

    /// Notes that a node is told to forget.
    pub(crate) fn commanded(&mut self, node: usize, peer: Option<PeerKey>) {
        self.runs.touched.push((node, peer, Instant::now()));
    }

    pub(crate) fn noticed(&mut self, node: usize, notice: &Notice) {
        self.note(|| format!("node {node} gets {notice:?}"));
        match *notice {
            Notice::Forgotten(peer, ..) => self.commanded(node, Some(peer)),
            Notice::Cleared => self.commanded(node, None),
            _ => {}
        }
        let is_meant = |peer: Option<PeerKey>, scope: Scope, last: Fence| match *notice {
            Notice::Forgotten(other, told, fence) => peer == Some(other) && scope == told && last == fence,
            Notice::Cleared => peer.is_none(),
            _ => false,
        };
        for forget in &mut self.forgets {
            if is_meant(forget.peer, forget.scope, forget.last) {
                forget.told.entry(node).or_insert_with(Instant::now);
            }
        }
    }

    pub(crate) fn run_started(&mut self, link: &Arc<Link>, message: &Message) -> usize {
        let (now, number) = (Instant::now(), self.runs.runs.len());
        let (request, fence) = (message.request, message.fence);
        self.note(|| format!("run {number} of request {request} starts with {fence:?}"));
        let run = Run {
            link: Arc::clone(link),
            peer: peer(message.offer.peer),
            text: message.offer.text,
            arrived: self.runs.requests[request].arrived.unwrap_or(now),
            fence,
            session: message.session.clone(),
            started: now,
            ended: None,
            end: None,
            acknowledged: None,
        };
        match fence {
            Some(fence) => self.check_granted(&run, fence),
            None => {
                let is_open = self.runs.settings.on_store_error == OnStoreError::FailOpen;
                self.expect(is_open && link.ever_had_trouble(), || {
                    format!("run {number} starts without a claim")
                });
            }
        }
        self.check_alone(&run);
        self.check_not_processed_here(&run);
        let is_first = self.runs.requests[request].run.replace(number).is_none();
        self.expect(is_first, || format!("request {request} runs twice"));
        self.runs.by_fence.extend(fence.map(|fence| (fence, number)));
        self.runs.runs.push(run);
        number
    }

    pub(crate) fn run_ended(&mut self, number: usize, end: Option<End>) {
        let run = &mut self.runs.runs[number];
        if run.ended.is_none() {
            run.ended = Some(Instant::now());
            run.end = end;
            self.note(|| format!("run {number} ends: {end:?}"));
        }
    }

    /// The claim was granted to this offer and this node, and it runs once. The offer was not processed, unless that
    /// happened after this claim was lost.
    fn check_granted(&mut self, run: &Run, fence: Fence) {
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
    fn check_alone(&mut self, run: &Run) {
        let others = self.runs.runs.iter().enumerate();
        let open = others.filter(|(_, other)| other.ended.is_none() && other.peer == run.peer);
        let overlaps: Vec<_> = open
            .filter(|(_, other)| !self.may_overlap(run, other))
            .map(|(number, other)| format!("run {number}, {:?}", other.fence.map(|fence| self.grants[&fence].lost)))
            .collect();
        self.expect(overlaps.is_empty(), || format!("{run:?} overlaps with {overlaps:?}"));
    }

    fn may_overlap(&self, run: &Run, other: &Run) -> bool {
        // A node that decides alone.
        let (Some(fence), Some(new)) = (other.fence, run.fence) else {
            return true;
        };
        let now = run.started;
        let is_same_node = other.link.node == run.link.node;
        if is_same_node && self.runs.was_touched(other, other.arrived) {
            return true;
        }
        match self.grants[&fence].lost {
            // The newcomer waits 100 ms for it to stop. On the same node it does so before it claims, unless the other one
            // is past its lease.
            Some((Loss::Superseded, at)) => {
                let waited = if is_same_node { run.arrived } else { at };
                let is_forgotten = self
                    .forgets
                    .iter()
                    .any(|forget| forget.at >= at && forget.concerns(run.peer));
                is_forgotten || now >= waited + STOP_TIME || now >= other.started + self.runs.settings.lease
            }
            Some((loss, _)) => self.is_excused(fence, loss, now),
            // The newcomer has lost its own claim.
            None => self.grants[&new]
                .lost
                .is_some_and(|(loss, _)| self.is_excused(new, loss, now)),
        }
    }

    /// Returns whether the node may still be processing though it has lost the claim.
    fn is_excused(&self, fence: Fence, loss: Loss, now: Instant) -> bool {
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

    fn link(&self, node: usize) -> Option<&Arc<Link>> {
        let mut links = self.runs.requests.iter().map(|request| &request.link);
        links.find(|link| link.node == node)
    }

    /// A node that has processed an offer does not do it again inside the window, whatever the store has lost.
    fn check_not_processed_here(&mut self, run: &Run) {
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
    fn is_remembered(&self, run: &Run) -> bool {
        let is_kept = run.fence.is_some_and(|fence| {
            let grant = &self.grants[&fence];
            !grant.is_forgotten && matches!(grant.lost, Some((Loss::Completed, _)))
        });
        is_kept && !self.runs.was_touched(run, run.arrived)
    }

    pub(crate) fn answered(&mut self, number: usize, reply: Result<Reply, Broken>) {
        let now = Instant::now();
        self.note(|| format!("request {number} is answered: {reply:?}"));
        let request = &mut self.runs.requests[number];
        let was_open = std::mem::replace(&mut request.state, State::Answered(reply)) == State::Open;
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
    fn check_replay(&mut self, number: usize, link: &Link, arrived: Instant, is_troubled: bool) {
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
    fn check_refused(&mut self, number: usize, reason: Reason, link: &Link, arrived: Instant) {
        let settings = self.runs.settings;
        let had_trouble = link.ever_had_trouble();
        let offer = self.runs.requests[number].offer;
        let was_processed =
            |run: &Run| (run.peer, run.text) == (peer(offer.peer), offer.text) && run.end == Some(End::Success);
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
            // Its claim went to another node.
            Reason::Aborted => self.runs.requests[number].run.is_some(),
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
        let is_leaked = |grant: &crate::model::Grant| {
            self.link(grant.node)
                .is_some_and(|link| !link.had_trouble_since(grant.granted))
        };
        let leaked: Vec<_> = self
            .held()
            .filter(|(_, grant)| !grant.is_stray && is_leaked(grant))
            .map(|(fence, _)| fence)
            .collect();
        self.expect(leaked.is_empty(), || format!("claims {leaked:?} are held for ever"));
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            link,
            peer,
            text,
            fence,
            ..
        } = self;
        write!(f, "a run on node {} of {peer:?}, text {text}, {fence:?}", link.node)
    }
}
