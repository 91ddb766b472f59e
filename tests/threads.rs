//! Many tasks on real threads: no two offers of a peer at once, no offer twice, nothing left at the end.

mod common;

use std::{
    panic::{AssertUnwindSafe, set_hook},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    task::{Context, Poll},
    time::Duration,
};

use common::{
    Broken, Message, Reply, offer,
    station::{Boxed, Policy, around},
};
use futures_util::FutureExt;
use tokio::{runtime, task::yield_now, time::timeout};
use tower::Service;
use tower_offer_dedup::{OfferDedupHandle, WhenBusy};

const PEERS: [&str; 4] = ["a", "b", "c", "d"];
const TASKS: u64 = 64;
const OFFERS_PER_TASK: u64 = 1500;

/// How many offers of one peer are remembered.
const REMEMBERED: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Case {
    policy: Policy,
    when_busy: WhenBusy,
    /// Peers are forgotten meanwhile: then a new offer may well overlap with a forgotten one.
    forgets: bool,
}

/// What the inner service saw of one peer.
#[derive(Debug, Default)]
struct Peer {
    is_busy: AtomicBool,
    /// What was processed with success, in order.
    processed: Mutex<Vec<String>>,
    /// The text that is sent now.
    text: AtomicU64,
}

#[derive(Clone, Debug)]
struct Inner {
    peers: Arc<[Peer; PEERS.len()]>,
    chance: Arc<AtomicU64>,
    is_strict: bool,
}

impl Service<Message> for Inner {
    type Response = Reply;
    type Error = Broken;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, Broken>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, message: Message) -> Self::Future {
        let (inner, n) = (
            self.clone(),
            PEERS.iter().position(|peer| *peer == message.peer).unwrap(),
        );
        let busy = Busy::new(inner.peers, n, self.is_strict);
        let mut chance = Chance(self.chance.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed) | 1);
        if chance.one_in(30) {
            panic!("call panics");
        }
        Box::pin(async move {
            for _ in 0..chance.below(3) {
                yield_now().await;
            }
            match chance.below(20) {
                0 => Err(Broken),
                1 => panic!("processing panics"),
                2 | 3 => Ok(Reply::Failure(0)),
                _ => {
                    busy.processed(message.offer.unwrap());
                    Ok(Reply::Answer(0))
                }
            }
        })
    }
}

/// The peer is busy until it is dropped.
struct Busy {
    peers: Arc<[Peer; PEERS.len()]>,
    n: usize,
    is_strict: bool,
}

impl Busy {
    fn new(peers: Arc<[Peer; PEERS.len()]>, n: usize, is_strict: bool) -> Self {
        let was_busy = peers[n].is_busy.swap(true, SeqCst);
        assert!(
            !(is_strict && was_busy),
            "WRONG: two offers of one peer are processed at once"
        );
        Self { peers, n, is_strict }
    }

    fn processed(&self, text: String) {
        let mut processed = self.peers[self.n].processed.lock().unwrap();
        let lately = processed.iter().rev().take(REMEMBERED);
        let is_repeated = lately.into_iter().any(|known| *known == text);
        assert!(!(self.is_strict && is_repeated), "WRONG: {text} is processed twice");
        processed.push(text);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.peers[self.n].is_busy.store(false, SeqCst);
    }
}

/// Marsaglia's xorshift.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Sends offers, goes away from some, and forgets a peer now and then.
async fn send(mut service: Boxed, handle: OfferDedupHandle, peers: Arc<[Peer; PEERS.len()]>, forgets: bool, seed: u64) {
    let mut chance = Chance(seed);
    for _ in 0..OFFERS_PER_TASK {
        let n = chance.below(PEERS.len() as u64) as usize;
        let text = match chance.below(60) {
            0 => peers[n].text.fetch_add(1, Relaxed) + 1,
            _ => peers[n].text.load(Relaxed),
        };
        let call = AssertUnwindSafe(async { service.call(offer(PEERS[n], text.to_string())).await }).catch_unwind();
        if chance.one_in(4) {
            let patience = async {
                for _ in 0..chance.below(6) {
                    yield_now().await;
                }
            };
            tokio::select! { biased; _ = call => {}, () = patience => {} }
        } else {
            let _ = call.await;
        }
        if forgets && chance.one_in(40) {
            handle.forget(PEERS[n]);
        }
        if forgets && chance.one_in(2000) {
            handle.clear();
        }
        if chance.one_in(8) {
            yield_now().await;
        }
    }
}

fn run(case: Case) {
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let inner = Inner {
        peers: Arc::default(),
        chance: Arc::new(AtomicU64::new(7)),
        is_strict: !case.forgets,
    };
    let peers = Arc::clone(&inner.peers);
    let (service, handle) = around(inner, case.policy, |builder| {
        builder
            .window(Duration::from_secs(3600))
            .cooldown(Duration::ZERO)
            .when_busy(case.when_busy)
    });
    let work = async {
        let tasks: Vec<_> = (1..=TASKS)
            .map(|seed| {
                send(
                    service.clone(),
                    handle.clone(),
                    Arc::clone(&peers),
                    case.forgets,
                    seed * 7919,
                )
            })
            .map(tokio::spawn)
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        handle.drain().await;
    };
    let is_done = runtime.block_on(async { timeout(Duration::from_secs(60), work).await });
    let stats = handle.stats();
    assert!(is_done.is_ok(), "{case:?}: stuck with {stats:?}");

    assert_eq!((stats.claims, stats.waiters), (0, 0), "{case:?}");
    let answered = stats.admitted + stats.replayed + stats.refused() + stats.waits_abandoned;
    assert_eq!(answered, TASKS * OFFERS_PER_TASK, "{case:?}: {stats:?}");
    assert_eq!(
        stats.admitted,
        stats.completed + stats.failed + stats.abandoned,
        "{case:?}"
    );
    assert_eq!(
        (stats.taken_over, stats.refused_timed_out),
        (0, 0),
        "{case:?}: a wake-up is lost"
    );
    for (name, peer) in PEERS.iter().zip(&*peers) {
        assert!(!handle.is_processing(*name) && !peer.is_busy.load(SeqCst), "{case:?}");
        let processed = peer.processed.lock().unwrap().len();
        assert!(processed > 50, "{case:?}: only {processed} were processed");
        handle.forget(*name);
        assert!(!handle.forget(*name), "{case:?}: something is left of {name}");
    }
    let duplicates = stats.replayed + stats.refused_in_flight + stats.refused_processed;
    assert!(
        duplicates > 1000 && stats.failed > 20 && stats.abandoned > 20,
        "{case:?}: {stats:?}"
    );
}

#[test]
fn nothing_overlaps_repeats_or_is_left_behind() {
    let wrong = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&wrong);
    // The inner service panics on purpose, and requests catch it.
    set_hook(Box::new(move |panic| {
        let message = panic.to_string();
        if !message.contains("processing panics") && !message.contains("call panics") {
            eprintln!("{message}");
            seen.lock().unwrap().push(message);
        }
    }));
    let queue = WhenBusy::Queue {
        depth: 8,
        timeout: Duration::from_secs(30),
    };
    for policy in Policy::ALL {
        for when_busy in [WhenBusy::Refuse, queue] {
            for forgets in [false, true] {
                run(Case {
                    policy,
                    when_busy,
                    forgets,
                });
                assert!(wrong.lock().unwrap().is_empty(), "{policy:?}, {when_busy:?}: see above");
            }
        }
    }
}
