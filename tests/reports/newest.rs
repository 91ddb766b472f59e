//! Reports in which only the newest offer counts, or in which an end comes too late.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::{Instant, advance, sleep, timeout};
use tokio_test::{assert_pending, assert_ready, task::spawn};
use tower::{Layer, Service, service_fn, util::BoxCloneSyncService};
use tower_offer_dedup::{
    Fingerprint, JsonOffers, Offer, OfferDedupHandle, OfferDedupLayer, Reason, Refuse, WhenBusy,
    extract::{ExtractOffer, Found},
};

const SECOND: Duration = Duration::from_secs(1);

/// An offer of alice to bob, identified by its ICE ufrag.
fn sdp(ufrag: &str) -> String {
    format!(
        "v=0\r\no=- 4611 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
         a=mid:0\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:AweaEh/ps0f0NqKFa7vb8pvE\r\n"
    )
}

type Reply = Result<usize, Reason>;

/// A room whose handler answers with the number of the call.
#[derive(Clone)]
struct Room {
    service: BoxCloneSyncService<String, Reply, Infallible>,
    handle: OfferDedupHandle,
    calls: Arc<AtomicUsize>,
}

impl Room {
    /// The handler takes `handling` for each offer.
    fn new(handling: Duration) -> Self {
        Self::with(move |_| handling)
    }

    /// The n-th call takes `handling(n)`.
    fn with(handling: impl Fn(usize) -> Duration + Clone + Send + Sync + 'static) -> Self {
        let layer = OfferDedupLayer::room()
            .offers(|sdp: &String| Some(Offer::new(("lobby", "alice", "bob"), Fingerprint::sdp(sdp))))
            .answer(Refuse::with(|refusal| Err(refusal.reason())).success_if(Result::is_ok))
            .build();
        let calls = Arc::new(AtomicUsize::new(0));
        let handle = layer.handle();
        let made = Arc::clone(&calls);
        let inner = service_fn(move |_: String| {
            let call = made.fetch_add(1, Relaxed);
            let handled = sleep(handling(call));
            async move {
                handled.await;
                Ok(Ok(call))
            }
        });
        Self {
            service: BoxCloneSyncService::new(layer.layer(inner)),
            handle,
            calls,
        }
    }

    async fn send(&self, ufrag: &str) -> Reply {
        let Ok(reply) = self.service.clone().call(sdp(ufrag)).await;
        reply
    }

    fn send_in_background(&self, ufrag: &'static str) -> tokio::task::JoinHandle<Reply> {
        let room = self.clone();
        tokio::spawn(async move { room.send(ufrag).await })
    }

    fn calls(&self) -> usize {
        self.calls.load(Relaxed)
    }
}

/// An answer is lost, and the offerer rolls back and offers again after 1, 2 and 4 s.
#[tokio::test(start_paused = true)]
async fn haven_5543_answer_is_lost() {
    let room = Room::new(SECOND / 3);
    let start = Instant::now();
    assert_eq!(room.send("first").await, Ok(0));
    // The answer never arrives. The next offer comes 1 s after the first.
    sleep(SECOND - start.elapsed()).await;
    assert_eq!(room.send("second").await, Ok(1));
    assert!(start.elapsed() < SECOND * 14 / 10, "as soon as without the layer");
}

/// The same, where the handler waits for the answers, which are lost before they arrive at the server.
#[tokio::test(start_paused = true)]
async fn haven_5543_handler_waits_for_the_lost_answer() {
    let offers = [(0, "first"), (1, "second"), (2, "third"), (4, "fourth")];
    for lost in 1..offers.len() {
        let room = Room::with(move |call| if call < lost { 10 * SECOND } else { SECOND / 3 });
        let start = Instant::now();
        let mut calls = Vec::new();
        for (seconds, ufrag) in &offers[..=lost] {
            tokio::time::sleep_until(start + *seconds * SECOND).await;
            calls.push(room.send_in_background(ufrag));
        }
        assert_eq!(calls.pop().unwrap().await.unwrap(), Ok(lost));
        let connected = offers[lost].0 * SECOND + SECOND / 3;
        let late = start.elapsed() - connected;
        assert!(
            late < SECOND / 100,
            "{lost} answers lost: {late:?} later than without the layer"
        );
        for call in calls {
            assert_eq!(call.await.unwrap(), Err(Reason::Superseded));
        }
    }
}

/// Negotiation fires twice: the second offer counts, and a late copy of the first is refused.
#[tokio::test(start_paused = true)]
async fn peerjs_426_negotiation_fires_twice() {
    let room = Room::new(SECOND);
    let first = room.send_in_background("first");
    sleep(SECOND / 10).await;
    let second = room.send_in_background("second");
    assert_eq!(first.await.unwrap(), Err(Reason::Superseded));
    assert_eq!(room.send("first").await, Err(Reason::Superseded));
    assert_eq!(second.await.unwrap(), Ok(1));
    assert_eq!(room.send("first").await, Err(Reason::Superseded));
    assert_eq!(room.send("second").await, Err(Reason::Processed));
}

/// Six offers, and a handler that takes 3 s: the newest runs, the others are superseded at once.
#[tokio::test(start_paused = true)]
async fn livekit_798_only_the_newest_counts() {
    let room = Room::new(3 * SECOND);
    let ufrags = ["one", "two", "three", "four", "five", "six"];
    let start = Instant::now();
    let mut calls = Vec::new();
    for ufrag in ufrags {
        calls.push(room.send_in_background(ufrag));
        tokio::task::yield_now().await;
    }
    let newest = calls.pop().unwrap();
    for call in calls {
        let refused = timeout(SECOND / 5, call).await.expect("superseded at once");
        assert_eq!(refused.unwrap(), Err(Reason::Superseded));
    }
    assert!(newest.await.unwrap().is_ok());
    assert!(start.elapsed() <= 3 * SECOND + SECOND / 5);
    assert_eq!(room.handle.stats().completed, 1);
}

/// A rejoin with a new offer 276 ms after the first one, without a leave.
#[tokio::test(start_paused = true)]
async fn videocall_rs_811_rejoin_after_276_ms() {
    let room = Room::new(SECOND / 100);
    assert_eq!(room.send("first").await, Ok(0));
    sleep(Duration::from_millis(266)).await;
    assert_eq!(room.send("rejoin").await, Ok(1));
}

/// The handler hangs. The client leaves at 8 s and comes back with a new offer, which is served at once.
async fn hanging_handler_is_replaced_at_once() {
    let hangs = Arc::new(AtomicUsize::new(1));
    let first = Arc::clone(&hangs);
    let layer = OfferDedupLayer::builder()
        .offers(|sdp: &String| Some(Offer::new("stream", Fingerprint::sdp(sdp))))
        .answer(Refuse::with(|refusal| Err(refusal.reason())))
        .when_busy(WhenBusy::Queue {
            depth: 8,
            timeout: 10 * SECOND,
        })
        .finish_abandoned()
        .build();
    let mut service = layer.layer(service_fn(move |_: String| {
        let hangs = first.fetch_min(0, Relaxed) == 1;
        async move {
            if hangs {
                sleep(60 * SECOND).await;
            }
            Ok::<_, Infallible>(Ok::<_, Reason>("an answer"))
        }
    }));
    let left = timeout(8 * SECOND, service.call(sdp("first"))).await;
    assert!(left.is_err(), "the handler hangs");
    let start = Instant::now();
    assert_eq!(service.call(sdp("second")).await, Ok(Ok("an answer")));
    assert!(start.elapsed() < SECOND / 10);
    assert_eq!(layer.handle().stats().taken_over, 1);
}

#[tokio::test(start_paused = true)]
async fn srs_4631_handler_hangs_and_client_returns() {
    hanging_handler_is_replaced_at_once().await;
}

#[tokio::test(start_paused = true)]
async fn strom_753_handler_hangs_and_client_returns() {
    hanging_handler_is_replaced_at_once().await;
}

/// The end of the old session comes after the new one was made. It must not touch the new one.
async fn late_end_leaves_the_new_session() {
    let layer = OfferDedupLayer::builder()
        .offers(WithSession)
        .answer(Refuse::with(|refusal| Err(refusal.reason())))
        .cooldown(Duration::ZERO)
        .build();
    let mut service = layer.layer(service_fn(|request: WithSessionRequest| {
        let session = request.session.expect("an admitted offer has a session");
        std::future::ready(Ok::<_, Infallible>(Ok::<_, Reason>(session)))
    }));
    let request = |ufrag: &str| WithSessionRequest {
        sdp: sdp(ufrag),
        session: None,
    };
    let old = service.call(request("old")).await.unwrap().unwrap();
    let new = service.call(request("new")).await.unwrap().unwrap();
    old.forget();
    assert_eq!(
        service.call(request("new")).await.unwrap().unwrap_err(),
        Reason::Processed
    );
    new.forget();
    assert!(service.call(request("new")).await.unwrap().is_ok());
}

struct WithSession;

struct WithSessionRequest {
    sdp: String,
    session: Option<tower_offer_dedup::OfferSession>,
}

impl ExtractOffer<WithSessionRequest> for WithSession {
    type Request = WithSessionRequest;
    type Read = std::future::Ready<Found<WithSessionRequest, Infallible>>;

    fn extract(&self, request: WithSessionRequest) -> Found<WithSessionRequest, Self::Read> {
        let offer = Offer::new("stream", Fingerprint::sdp(&request.sdp));
        Found::Offer(request, offer)
    }

    fn prepare(&self, request: &mut WithSessionRequest, admission: &tower_offer_dedup::extract::Admission) {
        request.session = Some(admission.session().clone());
    }
}

#[tokio::test]
async fn spreed_1586_end_of_old_session_is_late() {
    late_end_leaves_the_new_session().await;
}

#[tokio::test]
async fn broadcast_box_336_end_of_old_session_is_late() {
    late_end_leaves_the_new_session().await;
}

/// The target dies and returns with a new connection id. The same offer is sent to it again, and processed.
fn target_returns_with_a_new_connection() {
    let layer = OfferDedupLayer::builder()
        .answer(Refuse::with(|refusal| Err(refusal.reason())).success_if(Result::is_ok))
        .build();
    // The server adds the connection ids of both ends to the key: `alice#1` sends, `bob#1` and then `bob#2` receives.
    let send_to = |target: &'static str| {
        let offers = JsonOffers::new().sdp("/sdp").for_peer(("lobby", "alice#1", target));
        let service = layer.offers(offers);
        let mut service = service.layer(service_fn(|_: String| std::future::ready(Ok::<_, Infallible>(Ok(())))));
        let message = format!(r#"{{"type":"offer","to":"bob","sdp":{:?}}}"#, sdp("one"));
        let reply: Result<Result<(), Reason>, _> = assert_ready!(spawn(service.call(message)).poll());
        reply.unwrap()
    };
    assert_eq!(send_to("bob#1"), Ok(()));
    assert_eq!(send_to("bob#1"), Err(Reason::Processed));
    assert_eq!(send_to("bob#2"), Ok(()));
}

#[test]
fn kvs_sdk_c_1835_target_died_and_returns() {
    target_returns_with_a_new_connection();
}

#[test]
fn floe_171_target_died_and_returns() {
    target_returns_with_a_new_connection();
}

/// JSON text inside a JSON string: the offer is found in it, and an answer is not taken for an offer.
#[test]
fn socket_io_1708_json_inside_a_string() {
    let offers = JsonOffers::new().sdp("/data/sdp").for_peer("alice");
    let message = |kind: &str| {
        let inner = format!(r#"{{"type":"{kind}","sdp":{:?}}}"#, sdp("one"));
        format!(r#"{{"event":"signal","data":{inner:?}}}"#)
    };
    let Found::Offer(_, offer) = offers.extract(message("offer")) else {
        panic!("the offer is found");
    };
    assert_eq!(offer.fingerprint(), Fingerprint::sdp(&sdp("one")));
    assert!(matches!(offers.extract(message("answer")), Found::Pass(_)));

    // A pointer that ends on the string finds no description in it.
    let whole = JsonOffers::new().sdp("/data").for_peer("alice");
    assert!(matches!(whole.extract(message("answer")), Found::Pass(_)));
}

/// A known limit: with the same certificate, and ufrag and password made of the current second, two offers of one
/// second have one fingerprint.
#[test]
fn libpeer_287_offers_of_one_second_are_merged() {
    let offer = |second: u64| {
        format!(
            "v=0\r\no=- 1495799811084970 1495799811084970 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=ice-ufrag:{second}\r\na=ice-pwd:{second}{second}\r\n\
             a=fingerprint:sha-256 1A:B2:3F\r\n"
        )
    };
    assert_eq!(Fingerprint::sdp(&offer(100)), Fingerprint::sdp(&offer(100)));
    assert_ne!(Fingerprint::sdp(&offer(100)), Fingerprint::sdp(&offer(101)));
}

/// An ICE restart while an answer is outstanding passes.
#[tokio::test(start_paused = true)]
async fn haven_5543_restart_while_an_answer_is_outstanding() {
    let room = Room::new(3 * SECOND);
    let mut service = room.service.clone();
    let mut first = spawn(service.call(sdp("first")));
    assert_pending!(first.poll());
    let mut restart = spawn(service.call(sdp("restart")));
    assert_pending!(restart.poll());
    assert!(first.is_woken());
    assert_eq!(assert_ready!(first.poll()), Ok(Err(Reason::Superseded)));
    assert_pending!(restart.poll());
    assert_eq!(room.calls(), 2);
    advance(3 * SECOND).await;
    assert_eq!(assert_ready!(restart.poll()), Ok(Ok(1)));
}
