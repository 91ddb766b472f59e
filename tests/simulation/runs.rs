//! [`Runs`]: the requests and the inner calls.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use tokio::time::Instant;
use tower_offer_dedup::{
    OfferSession, PeerKey, WhenBusy,
    store::{Fence, Notice, OnStoreError, Scope},
};

use crate::{
    link::Link,
    model::Model,
    node::{Broken, Message, Reply, peer},
    plan::{End, Offer, Plan, Settings},
};

/// The requests and the inner calls so far.
#[derive(Debug)]
pub(crate) struct Runs {
    pub(crate) settings: Settings,
    /// `true` if calls may fail without a cut.
    pub(crate) may_fail: bool,
    /// Nodes' seconds in one of the store's, if that is longer.
    pub(crate) stretch: f64,
    pub(crate) requests: Vec<Request>,
    pub(crate) runs: Vec<Run>,
    pub(crate) by_fence: HashMap<Fence, usize>,
    /// The nodes that have forgotten something, with the peer, or `None` for all.
    pub(crate) touched: Vec<(usize, Option<PeerKey>, Instant)>,
}

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) link: Arc<Link>,
    pub(crate) offer: Offer,
    /// When the node got it.
    pub(crate) arrived: Option<Instant>,
    pub(crate) run: Option<usize>,
    pub(crate) state: State,
    /// When it was answered, or its client left.
    pub(crate) ended: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum State {
    Open,
    Answered(Result<Reply, Broken>),
    /// The client has left, or the node has died.
    Gone,
}

/// An inner call.
pub(crate) struct Run {
    pub(crate) link: Arc<Link>,
    pub(crate) peer: PeerKey,
    pub(crate) text: u8,
    pub(crate) request: usize,
    pub(crate) fence: Option<Fence>,
    pub(crate) session: Option<OfferSession>,
    pub(crate) started: Instant,
    pub(crate) ended: Option<Instant>,
    /// `None` if it was dropped.
    pub(crate) end: Option<End>,
    /// When its completion took effect in the store, and under which number. A copy of the claim may have got another one.
    pub(crate) acknowledged: Option<(Instant, Fence)>,
}

impl Request {
    /// Returns whether it was open.
    pub(crate) fn end(&mut self, state: State) -> bool {
        let was_open = self.state == State::Open;
        if was_open {
            self.state = state;
            self.ended = Some(Instant::now());
        }
        was_open
    }
}

impl Runs {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            settings: plan.settings,
            may_fail: plan.faults.may_fail(),
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
    pub(crate) fn was_touched(&self, run: &Run, since: Instant) -> bool {
        let is_meant = |(node, peer, at): &(usize, Option<PeerKey>, Instant)| {
            *node == run.link.node && peer.is_none_or(|peer| peer == run.peer) && *at >= since
        };
        self.touched.iter().any(is_meant)
    }

    /// Returns when the request of a run arrived.
    pub(crate) fn arrived(&self, run: &Run) -> Instant {
        self.requests[run.request].arrived.unwrap_or(run.started)
    }

    /// Returns when the request of a run was answered.
    pub(crate) fn answered(&self, run: &Run) -> Option<Instant> {
        let request = &self.requests[run.request];
        request.ended.filter(|_| matches!(request.state, State::Answered(_)))
    }

    /// Returns whether a request on the node of a run waits for its answer at that time.
    pub(crate) fn was_attended(&self, run: &Run, at: Instant) -> bool {
        let follows = |request: &Request| {
            let is_same = (peer(request.offer.peer), request.offer.text) == (run.peer, run.text);
            self.settings.replays && is_same && request.link.node == run.link.node
        };
        let waits = |request: &Request| {
            request.arrived.is_some_and(|arrived| arrived <= at) && request.ended.is_none_or(|ended| ended >= at)
        };
        let own = &self.requests[run.request];
        waits(own) || self.requests.iter().any(|request| follows(request) && waits(request))
    }

    /// Returns how long a request may take at most.
    pub(crate) fn longest(&self, work: Duration) -> Duration {
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
            ended: None,
        });
        self.runs.requests.len() - 1
    }

    pub(crate) fn request_arrived(&mut self, request: usize) {
        self.note(|| format!("request {request} arrives"));
        self.runs.requests[request].arrived = Some(Instant::now());
    }

    pub(crate) fn left(&mut self, request: usize) {
        if self.runs.requests[request].end(State::Gone) {
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
            request.end(State::Gone);
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
            request,
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
                let may_fail = self.runs.may_fail || link.ever_had_trouble();
                self.expect(is_open && may_fail, || format!("run {number} starts without a claim"));
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
