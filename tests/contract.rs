//! The contract with tower: readiness, clones, errors and nameable types.

mod support;

use std::{
    convert::Infallible,
    future::poll_fn,
    rc::Rc,
    sync::atomic::Ordering::Relaxed,
    task::{Context, Waker},
};

use support::{
    Broken, End, ManualService, Message, Reply,
    layered::{Policy, around},
    offer, offers, other,
    probe::{Probe, Readiness},
    reason, refuse,
};
use tokio_test::{assert_pending, assert_ready, assert_ready_eq, assert_ready_err, assert_ready_ok, task::spawn};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_offer_dedup::{Offer, OfferDedup, OfferDedupLayer, Reason, Refusal, Refuse, Replay, ResponseFuture};
use tower_test::{assert_request_eq, mock};

type Refusing = Refuse<fn(&Refusal) -> Reply>;

fn refusing() -> OfferDedupLayer<fn(&Message) -> Option<tower_offer_dedup::Offer>, Refusing> {
    OfferDedupLayer::builder()
        .offers(offers as fn(&Message) -> _)
        .answer(Refuse::with(refuse as fn(&Refusal) -> Reply))
        .build()
}

#[test]
fn ready_without_polling_inner_service() {
    for readiness in [Readiness::Full, Readiness::Broken, Readiness::Ready] {
        for policy in Policy::ALL {
            let (probe, usage) = Probe::new(&ManualService::default(), readiness);
            let (mut service, _) = around(probe, policy, |builder| builder);
            for _ in 0..3 {
                let mut cx = Context::from_waker(Waker::noop());
                assert_ready_ok!(service.poll_ready(&mut cx));
            }
            assert_eq!(usage.asked.load(Relaxed), 0, "{policy:?}, {readiness:?}");
        }
    }
}

#[tokio::test]
async fn ready_service_is_called_without_clone() {
    for policy in Policy::ALL {
        let manual = ManualService::default();
        let (probe, usage) = Probe::new(&manual, Readiness::Ready);
        let (mut service, _) = around(probe, policy, |builder| builder);
        for message in [offer("p", "f"), other("p")] {
            let mut call = spawn(service.call(message));
            assert_pending!(call.poll());
            manual.end(End::Answer);
            call.await.unwrap();
        }
        assert_eq!((usage.clones(), usage.called()), (0, vec![0, 0]), "{policy:?}");
        assert_eq!(usage.asked.load(Relaxed), 2, "{policy:?}");
    }
}

#[tokio::test]
async fn duplicate_needs_no_readiness_or_clone() {
    for policy in Policy::ALL {
        let manual = ManualService::default();
        let (probe, usage) = Probe::new(&manual, Readiness::Ready);
        let (mut service, _) = around(probe, policy, |builder| builder);
        let first = service.call(offer("p", "f"));
        manual.end(End::Answer);
        first.await.unwrap();

        usage.set(Readiness::Full);
        service.call(offer("p", "f")).await.unwrap();
        assert_eq!((usage.clones(), usage.asked.load(Relaxed)), (0, 1), "{policy:?}");
    }
}

#[tokio::test]
async fn unready_service_moves_into_the_future() {
    for policy in Policy::ALL {
        for message in [offer("p", "f"), other("p")] {
            let manual = ManualService::default();
            let (probe, usage) = Probe::new(&manual, Readiness::Full);
            let (mut service, _) = around(probe, policy, |builder| builder);
            let mut first = spawn(service.call(message.clone()));
            assert_pending!(first.poll());
            tokio::task::yield_now().await;
            assert_eq!((manual.calls(), usage.clones()), (0, 1), "{policy:?}");

            usage.set(Readiness::Ready);
            tokio::task::yield_now().await;
            let _ = first.poll();
            assert_eq!(
                usage.called(),
                [0],
                "{policy:?}: the called service is not the polled one"
            );
            let _second = service.call(other("q"));
            assert_eq!(usage.called(), [0, 1], "{policy:?}");
        }
    }
}

#[tokio::test]
async fn readiness_error_releases_the_peer() {
    for policy in Policy::ALL {
        for at_first in [Readiness::Broken, Readiness::Full] {
            for message in [offer("p", "f"), other("p")] {
                let (probe, usage) = Probe::new(&ManualService::default(), at_first);
                let (mut service, handle) = around(probe, policy, |builder| builder);
                let mut call = spawn(service.call(message));
                if at_first == Readiness::Full {
                    assert_pending!(call.poll());
                    usage.set(Readiness::Broken);
                }
                assert_eq!(call.await, Err(Broken), "{policy:?}");
                assert!(!handle.is_processing("p"));
                let stats = handle.stats();
                assert_eq!(stats.failed, stats.admitted);
                assert_eq!((stats.claims, stats.memories), (0, 0));
            }
        }
    }
}

#[test]
fn non_send_service_works_without_runtime() {
    let inner = {
        let answers = Rc::new("an answer".to_owned());
        service_fn(move |message: &'static str| {
            let answers = Rc::clone(&answers);
            async move { Ok::<_, Infallible>(format!("{answers} to {message}")) }
        })
    };
    let offers = |message: &&'static str| {
        offers(&Message {
            peer: "p",
            offer: Some((*message).to_owned()),
        })
    };
    let text = |refusal: &Refusal| refusal.reason().to_string();

    let mut refusing = OfferDedupLayer::builder()
        .offers(offers)
        .answer(Refuse::with(text))
        .build()
        .layer(inner.clone());
    assert_ready_eq!(spawn(refusing.call("f")).poll(), Ok("an answer to f".to_owned()));
    assert_ready_eq!(spawn(refusing.call("f")).poll(), Ok("processed".to_owned()));
    assert_ready_eq!(spawn(refusing.call("g")).poll(), Ok("cooling_down".to_owned()));

    let mut replaying = OfferDedupLayer::builder()
        .offers(offers)
        .answer(Replay::with(text))
        .build()
        .layer(inner);
    for _ in 0..2 {
        assert_ready_eq!(spawn(replaying.call("f")).poll(), Ok("an answer to f".to_owned()));
    }
}

#[tokio::test]
async fn mock_sees_one_request_per_call() {
    let layer = refusing();
    let (mut service, mut inner) = mock::spawn_layer(layer);
    inner.allow(0);
    assert_ready_ok!(service.poll_ready());
    let mut first = spawn(service.call(offer("p", "f")));
    assert_pending!(first.poll());
    assert_pending!(inner.poll_request());
    let duplicate = assert_ready_ok!(spawn(service.call(offer("p", "f"))).poll());
    assert_eq!(reason(Ok(duplicate)), Reason::InFlight);

    inner.allow(1);
    assert!(first.is_woken());
    assert_pending!(first.poll());
    assert_request_eq!(inner, offer("p", "f")).send_response(Reply::Answer(0));
    assert_eq!(assert_ready_ok!(first.poll()), Reply::Answer(0));
    assert_pending!(inner.poll_request());
}

#[tokio::test]
async fn inner_error_is_returned_unchanged() {
    let (mut service, mut inner) = mock::spawn_layer::<Message, Reply, _>(refusing());
    let mut first = spawn(service.call(offer("p", "f")));
    assert_pending!(first.poll());
    inner.next_request().await.unwrap().1.send_error("out of ports");
    assert_eq!(assert_ready_err!(first.poll()).to_string(), "out of ports");
}

#[test]
fn inner_service_is_accessible() {
    let (probe, usage) = Probe::new(&ManualService::default(), Readiness::Ready);
    let mut service: OfferDedup<Probe, _, Refusing> = refusing().layer(probe);
    assert_eq!(service.get_ref().number, 0);
    service.get_mut().number = 7;
    assert_eq!(service.clone().get_ref().number, 1);
    assert_eq!(service.into_inner().number, 7);
    assert_eq!(usage.asked.load(Relaxed), 0);
}

/// A user's type that stores the response future.
type Offers = fn(&Message) -> Option<Offer>;

struct Session {
    response: ResponseFuture<ManualService, Offers, Refusing, Message>,
}

#[tokio::test]
async fn response_future_is_nameable() {
    let manual = ManualService::default();
    let mut service = ServiceBuilder::new().layer(refusing()).service(manual.clone());
    let mut session = Session {
        response: service.ready().await.unwrap().call(offer("p", "f")),
    };
    assert!(format!("{:?}", session.response).contains("Running"));
    manual.end(End::Answer);
    let response = poll_fn(|cx| std::pin::Pin::new(&mut session.response).poll(cx)).await;
    assert_eq!(response, Ok(Reply::Answer(0)));
}

#[tokio::test]
async fn future_panics_if_polled_after_completion() {
    let manual = ManualService::default();
    let mut service = refusing().layer(manual.clone());
    let mut first = spawn(service.call(offer("p", "f")));
    assert_pending!(first.poll());
    let mut refused = spawn(service.call(offer("p", "f")));
    let _ = assert_ready!(refused.poll());
    manual.end(End::Answer);
    assert_ready_ok!(first.poll());

    for call in [&mut first, &mut refused] {
        let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(call.poll())));
        let panic = again.unwrap_err();
        let message = panic.downcast_ref::<String>().map(String::as_str);
        let message = message.or(panic.downcast_ref::<&str>().copied()).unwrap();
        assert!(message.contains("polled after completion"), "{message}");
    }
}
