//! The state that clones of a layer, its services and its other extractors share.

mod support;

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use support::{End, ManualService, Message, Reply, at_once, builder, offer, offers, pending, reason, refuse, through};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_offer_dedup::{
    Fingerprint, Offer, OfferDedupLayer, Reason, Refusal, Refuse, Replay,
    answer::{Answer, Duplicates, Settled},
};

#[tokio::test]
async fn clones_and_services_share_state() {
    let manual_services = [
        ManualService::default(),
        ManualService::default(),
        ManualService::default(),
    ];
    let layer = builder(Refuse::with(refuse)).build();
    let copy = layer.clone();
    let mut services = [
        layer.layer(manual_services[0].clone()),
        copy.layer(manual_services[1].clone()),
        layer.layer(manual_services[2].clone()),
    ];
    let mut connection = services[0].clone();

    let first = pending(&mut connection, offer("p", "f"));
    for service in &mut services {
        assert_eq!(reason(at_once(service, offer("p", "f"))), Reason::InFlight);
        assert_eq!(reason(at_once(service, offer("p", "g"))), Reason::Busy);
    }
    manual_services[0].end(End::Answer);
    first.await.unwrap();
    for service in &mut services {
        assert_eq!(reason(at_once(service, offer("p", "f"))), Reason::Processed);
    }
    assert_eq!(manual_services.map(|manual| manual.calls()), [1, 0, 0]);

    assert_eq!(layer.handle().stats(), copy.handle().stats());
    assert!(copy.handle().forget("p"));
    drop(pending(&mut services[0], offer("p", "f")));
}

#[tokio::test]
async fn separately_built_layers_share_nothing() {
    let settings = builder(Refuse::with(refuse));
    let [mut one, mut other] =
        [settings.clone().build(), settings.build()].map(|layer| layer.layer(ManualService::default()));
    let _first = pending(&mut one, offer("p", "f"));
    let _second = pending(&mut other, offer("p", "f"));
}

#[tokio::test]
async fn layer_and_services_outlive_each_other() {
    let manual = ManualService::default();
    let layer = builder(Refuse::with(refuse)).build();
    through(&mut layer.layer(manual.clone()), &manual, offer("p", "f"), End::Answer).unwrap();
    let mut later = layer.layer(manual.clone());
    let handle = layer.handle();
    drop(layer);
    assert_eq!(reason(at_once(&mut later, offer("p", "f"))), Reason::Processed);
    assert_eq!(handle.stats().refused_processed, 1);
}

#[tokio::test]
async fn sockets_bind_peers_to_shared_state() {
    let manual = ManualService::default();
    let layer = OfferDedupLayer::builder().answer(Refuse::with(refuse)).build();
    let socket = |peer: &'static str| {
        let offers = move |message: &Message| {
            let text = message.offer.as_ref()?;
            Some(Offer::new(peer, Fingerprint::exact(text.as_bytes())))
        };
        layer.offers(offers).layer(manual.clone())
    };
    let (mut alice, mut again, mut bob) = (socket("alice"), socket("alice"), socket("bob"));
    let first = pending(&mut alice, offer("", "f"));
    assert_eq!(reason(at_once(&mut again, offer("", "f"))), Reason::InFlight);
    assert_eq!(reason(at_once(&mut again, offer("", "g"))), Reason::Busy);
    let _bobs = pending(&mut bob, offer("", "f"));
    manual.end(End::Answer);
    first.await.unwrap();
    assert_eq!(reason(at_once(&mut again, offer("", "f"))), Reason::Processed);
    assert!(layer.handle().is_processing("bob") && !layer.handle().is_processing("alice"));
}

/// Answers services with text and services with numbers. Each has its own record type.
struct Both;

macro_rules! answers {
    ($response:ty) => {
        impl<E> Answer<$response, E> for Both {
            type Response = Result<$response, Reason>;
            type Record = $response;
            type Settle = Ready<Settled<Self::Response, $response>>;

            fn duplicates(&self) -> Duplicates {
                Duplicates::WAIT
            }

            fn pass(&self, response: $response) -> Self::Response {
                Ok(response)
            }

            fn settle(&self, response: $response, _: &Offer) -> Self::Settle {
                ready(Settled::success(Ok(response.clone())).recorded(response, 8))
            }

            fn replay(&self, response: &$response) -> Self::Response {
                Ok(response.clone())
            }

            fn refuse(&self, refusal: &Refusal) -> Result<Self::Response, E> {
                Ok(Err(refusal.reason()))
            }
        }
    };
}

answers!(String);
answers!(u64);

#[tokio::test(start_paused = true)]
async fn other_response_type_gets_no_answer() {
    let layer = OfferDedupLayer::builder()
        .offers(offers as fn(&Message) -> _)
        .answer(Both)
        .build();
    let (release, gate) = (Arc::new(tokio::sync::Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (released, calls) = (Arc::clone(&release), Arc::clone(&gate));
    let mut texts = layer.layer(service_fn(move |_: Message| {
        calls.fetch_add(1, Relaxed);
        let released = Arc::clone(&released);
        async move {
            released.notified().await;
            Ok::<_, Infallible>("an answer".to_owned())
        }
    }));
    let mut numbers = layer.layer(service_fn(|_: Message| ready(Ok::<_, Infallible>(7_u64))));

    let first = tokio::spawn(texts.call(offer("p", "f")));
    let waits = tokio::spawn(numbers.call(offer("p", "f")));
    support::settle().await;
    release.notify_one();
    assert_eq!(first.await.unwrap(), Ok(Ok("an answer".to_owned())));
    assert_eq!(waits.await.unwrap(), Ok(Err(Reason::NotRecorded)));
    assert_eq!(numbers.call(offer("p", "f")).await, Ok(Err(Reason::NotRecorded)));
    assert_eq!(texts.call(offer("p", "f")).await, Ok(Ok("an answer".to_owned())));
    assert_eq!(gate.load(Relaxed), 1);
    let stats = layer.handle().stats();
    assert_eq!((stats.refused_not_recorded, stats.replayed), (2, 1));
}

fn post_offer(path: &str, peer: &str, text: &'static str) -> Request<Body> {
    Request::post(path)
        .header("peer", peer)
        .header("offer", text)
        .body(Body::empty())
        .unwrap()
}

fn offer_in_headers(request: &Request<Body>) -> Option<Offer> {
    let header = |name| Some(request.headers().get(name)?.as_bytes());
    Some(Offer::new(header("peer")?, Fingerprint::exact(header("offer")?)))
}

#[tokio::test]
async fn routes_share_one_layer() {
    let calls = Arc::new(AtomicUsize::new(0));
    let handler = {
        let calls = Arc::clone(&calls);
        move || async move {
            calls.fetch_add(1, Relaxed);
            StatusCode::CREATED
        }
    };
    // axum's responses are not `Clone`. Only `Replay` requires that.
    let refuse = |refusal: &Refusal| (StatusCode::CONFLICT, refusal.reason().as_str()).into_response();
    let is_success = |response: &Response| response.status().is_success();
    let layer = OfferDedupLayer::builder()
        .offers(offer_in_headers)
        .answer(Refuse::with(refuse).success_if(is_success))
        .build();
    let app = Router::new()
        .route("/one", post(handler.clone()))
        .route("/two", post(handler.clone()))
        .fallback(handler)
        .layer(layer.clone());

    let status = async |path, peer, text| {
        let response = app.clone().oneshot(post_offer(path, peer, text)).await.unwrap();
        response.status()
    };
    assert_eq!(status("/one", "p", "f").await, StatusCode::CREATED);
    for path in ["/one", "/two", "/nowhere"] {
        assert_eq!(status(path, "p", "f").await, StatusCode::CONFLICT, "{path}");
    }
    assert_eq!(status("/two", "q", "f").await, StatusCode::CREATED);
    let without_peer = Request::post("/two").body(Body::empty()).unwrap();
    assert_eq!(
        app.clone().oneshot(without_peer).await.unwrap().status(),
        StatusCode::CREATED
    );
    assert_eq!(calls.load(Relaxed), 3);
    let stats = layer.handle().stats();
    assert_eq!((stats.admitted, stats.refused_processed, stats.passed), (2, 3, 1));
}

#[tokio::test]
async fn replay_works_across_services() {
    let (one, two) = (ManualService::default(), ManualService::default());
    let layer = builder(Replay::with(refuse)).build();
    let (mut first, mut second) = (layer.layer(one.clone()), layer.layer(two.clone()));
    through(&mut first, &one, offer("p", "f"), End::Answer).unwrap();
    assert_eq!(at_once(&mut second, offer("p", "f")), Ok(Reply::Answer(0)));
    assert_eq!(two.calls(), 0);
}
