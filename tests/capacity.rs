//! Duplicates never wait for inner capacity and never hold any. No capacity is lost.

mod support;

use std::{sync::Arc, time::Duration};

use support::{
    End, ManualService, Message, NANO, Reply, SECOND, at_once, is_answer,
    layered::{Policy, around},
    offer, offers, other, pending, reason, refuse,
};
use tokio::{
    sync::Semaphore,
    time::{advance, timeout},
};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task::spawn};
use tower::{
    BoxError, Layer, Service, ServiceBuilder, ServiceExt, buffer::BufferLayer, limit::GlobalConcurrencyLimitLayer,
    load_shed::LoadShedLayer, util::BoxCloneSyncService,
};
use tower_offer_dedup::{OfferDedupLayer, Reason, Refuse, Replay, WhenBusy};

/// A concurrency limit of one around the inner service. The semaphore shows the permits left.
fn limited(
    manual: &ManualService,
) -> (
    impl Service<Message, Response = Reply, Error = support::Broken, Future: Send> + Clone + Send + use<>,
    Arc<Semaphore>,
) {
    let capacity = Arc::new(Semaphore::new(1));
    let limit = GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&capacity));
    (limit.layer(manual.clone()), capacity)
}

#[tokio::test]
async fn duplicates_skip_a_saturated_limit() {
    for policy in [Policy::Refuse, Policy::RefuseDetached] {
        let manual = ManualService::default();
        let (inner, capacity) = limited(&manual);
        let (mut service, handle) = around(inner, policy, |builder| builder);
        let mut first = spawn(service.call(offer("p", "f")));
        assert_pending!(first.poll());
        let mut waits_for_capacity = spawn(service.call(offer("q", "f")));
        assert_pending!(waits_for_capacity.poll());
        assert_eq!(capacity.available_permits(), 0);

        // Each duplicate arrives on its own connection, which then stays idle.
        let mut idle = Vec::new();
        for peer in ["p", "q"] {
            for _ in 0..5 {
                let mut connection = service.clone();
                let refused = connection.ready().await.unwrap().call(offer(peer, "f"));
                assert_eq!(reason(assert_ready!(spawn(refused).poll())), Reason::InFlight);
                idle.push(connection);
            }
        }
        manual.end(End::Answer);
        first.await.unwrap();
        tokio::task::yield_now().await;
        let _ = waits_for_capacity.poll();
        assert_eq!(manual.calls(), 2, "{policy:?}: an idle connection waits for capacity");
        manual.end(End::Answer);
        waits_for_capacity.await.unwrap();
        assert_eq!(capacity.available_permits(), 1);
        assert_eq!(handle.stats().claims, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_duplicates_hold_no_capacity() {
    let manual = ManualService::default();
    let (inner, capacity) = limited(&manual);
    let (mut service, _) = around(inner, Policy::Replay, |builder| {
        builder.when_busy(WhenBusy::Queue {
            depth: 8,
            timeout: Duration::from_secs(10),
        })
    });
    let mut first = spawn(service.call(offer("p", "f")));
    assert_pending!(first.poll());
    let mut duplicates: Vec<_> = (0..8).map(|_| spawn(service.call(offer("p", "f")))).collect();
    let mut queued = spawn(service.call(offer("p", "g")));
    duplicates
        .iter_mut()
        .for_each(|duplicate| assert_pending!(duplicate.poll()));
    assert_pending!(queued.poll());

    manual.end(End::Answer);
    assert_ready_ok!(first.poll());
    assert_eq!(capacity.available_permits(), 1);
    assert!(
        duplicates.iter().all(|duplicate| duplicate.is_woken()),
        "followers were not woken together"
    );
    for duplicate in &mut duplicates {
        assert_eq!(assert_ready_ok!(duplicate.poll()), Reply::Answer(0));
    }
    drop((duplicates, queued));
    assert_eq!(capacity.available_permits(), 1);
}

#[tokio::test]
async fn dropped_calls_return_their_capacity() {
    for policy in Policy::INLINE {
        for message in [offer("q", "f"), other("q")] {
            for is_polled in [false, true] {
                let manual = ManualService::default();
                let (inner, capacity) = limited(&manual);
                let (mut service, handle) = around(inner, policy, |builder| builder);
                let mut holds_it = spawn(service.call(offer("p", "f")));
                assert_pending!(holds_it.poll());
                let mut waits = spawn(service.call(message.clone()));
                if is_polled {
                    assert_pending!(waits.poll());
                }
                drop(waits);
                assert!(!handle.is_processing("q"));
                drop(holds_it);
                assert_eq!(capacity.available_permits(), 1);

                // The permit was granted, but the future is never polled again.
                let holds_it = spawn(service.call(other("p")));
                let mut granted = spawn(service.call(message.clone()));
                assert_pending!(granted.poll());
                drop(holds_it);
                assert!(granted.is_woken());
                drop(granted);
                assert_eq!(capacity.available_permits(), 1, "{policy:?}, {message:?}");
                assert_eq!(handle.stats().claims, 0);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn lease_starts_when_inner_is_called() {
    let manual = ManualService::default();
    let (inner, _) = limited(&manual);
    let (mut service, handle) = around(inner, Policy::Refuse, |builder| builder.lease(3 * SECOND));
    let first = pending(&mut service, offer("p", "f"));
    let mut waits = pending(&mut service, offer("q", "f"));
    advance(10 * SECOND).await;
    assert_eq!(reason(at_once(&mut service, offer("q", "g"))), Reason::Busy);
    drop(first);
    assert_pending!(waits.poll());
    advance(3 * SECOND - NANO).await;
    assert_eq!(reason(at_once(&mut service, offer("q", "g"))), Reason::Busy);
    advance(NANO).await;
    let _next = pending(&mut service, offer("q", "g"));
    assert_eq!(handle.stats().taken_over, 1);
}

#[tokio::test]
async fn fifty_duplicates_make_one_call() {
    let manual = ManualService::default();
    let (inner, capacity) = limited(&manual);
    let (service, handle) = around(inner, Policy::Replay, |builder| builder);
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let mut service = service.clone();
            tokio::spawn(async move { service.ready().await?.call(offer("p", "f")).await })
        })
        .collect();
    while handle.stats().waiters < 49 {
        tokio::task::yield_now().await;
    }
    manual.end(End::Answer);
    for call in calls {
        assert_eq!(call.await.unwrap(), Ok(Reply::Answer(0)));
    }
    assert_eq!((manual.calls(), capacity.available_permits()), (1, 1));
    assert_eq!(handle.stats().replayed, 49);
}

#[tokio::test]
async fn shed_offer_is_not_remembered() {
    let manual = ManualService::default();
    let layer = OfferDedupLayer::builder()
        .offers(offers)
        .answer(Refuse::with(refuse))
        .build();
    let mut service = ServiceBuilder::new()
        .layer(layer.clone())
        .layer(LoadShedLayer::new())
        .concurrency_limit(1)
        .service(manual.clone());
    let mut first = spawn(service.call(offer("p", "f")));
    assert_pending!(first.poll());
    let shed: BoxError = service.call(offer("q", "f")).await.unwrap_err();
    assert!(shed.is::<tower::load_shed::error::Overloaded>());
    let duplicate = service.call(offer("p", "f")).await.unwrap();
    assert_eq!(
        duplicate,
        Reply::Refused(Reason::InFlight, Some(Duration::from_secs(1)))
    );

    manual.end(End::Answer);
    first.await.unwrap();
    let mut again = spawn(service.call(offer("q", "f")));
    assert_pending!(again.poll());
    assert_eq!((layer.handle().stats().failed, manual.calls()), (1, 2));
}

#[tokio::test]
async fn duplicates_hold_no_buffer_slot() {
    let manual = ManualService::default();
    let layer = OfferDedupLayer::builder()
        .offers(offers)
        .answer(Replay::with(refuse))
        .build();
    let service = ServiceBuilder::new()
        .layer(layer)
        .layer(BufferLayer::new(1))
        .concurrency_limit(1)
        .service(manual.clone());
    let service = BoxCloneSyncService::new(service);
    let call = |peer| {
        let mut service = service.clone();
        tokio::spawn(async move { service.ready().await?.call(offer(peer, "f")).await })
    };
    let calls = ["p", "p", "p", "q", "q", "q"].map(call);
    for peer in 0..2 {
        while manual.calls() <= peer {
            tokio::task::yield_now().await;
        }
        manual.end(End::Answer);
    }
    for call in calls {
        let answer = timeout(Duration::from_secs(5), call)
            .await
            .expect("a buffer slot was lost");
        assert!(is_answer(&answer.unwrap().unwrap()));
    }
    assert_eq!(manual.calls(), 2);
}
