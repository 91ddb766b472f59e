//! Sessions and answers reach every node that shares the store.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_offer_dedup::{
    Fingerprint, Offer, OfferDedupLayer, Reason, Refusal, Replay,
    http::BufferedBody,
    store::{Fence, MemoryStore},
};

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";

type Reply = Response<BufferedBody<String>>;
type Node = BoxCloneSyncService<Request<String>, Reply, Infallible>;

/// Two WHIP endpoints. `DELETE` is answered with `deleted`.
fn two_nodes(deleted: StatusCode) -> ([Node; 2], Arc<AtomicUsize>) {
    let store = MemoryStore::new();
    let posts = Arc::new(AtomicUsize::new(0));
    let nodes = [(); 2].map(|()| {
        let posts = Arc::clone(&posts);
        let inner = service_fn(move |request: Request<_>| {
            let posts = Arc::clone(&posts);
            async move {
                if request.method() == Method::DELETE {
                    let response = Response::builder().status(deleted);
                    return Ok::<_, Infallible>(response.body(String::new()).unwrap());
                }
                assert!(request.extensions().get::<Fence>().is_some());
                let number = posts.fetch_add(1, Relaxed) + 1;
                let response = Response::builder()
                    .status(StatusCode::CREATED)
                    .header(header::LOCATION, format!("/session/{number}"));
                Ok(response.body(format!("answer {number}")).unwrap())
            }
        });
        let layer = OfferDedupLayer::whip().store(store.node()).build();
        BoxCloneSyncService::new(layer.layer(inner))
    });
    (nodes, posts)
}

async fn send(node: &Node, method: Method, path: &str) -> Reply {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "example.com")
        .header(header::AUTHORIZATION, "Bearer secret")
        .header(header::CONTENT_TYPE, "application/sdp")
        .body(SDP.to_owned())
        .unwrap();
    let response = node.clone().oneshot(request).await.unwrap();
    // Notices arrive.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    response
}

async fn publish(node: &Node) -> (String, String) {
    let response = send(node, Method::POST, "/whip/stage").await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let location = response.headers()[header::LOCATION].to_str().unwrap().to_owned();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (location, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn answer_is_replayed_whole_elsewhere() {
    let ([a, b], posts) = two_nodes(StatusCode::NO_CONTENT);
    let first = publish(&a).await;
    assert_eq!(publish(&b).await, first);
    assert_eq!(posts.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn delete_elsewhere_ends_session_everywhere() {
    let ([a, b], posts) = two_nodes(StatusCode::NO_CONTENT);
    let (location, _) = publish(&a).await;
    publish(&b).await;
    send(&b, Method::DELETE, &location).await;
    let second = publish(&b).await;
    assert_eq!(second.0, "/session/2");
    assert_eq!(publish(&a).await, second);
    assert_eq!(posts.load(Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn not_found_elsewhere_ends_nothing() {
    let ([a, b], posts) = two_nodes(StatusCode::NOT_FOUND);
    let (location, _) = publish(&a).await;
    send(&b, Method::DELETE, &location).await;
    publish(&b).await;
    assert_eq!(posts.load(Relaxed), 1);
    // The node that has the session believes it.
    send(&a, Method::DELETE, &location).await;
    publish(&b).await;
    assert_eq!(posts.load(Relaxed), 2);
}

/// Sends one offer to two nodes with `answer` and returns the second's reply.
async fn second_reply<A>(answer: impl Fn() -> A) -> Result<String, Reason>
where
    A: tower_offer_dedup::answer::Answer<Result<String, Reason>, Infallible, Response = Result<String, Reason>>,
{
    let store = MemoryStore::new();
    let mut reply = Err(Reason::Aborted);
    for node in [store.node(), store.node()] {
        let mut service = OfferDedupLayer::builder()
            .offers(|text: &&str| Some(Offer::new("p", Fingerprint::exact(text.as_bytes()))))
            .answer(answer())
            .store(node)
            .build()
            .layer(service_fn(|_: &str| async {
                Ok::<_, Infallible>(Ok("an answer".to_owned()))
            }));
        reply = service.call("f").await.unwrap();
    }
    reply
}

fn refuse(refusal: &Refusal) -> Result<String, Reason> {
    Err(refusal.reason())
}

#[tokio::test(start_paused = true)]
async fn messages_travel_by_their_codec() {
    let plain = second_reply(|| Replay::with(refuse)).await;
    assert_eq!(plain, Err(Reason::NotRecorded));

    let encoded = second_reply(|| {
        Replay::with(refuse).codec(
            1,
            |reply: &Result<String, Reason>| reply.as_ref().ok().map(|text| text.clone().into_bytes()),
            |bytes| Some(Ok(String::from_utf8(bytes.to_vec()).ok()?)),
        )
    });
    assert_eq!(encoded.await, Ok("an answer".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn unreadable_record_is_not_replayed() {
    let unreadable = second_reply(|| {
        Replay::with(refuse).codec(
            1,
            |_: &Result<String, Reason>| Some(b"bytes".to_vec()),
            |_| None::<Result<String, Reason>>,
        )
    });
    assert_eq!(unreadable.await, Err(Reason::NotRecorded));
}
