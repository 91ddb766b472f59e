//! `finish_abandoned`: processing continues in its own task when the client goes away.

mod support;

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::FutureExt;
use support::{
    End, Message, Reply, SECOND, at_once, is_answer,
    layered::{Layered, Policy},
    offer, offers, pending, reason, refuse, settle,
};
use tokio::{runtime, sync::oneshot, time::advance};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task::spawn};
use tower::{Layer, Service, service_fn};
use tower_offer_dedup::{OfferDedupBuilder, OfferDedupLayer, Reason, Refuse, WhenBusy};
use tracing::{Instrument, Span, debug_span};

fn queueing(builder: OfferDedupBuilder) -> OfferDedupBuilder {
    builder.when_busy(WhenBusy::Queue {
        depth: 8,
        timeout: 10 * SECOND,
    })
}

#[tokio::test(start_paused = true)]
async fn processing_outlives_client_and_answers_retry() {
    for policy in Policy::DETACHED {
        for is_polled in [false, true] {
            let mut layered = Layered::new(policy, |builder| builder);
            let mut first = layered.call(offer("p", "f"));
            if is_polled {
                assert_pending!(first.poll());
            }
            drop(first);
            settle().await;
            assert!(layered.handle.is_processing("p"));
            layered.manual.end(End::Answer);
            settle().await;
            layered.assert_idle();

            let retry = at_once(&mut layered.service, offer("p", "f"));
            if policy.replays() {
                assert_eq!(retry, Ok(Reply::Answer(0)));
            } else {
                assert_eq!(reason(retry), Reason::Processed);
            }
            let stats = layered.stats();
            assert_eq!((stats.admitted, stats.completed, stats.abandoned), (1, 1, 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn early_retry_waits_for_abandoned_answer() {
    let mut layered = Layered::new(Policy::ReplayDetached, |builder| builder);
    drop(layered.call(offer("p", "f")));
    let mut retry = pending(&mut layered.service, offer("p", "f"));
    layered.manual.end(End::Answer);
    settle().await;
    assert!(retry.is_woken());
    assert_eq!(assert_ready_ok!(retry.poll()), Reply::Answer(0));
    assert_eq!(layered.manual.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn abandoned_failure_may_be_retried() {
    for (policy, end) in [
        (Policy::ReplayDetached, End::Failure),
        (Policy::RefuseDetached, End::Broken),
    ] {
        let mut layered = Layered::new(policy, |builder| builder);
        drop(layered.call(offer("p", "f")));
        layered.manual.end(end);
        settle().await;
        layered.assert_idle();
        drop(pending(&mut layered.service, offer("p", "f")));
        assert_eq!(layered.manual.calls(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn abandoned_waiter_is_not_processed() {
    let mut layered = Layered::new(Policy::ReplayDetached, queueing);
    let first = pending(&mut layered.service, offer("p", "f"));
    let follower = pending(&mut layered.service, offer("p", "f"));
    let queued = pending(&mut layered.service, offer("p", "g"));
    drop((follower, queued));
    layered.manual.end(End::Failure);
    assert_eq!(first.await, Ok(Reply::Failure(0)));
    settle().await;
    assert_eq!(layered.manual.calls(), 1);
    layered.assert_idle();
    assert_eq!(layered.stats().waits_abandoned, 2);
}

#[tokio::test(start_paused = true)]
async fn admitted_queued_offer_is_finished() {
    let mut layered = Layered::new(Policy::RefuseDetached, queueing);
    let first = pending(&mut layered.service, offer("p", "f"));
    let mut queued = pending(&mut layered.service, offer("p", "g"));
    layered.manual.end(End::Failure);
    first.await.unwrap();
    assert_pending!(queued.poll());
    drop(queued);
    settle().await;
    layered.manual.end(End::Answer);
    settle().await;
    assert_eq!(
        reason(at_once(&mut layered.service, offer("p", "g"))),
        Reason::Processed
    );
}

#[tokio::test(start_paused = true)]
async fn drain_waits_for_abandoned_work() {
    let mut layered = Layered::new(Policy::RefuseDetached, |builder| builder);
    let handle = layered.handle.clone();
    let mut drain = spawn(handle.drain());
    assert_ready!(drain.poll());
    drop(layered.call(offer("p", "f")));
    drop(layered.call(offer("q", "f")));
    layered.handle.forget("q");
    let mut drain = spawn(handle.drain());
    assert_pending!(drain.poll());
    for _ in 0..2 {
        assert!(!drain.is_woken());
        assert_pending!(drain.poll());
        layered.manual.end(End::Answer);
        settle().await;
    }
    assert!(drain.is_woken());
    assert_ready!(drain.poll());
    layered.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn panic_reaches_only_a_live_caller() {
    for policy in Policy::DETACHED {
        for is_caller_there in [true, false] {
            let mut layered = Layered::new(policy, |builder| builder);
            let first = layered.call(offer("p", "f"));
            let caller = is_caller_there.then_some(first);
            settle().await;
            layered.manual.end(End::Panic);
            if let Some(caller) = caller {
                let panic = AssertUnwindSafe(caller).catch_unwind().await.unwrap_err();
                assert_eq!(panic.downcast_ref(), Some(&"processing panics"));
            }
            settle().await;
            layered.assert_idle();
            assert_eq!(layered.stats().abandoned, 1);
            drop(pending(&mut layered.service, offer("p", "f")));
            assert_eq!(layered.manual.calls(), 2);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn overdue_task_is_aborted_on_takeover() {
    for policy in Policy::DETACHED {
        let mut layered = Layered::new(policy, |builder| builder.lease(5 * SECOND));
        let mut overdue = pending(&mut layered.service, offer("p", "f"));
        advance(5 * SECOND - Duration::from_nanos(1)).await;
        assert_eq!(reason(at_once(&mut layered.service, offer("p", "g"))), Reason::Busy);
        advance(Duration::from_nanos(1)).await;
        settle().await;
        assert!(!overdue.is_woken(), "aborted before another offer took over");
        let next = pending(&mut layered.service, offer("p", "g"));
        settle().await;
        assert!(layered.manual.was_dropped());
        assert!(overdue.is_woken());
        assert_eq!(reason(assert_ready!(overdue.poll())), Reason::TimedOut);

        layered.manual.end(End::Answer);
        assert!(is_answer(&next.await.unwrap()));
        let stats = layered.stats();
        assert_eq!(
            (stats.taken_over, stats.abandoned, stats.completed, stats.claims),
            (1, 1, 1, 0)
        );
        // An aborted offer is not remembered.
        advance(2 * SECOND).await;
        drop(pending(&mut layered.service, offer("p", "f")));
    }
}

#[tokio::test]
async fn task_runs_in_the_callers_span() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let inner = {
        let seen = Arc::clone(&seen);
        service_fn(move |_: Message| {
            let seen = Arc::clone(&seen);
            async move {
                tokio::task::yield_now().await;
                seen.lock().unwrap().push(Span::current().id());
                Ok::<_, Infallible>(Reply::Answer(0))
            }
        })
    };
    let layer = OfferDedupLayer::builder()
        .offers(offers)
        .answer(Refuse::with(refuse))
        .finish_abandoned()
        .build();
    let mut service = layer.layer(inner);
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry());
    let span = debug_span!("connection");
    let call = span.in_scope(|| service.call(offer("p", "f")));
    call.instrument(debug_span!("elsewhere")).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [span.id()]);
}

#[test]
fn runtime_shutdown_releases_the_peer() {
    let calls = Arc::new(AtomicUsize::new(0));
    let inner = {
        let calls = Arc::clone(&calls);
        service_fn(move |_: Message| {
            calls.fetch_add(1, Relaxed);
            std::future::pending::<Result<Reply, Infallible>>()
        })
    };
    let layer = OfferDedupLayer::builder()
        .offers(offers)
        .answer(Refuse::with(refuse))
        .finish_abandoned()
        .build();
    let mut service = layer.layer(inner);
    for threads in [1, 2] {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_time()
            .build()
            .unwrap();
        let entered = runtime.enter();
        drop(service.call(offer("p", "f")));
        assert!(layer.handle().is_processing("p"));
        drop(entered);
        drop(runtime);
        assert!(!layer.handle().is_processing("p"));
        assert_eq!(layer.handle().stats().claims, 0);
    }
    assert_eq!(calls.load(Relaxed), 2);
}

#[test]
fn panic_outside_runtime_holds_nothing() {
    let mut layered = Layered::new(Policy::RefuseDetached, |builder| builder);
    let service = &mut layered.service;
    let call = std::panic::catch_unwind(AssertUnwindSafe(|| drop(service.call(offer("p", "f")))));
    assert!(call.is_err());
    layered.assert_idle();
    assert!(!layered.handle.forget("p"));
}

#[tokio::test]
async fn response_may_move_to_another_thread() {
    let mut layered = Layered::new(Policy::ReplayDetached, |builder| builder);
    let (sender, receiver) = oneshot::channel();
    let response = layered.call(offer("p", "f"));
    std::thread::spawn(move || sender.send(response.now_or_never().is_none()));
    assert!(receiver.await.unwrap());
    settle().await;
    layered.manual.end(End::Answer);
    settle().await;
    assert_eq!(at_once(&mut layered.service, offer("p", "f")), Ok(Reply::Answer(0)));
}
