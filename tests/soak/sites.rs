//! The layers under load: WHIP endpoints and rooms of several kinds, with windows that end soon.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::sleep;
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_offer_dedup::{
    Fingerprint, Offer, OfferDedupHandle, OfferDedupLayer, PeerKey, Refuse, Replay, Stats, WhenBusy,
    http::{HttpOffers, PeerFrom},
};

/// The message of the deliberate panics.
pub(crate) const PANIC: &str = "processing panics";

const MS: Duration = Duration::from_millis(1);

/// An offer, and a random number that decides the result of its processing.
#[derive(Clone)]
pub(crate) struct Call {
    peer: u64,
    sdp: Arc<str>,
    luck: u64,
}

impl Call {
    pub(crate) fn new(peer: u64, sdp: &Arc<str>, luck: u64) -> Self {
        let sdp = Arc::clone(sdp);
        Self { peer, sdp, luck }
    }
}

/// A layer under load.
pub(crate) struct Site {
    pub(crate) name: &'static str,
    pub(crate) handle: OfferDedupHandle,
    send: Box<dyn Fn(Call) -> BoxFuture<'static, ()> + Send + Sync>,
    key: fn(u64) -> PeerKey,
    sent: AtomicU64,
    has_waiters: bool,
    supersedes: bool,
}

impl Site {
    pub(crate) async fn send(&self, call: Call) {
        self.sent.fetch_add(1, Relaxed);
        (self.send)(call).await;
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    pub(crate) fn key(&self, peer: u64) -> PeerKey {
        (self.key)(peer)
    }

    /// Asserts that every outcome occurred. Otherwise the load tests too little.
    pub(crate) fn assert_mixed(&self, stats: &Stats) {
        let duplicates = stats.replayed + stats.refused_in_flight + stats.refused_processed;
        for (what, times) in [
            ("duplicates", duplicates),
            ("completed", stats.completed),
            ("failed", stats.failed),
            ("abandoned", stats.abandoned),
            ("taken over", stats.taken_over),
            ("forgotten", stats.forgotten),
        ] {
            assert!(times > 0, "{}: {what} never occurred", self.name);
        }
        assert_eq!(stats.waits_abandoned > 0, self.has_waiters, "{}", self.name);
        assert_eq!(stats.superseded > 0, self.supersedes, "{}", self.name);
    }
}

#[derive(Debug)]
struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken")
    }
}

impl std::error::Error for Broken {}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Reply {
    Answer,
    Failure,
    Refused,
}

/// Takes some time, and fails now and then.
async fn process(luck: u64) -> Result<Reply, Broken> {
    match luck % 8 {
        0 | 1 => {}
        2 => sleep(40 * MS).await,
        _ => sleep(MS * (luck % 5) as u32).await,
    }
    match luck % 37 {
        0 | 1 => Err(Broken),
        2 => panic!("{}", PANIC),
        3 | 4 => Ok(Reply::Failure),
        _ => Ok(Reply::Answer),
    }
}

pub(crate) fn all() -> Vec<Site> {
    let settings = OfferDedupLayer::builder;
    let offers = |call: &Call| Some(Offer::new(call.peer, Fingerprint::sdp(&call.sdp)));
    let queue = WhenBusy::Queue {
        depth: 4,
        timeout: 60 * MS,
    };
    let is_answer = |reply: &Reply| *reply == Reply::Answer;
    let refuse = move || Refuse::with(|_| Reply::Refused).success_if(is_answer);
    let replay = move || Replay::with(|_| Reply::Refused).success_if(is_answer);
    macro_rules! room {
        ($name:literal, $has_waiters:literal, $builder:expr) => {{
            let layer = $builder.build();
            let service = service_fn(|call: Call| process(call.luck));
            site($name, $has_waiters, layer.layer(service), layer.handle())
        }};
    }
    vec![
        whip("whip, 2 s", 2000 * MS),
        whip("whip, 300 ms", 300 * MS),
        room!(
            "room, 1 s",
            false,
            settings()
                .offers(offers)
                .window(1000 * MS)
                .cooldown(100 * MS)
                .lease(15 * MS)
                .answer(refuse())
        ),
        room!(
            "room with tasks and a queue, 3 s",
            true,
            settings()
                .offers(offers)
                .window(3000 * MS)
                .cooldown(5 * MS)
                .lease(15 * MS)
                .when_busy(queue)
                .answer(refuse())
                .finish_abandoned()
        ),
        room!(
            "replaying room with a queue, 100 ms",
            true,
            settings()
                .offers(offers)
                .window(100 * MS)
                .cooldown(Duration::ZERO)
                .lease(15 * MS)
                .when_busy(queue)
                .answer(replay())
                .remember_failures(true)
        ),
        Site {
            supersedes: true,
            ..room!(
                "room where the newest offer wins, 1 s",
                true,
                settings()
                    .offers(offers)
                    .window(1000 * MS)
                    .lease(15 * MS)
                    .when_busy(WhenBusy::Supersede)
                    .answer(replay())
            )
        },
    ]
}

fn site<S>(name: &'static str, has_waiters: bool, service: S, handle: OfferDedupHandle) -> Site
where
    S: Service<Call, Response = Reply, Error = Broken, Future: Send> + Clone + Send + Sync + 'static,
{
    let service = BoxCloneSyncService::new(service);
    Site {
        name,
        handle,
        send: Box::new(move |call| {
            // `call` happens here, so that the offer counts as sent whatever happens to the future.
            let answer = service.clone().call(call);
            Box::pin(async move { drop(answer.await) })
        }),
        key: PeerKey::from,
        sent: AtomicU64::new(0),
        has_waiters,
        supersedes: false,
    }
}

/// Like [`OfferDedupLayer::whip`], with shorter times.
fn whip(name: &'static str, window: Duration) -> Site {
    let offers = HttpOffers::new().peer(PeerFrom::path()).peer(PeerFrom::bearer());
    let layer = OfferDedupLayer::whip()
        .offers(offers)
        .window(window)
        .lease(15 * MS)
        .build();
    let handle = layer.handle();
    let service = layer.layer(service_fn(|request: Request<_>| {
        let luck = request.extensions().get().copied().unwrap_or_default();
        // The handler does not need the buffered body.
        drop::<Request<tower_offer_dedup::http::BufferedBody<Full<Bytes>>>>(request);
        async move {
            let answer = |status| {
                Response::builder()
                    .status(status)
                    .body(Full::new(Bytes::from_static(b"v=0")))
            };
            process(luck).await.map(|reply| match reply {
                Reply::Answer => answer(StatusCode::CREATED).unwrap(),
                Reply::Failure | Reply::Refused => answer(StatusCode::BAD_REQUEST).unwrap(),
            })
        }
    }));
    let service = BoxCloneSyncService::new(service.map_response(|_| Reply::Answer).map_err(|error: Broken| error));
    Site {
        name,
        handle,
        send: Box::new(move |call| {
            let request = Request::post(path(call.peer))
                .header("authorization", "Bearer secret")
                .header("content-type", "application/sdp")
                .extension(call.luck)
                .body(Full::new(Bytes::copy_from_slice(call.sdp.as_bytes())))
                .unwrap();
            let answer = service.clone().call(request);
            Box::pin(async move { drop(answer.await) })
        }),
        key: |peer| (path(peer).as_str(), "secret").into(),
        sent: AtomicU64::new(0),
        has_waiters: true,
        supersedes: false,
    }
}

fn path(peer: u64) -> String {
    format!("/whip/{peer}")
}
