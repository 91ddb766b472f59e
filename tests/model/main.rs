//! Random histories of one layer against the reference model.

#[path = "../common/mod.rs"]
mod common;
mod reference;
mod terms;

use std::{
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    task::Poll,
    time::Duration,
};

use common::{
    Broken, Desk, End as DeskEnd, Message, Reply, is_answer, offer, offers, refuse,
    station::{Boxed, Pending},
};
use proptest::{prelude::*, sample::select, test_runner::Config};
use reference::Model;
use terms::{End, Peer, Quality, Request, Rules, State};
use tokio::{runtime, time::advance};
use tokio_test::task::spawn;
use tower::{Layer, Service};
use tower_offer_dedup::{OfferDedupHandle, OfferDedupLayer, Reason, Refuse, Replay, Stats, WhenBusy};

/// All deadlines fall between two steps, so that none is a tie.
const STEP: Duration = Duration::from_millis(500);

#[derive(Clone, Debug)]
enum Op {
    Offer(Peer, u8),
    /// Ends the n-th of those that are processed.
    End(usize, End),
    /// Drops the n-th of those that are not answered.
    Drop(usize),
    Forget(Peer),
    Clear,
    Steps(u32),
}

/// The layer, and what has become of each request.
struct Real {
    desk: Desk,
    service: Boxed,
    handle: OfferDedupHandle,
    requests: Vec<(Option<Pending>, Option<State>)>,
}

impl Real {
    fn new(rules: Rules) -> Self {
        let builder = OfferDedupLayer::builder()
            .offers(offers as fn(&Message) -> _)
            .window(rules.window)
            .cooldown(rules.cooldown)
            .lease(rules.lease)
            .when_busy(
                rules
                    .queue
                    .map_or(WhenBusy::Refuse, |(depth, timeout)| WhenBusy::Queue { depth, timeout }),
            )
            .remember_failures(rules.remembers_failures);
        let desk = Desk::default();
        let (service, handle) = if rules.replays {
            let (limit, timeout) = rules.duplicates;
            let layer = builder
                .answer(Replay::with(refuse).success_if(is_answer).limit(limit).timeout(timeout))
                .build();
            (Boxed::new(layer.layer(desk.clone())), layer.handle())
        } else {
            let layer = builder.answer(Refuse::with(refuse).success_if(is_answer)).build();
            (Boxed::new(layer.layer(desk.clone())), layer.handle())
        };
        Self {
            desk,
            service,
            handle,
            requests: Vec::new(),
        }
    }

    fn offer(&mut self, peer: Peer, text: u8) {
        let mut request = spawn(self.service.call(offer(peer, text.to_string())));
        let state = poll(&mut request);
        self.requests.push((Some(request), state));
    }

    /// Polls whoever is woken, until nobody is; those who are not must have no reason to be.
    fn settle(&mut self) {
        let is_woken = |(request, state): &(Option<Pending>, Option<State>)| {
            state.is_none() && request.as_ref().is_some_and(|request| request.is_woken())
        };
        while let Some(woken) = self.requests.iter().position(is_woken) {
            let (request, state) = &mut self.requests[woken];
            *state = request.as_mut().and_then(poll);
        }
    }
}

fn poll(request: &mut Pending) -> Option<State> {
    Some(match catch_unwind(AssertUnwindSafe(|| request.poll())) {
        Ok(Poll::Pending) => return None,
        Ok(Poll::Ready(Ok(Reply::Answer(call)))) => State::Answered(call, Quality::Success),
        Ok(Poll::Ready(Ok(Reply::Failure(call)))) => State::Answered(call, Quality::Failure),
        Ok(Poll::Ready(Ok(Reply::Refused(reason, retry)))) => State::Refused(reason, retry),
        Ok(Poll::Ready(Err(Broken))) => State::Erred,
        Err(_) => State::Panicked,
    })
}

async fn run(rules: Rules, ops: &[Op]) -> Result<(), TestCaseError> {
    let (mut real, mut model) = (Real::new(rules), Model::new(rules));
    let mut now = Duration::ZERO;
    for (n, op) in ops.iter().enumerate() {
        let nth = |n: usize, counts: fn(&Request) -> bool| {
            let ids: Vec<_> = (0..model.requests.len())
                .filter(|id| counts(&model.requests[*id]))
                .collect();
            (!ids.is_empty()).then(|| ids[n % ids.len()])
        };
        match *op {
            Op::Offer(peer, text) => {
                real.offer(peer, text);
                model.offer(peer, text, now);
            }
            Op::End(n, end) => {
                let Some(id) = nth(n, |request| request.state == State::Processed) else {
                    continue;
                };
                let (_, call) = model.requests[id].called.unwrap();
                let desk_end = match end {
                    End::Answer(Quality::Success) => DeskEnd::Answer,
                    End::Answer(Quality::Failure) => DeskEnd::Failure,
                    End::Err => DeskEnd::Broken,
                    End::Panic => DeskEnd::Panic,
                };
                prop_assert!(real.desk.end_nth(call, desk_end), "op {n}: the call is not there");
                model.end(id, end, now);
            }
            Op::Drop(n) => {
                let Some(id) = nth(n, |request| matches!(request.state, State::Processed | State::Waits)) else {
                    continue;
                };
                real.requests[id] = (None, Some(State::Dropped));
                model.drop(id, now);
            }
            Op::Forget(peer) => {
                prop_assert_eq!(real.handle.forget(peer), model.forget(peer, now), "op {}", n);
            }
            Op::Clear => {
                real.handle.clear();
                model.clear(now);
            }
            Op::Steps(steps) => {
                for _ in 0..steps {
                    now += STEP;
                    advance(STEP).await;
                    real.settle();
                    model.settle(now);
                }
            }
        }
        real.settle();
        compare(&real, &model).map_err(|error| TestCaseError::fail(format!("op {n}, {op:?}: {error}")))?;
    }
    count(&real.handle.stats(), &model)
}

fn compare(real: &Real, model: &Model) -> Result<(), TestCaseError> {
    for (id, ((_, state), request)) in real.requests.iter().zip(&model.requests).enumerate() {
        let expected = match request.state {
            State::Waits | State::Processed => None,
            state => Some(state),
        };
        prop_assert_eq!(*state, expected, "request {}: {:?}", id, request);
        if let Some((_, call)) = request.called {
            prop_assert!(call < real.desk.calls(), "request {} is not called", id);
            prop_assert_eq!(real.desk.call_text(call), request.offer.to_string(), "request {}", id);
        }
    }
    let in_state = |state| model.requests.iter().filter(|request| request.state == state).count();
    let Stats { claims, waiters, .. } = real.handle.stats();
    prop_assert_eq!(
        (claims, waiters),
        (in_state(State::Processed) as u64, in_state(State::Waits) as u64)
    );
    for peer in PEERS {
        prop_assert_eq!(
            real.handle.is_processing(peer),
            model.holder(peer).is_some(),
            "{}",
            peer
        );
    }
    Ok(())
}

/// The counters of a whole history.
fn count(stats: &Stats, model: &Model) -> Result<(), TestCaseError> {
    let count =
        |counts: &dyn Fn(&Request) -> bool| model.requests.iter().filter(|request| counts(request)).count() as u64;
    let refused = |reason| count(&|request| matches!(request.state, State::Refused(is, _) if is == reason));
    let called = |state: fn(&State) -> bool| count(&|request| request.called.is_some() && state(&request.state));
    let expected = [
        ("admitted", stats.admitted, called(|_| true)),
        (
            "completed",
            stats.completed,
            called(|state| matches!(state, State::Answered(_, Quality::Success))),
        ),
        (
            "failed",
            stats.failed,
            called(|state| matches!(state, State::Answered(_, Quality::Failure) | State::Erred)),
        ),
        (
            "abandoned",
            stats.abandoned,
            called(|state| matches!(state, State::Dropped | State::Panicked)),
        ),
        (
            "waits",
            stats.waits_abandoned,
            count(&|request| request.called.is_none() && request.state == State::Dropped),
        ),
        ("replayed", stats.replayed, model.replayed.len() as u64),
        ("in flight", stats.refused_in_flight, refused(Reason::InFlight)),
        ("processed", stats.refused_processed, refused(Reason::Processed)),
        ("not recorded", stats.refused_not_recorded, refused(Reason::NotRecorded)),
        ("busy", stats.refused_busy, refused(Reason::Busy)),
        ("cooling", stats.refused_cooling_down, refused(Reason::CoolingDown)),
        ("queue full", stats.refused_queue_full, refused(Reason::QueueFull)),
        ("timed out", stats.refused_timed_out, refused(Reason::TimedOut)),
        ("taken over", stats.taken_over, model.taken_over),
        ("forgotten", stats.forgotten, model.forgotten),
    ];
    for (name, is, should_be) in expected {
        prop_assert_eq!(is, should_be, "{}", name);
    }
    Ok(())
}

const PEERS: [Peer; 2] = ["p", "q"];

/// Between two steps, whatever it is added to.
fn between(steps: &'static [u64]) -> impl Strategy<Value = Duration> {
    select(steps).prop_map(|ms| Duration::from_millis(ms) + STEP / 2)
}

fn rules() -> impl Strategy<Value = Rules> {
    let or_zero = |strategy| prop_oneof![1 => Just(Duration::ZERO), 3 => strategy];
    let queue = prop::option::weighted(0.7, (0_usize..4, between(&[2000, 6000, 20_000])));
    (
        (any::<bool>(), any::<bool>(), queue),
        or_zero(between(&[4000, 12_000]).boxed()),
        or_zero(between(&[1000, 3000]).boxed()),
        between(&[1500, 3000, 30_000]),
        (0_usize..4, between(&[2500, 10_000])),
    )
        .prop_map(
            |((replays, remembers_failures, queue), window, cooldown, lease, duplicates)| Rules {
                replays,
                window,
                cooldown,
                lease,
                queue,
                duplicates,
                remembers_failures,
            },
        )
}

fn op() -> impl Strategy<Value = Op> {
    let end = prop_oneof![
        4 => Just(End::Answer(Quality::Success)),
        2 => Just(End::Answer(Quality::Failure)),
        1 => Just(End::Err),
        1 => Just(End::Panic),
    ];
    prop_oneof![
        12 => (select(&PEERS[..]), 0_u8..4).prop_map(|(peer, text)| Op::Offer(peer, text)),
        6 => (any::<usize>(), end).prop_map(|(n, end)| Op::End(n, end)),
        2 => any::<usize>().prop_map(Op::Drop),
        1 => select(&PEERS[..]).prop_map(Op::Forget),
        1 => Just(Op::Clear),
        5 => (1_u32..8).prop_map(Op::Steps),
    ]
}

#[test]
fn the_layer_does_what_the_model_does() {
    let hook = take_hook();
    // The inner service panics on purpose.
    set_hook(Box::new(|_| ()));
    let mut runner = proptest::test_runner::TestRunner::new(Config {
        cases: 3000,
        failure_persistence: None,
        ..Config::default()
    });
    let history = (rules(), prop::collection::vec(op(), 1..60));
    let result = runner.run(&history, |(rules, ops)| {
        let runtime = runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(rules, &ops))
    });
    set_hook(hook);
    if let Err(error) = result {
        panic!("{error}");
    }
}
