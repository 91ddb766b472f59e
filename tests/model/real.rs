//! The layer itself, as its clients see it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::Poll,
};

use proptest::{prop_assert, test_runner::TestCaseError};
use tokio::task::yield_now;
use tokio_test::task::{Spawn, spawn};
use tower::{Layer, Service, util::BoxCloneService};
use tower_offer_dedup::{OfferDedupHandle, OfferDedupLayer, Refuse, Replay};

use crate::{
    inner::{Inner, Message, offers},
    support::{Broken, Reply, is_answer, refuse},
    terms::{Id, Quality, Rules, State, Time},
};

type Boxed = BoxCloneService<Message, Reply, Broken>;
type Drain = Spawn<Pin<Box<dyn Future<Output = ()>>>>;
type Call = Spawn<<Boxed as Service<Message>>::Future>;

pub(crate) struct Real {
    pub(crate) inner: Inner,
    pub(crate) handle: OfferDedupHandle,
    pub(crate) requests: Vec<Request>,
    service: Boxed,
    detaches: bool,
    drain: Option<Drain>,
}

/// A request and its result so far.
pub(crate) struct Request {
    call: Option<Call>,
    pub(crate) state: Option<State>,
    /// `true` while the client does not poll the request.
    pub(crate) is_held: bool,
    /// The times of the last poll and of the one before.
    pub(crate) polled: Time,
    pub(crate) polled_before: Time,
    /// `true` if a poll after a wake-up had no result.
    pub(crate) woke_without_result: bool,
}

impl Real {
    pub(crate) fn new(rules: Rules) -> Self {
        let builder = OfferDedupLayer::builder()
            .offers(offers as fn(&Message) -> _)
            .window(rules.window)
            .cooldown(rules.cooldown)
            .lease(rules.lease)
            .when_busy(rules.when_busy)
            .remember_failures(rules.remembers_failures);
        let builder = if rules.has_memory {
            builder
        } else {
            builder.max_memory(0)
        };
        let inner = Inner::default();
        macro_rules! built {
            ($builder:expr) => {{
                let layer = $builder.build();
                (Boxed::new(layer.layer(inner.clone())), layer.handle())
            }};
        }
        let (limit, timeout) = rules.duplicates;
        let refusing = Refuse::with(refuse).success_if(is_answer);
        let replaying = Replay::with(refuse)
            .success_if(is_answer)
            .weigher(move |_: &Reply| rules.records.then_some(100))
            .max_waiters(limit)
            .wait_timeout(timeout);
        let (service, handle) = match (rules.replays, rules.detaches) {
            (false, false) => built!(builder.answer(refusing)),
            (false, true) => built!(builder.answer(refusing).finish_abandoned()),
            (true, false) => built!(builder.answer(replaying)),
            (true, true) => built!(builder.answer(replaying).finish_abandoned()),
        };
        Self {
            inner,
            handle,
            requests: Vec::new(),
            service,
            detaches: rules.detaches,
            drain: None,
        }
    }

    pub(crate) fn offer(&mut self, message: Message, now: Time) {
        let mut request = Request {
            call: None,
            state: None,
            is_held: false,
            polled: now,
            polled_before: now,
            woke_without_result: false,
        };
        let service = &mut self.service;
        match catch_unwind(AssertUnwindSafe(|| spawn(service.call(message)))) {
            Ok(mut call) => {
                request.state = poll(&mut call);
                request.call = Some(call);
            }
            Err(_) => request.state = Some(State::Panicked),
        }
        self.requests.push(request);
    }

    pub(crate) fn drop(&mut self, id: Id) {
        let request = &mut self.requests[id];
        (request.call, request.state) = (None, Some(State::Dropped));
    }

    /// Polls woken requests, unless they are held, until no more are woken. `compare` then checks that no sleeper was
    /// missed.
    pub(crate) async fn settle(&mut self, now: Time) -> Result<(), TestCaseError> {
        let mut polls = 0;
        loop {
            while let Some(request) = self.requests.iter_mut().find(|request| request.is_woken()) {
                request.poll(now);
                polls += 1;
                prop_assert!(polls < 10_000, "a request spins");
            }
            if self.detaches {
                // Lets detached tasks run.
                yield_now().await;
                yield_now().await;
            }
            if !self.requests.iter().any(Request::is_woken) {
                return Ok(());
            }
        }
    }

    /// Polls the current drain, or starts one. Returns `true` if it resolves.
    pub(crate) fn is_drained(&mut self) -> bool {
        let is_new = self.drain.is_none();
        let drain = self.drain.get_or_insert_with(|| {
            let handle = self.handle.clone();
            spawn(Box::pin(async move { handle.drain().await }))
        });
        let is_drained = (is_new || drain.is_woken()) && drain.poll().is_ready();
        if is_drained {
            self.drain = None;
        }
        is_drained
    }
}

impl Request {
    fn is_woken(&self) -> bool {
        !self.is_held && self.state.is_none() && self.call.as_ref().is_some_and(|call| call.is_woken())
    }

    fn poll(&mut self, now: Time) {
        self.state = self.call.as_mut().and_then(poll);
        self.woke_without_result |= self.state.is_none();
        (self.polled_before, self.polled) = (self.polled, now);
    }
}

fn poll(call: &mut Call) -> Option<State> {
    Some(match catch_unwind(AssertUnwindSafe(|| call.poll())) {
        Ok(Poll::Pending) => return None,
        Ok(Poll::Ready(Ok(Reply::Answer(id)))) => State::Answered(id, Quality::Success),
        Ok(Poll::Ready(Ok(Reply::Failure(id)))) => State::Answered(id, Quality::Failure),
        Ok(Poll::Ready(Ok(Reply::Refused(reason, retry)))) => State::Refused(reason, retry),
        Ok(Poll::Ready(Err(Broken))) => State::Erred,
        Err(_) => State::Panicked,
    })
}
