//! Many tasks on real threads: no two offers of a peer run at once, no offer runs twice, and nothing is left at the
//! end. A release build sends ten million offers. A debug build is slow and sends 1.6 million. `THREADS_OFFERS` sets
//! another number. A fifth as many come on top while peers are forgotten, where only the last of the promises holds.

mod common;

use std::{
    collections::VecDeque,
    env,
    io::{Write, stderr},
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
    time::{Duration, Instant},
};

use common::{
    Broken, Message, Reply, collectors, offer,
    station::{Boxed, Policy, around},
};
use futures_util::FutureExt;
use tokio::{runtime, task::yield_now, time::timeout};
use tower::Service;
use tower_offer_dedup::{OfferDedupHandle, WhenBusy};

const PEERS: [&str; 4] = ["a", "b", "c", "d"];
const TASKS: u64 = 64;

/// Four policies, each with and without a queue.
const CASES: u64 = 8;

/// The number of offers remembered per peer.
const REMEMBERED: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Case {
    policy: Policy,
    when_busy: WhenBusy,
    /// Forgets peers meanwhile. A new offer may then overlap with a forgotten one.
    forgets: bool,
    offers_per_task: u64,
}

/// The inner service's view of one peer.
#[derive(Debug, Default)]
struct Peer {
    is_busy: AtomicBool,
    processed: Mutex<Processed>,
    /// The text that clients send now.
    text: AtomicU64,
}

/// The offers that were processed with success.
#[derive(Debug, Default)]
struct Processed {
    offers: u64,
    /// The latest of them in order, at least as many as the layer remembers.
    lately: VecDeque<String>,
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

/// Marks the peer as busy until it is dropped.
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
        let is_repeated = processed.lately.contains(&text);
        assert!(!(self.is_strict && is_repeated), "WRONG: {text} is processed twice");
        processed.offers += 1;
        processed.lately.push_back(text);
        if processed.lately.len() > REMEMBERED {
            processed.lately.pop_front();
        }
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

/// Sends offers, gives up on some, and forgets a peer now and then.
async fn send(mut service: Boxed, handle: OfferDedupHandle, peers: Arc<[Peer; PEERS.len()]>, case: Case, seed: u64) {
    let mut chance = Chance(seed);
    for _ in 0..case.offers_per_task {
        let n = chance.below(PEERS.len() as u64) as usize;
        let text = match chance.below(60) {
            0 => peers[n].text.fetch_add(1, Relaxed) + 1,
            // An offer that other tasks may have replaced already.
            1..6 => peers[n].text.load(Relaxed).saturating_sub(chance.below(8)),
            _ => peers[n].text.load(Relaxed),
        };
        let call = AssertUnwindSafe(async { service.call(offer(PEERS[n], text.to_string())).await }).catch_unwind();
        if chance.one_in(4) {
            let give_up = async {
                for _ in 0..chance.below(6) {
                    yield_now().await;
                }
            };
            tokio::select! { biased; _ = call => {}, () = give_up => {} }
        } else {
            let _ = call.await;
        }
        if case.forgets && chance.one_in(40) {
            handle.forget(PEERS[n]);
        }
        if case.forgets && chance.one_in(2000) {
            handle.clear();
        }
        if chance.one_in(8) {
            yield_now().await;
        }
    }
}

/// Sends the offers of a case. Returns their number.
fn run(case: Case) -> u64 {
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
            .map(|seed| send(service.clone(), handle.clone(), Arc::clone(&peers), case, seed * 7919))
            .map(tokio::spawn)
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        handle.drain().await;
    };
    let is_done = runtime.block_on(async { timeout(Duration::from_secs(600), work).await });
    let stats = handle.stats();
    assert!(is_done.is_ok(), "{case:?}: stuck with {stats:?}");

    assert_eq!((stats.claims, stats.waiters), (0, 0), "{case:?}");
    let answered = stats.admitted + stats.replayed + stats.refused() + stats.waits_abandoned;
    assert_eq!(answered, TASKS * case.offers_per_task, "{case:?}: {stats:?}");
    assert_eq!(
        stats.admitted,
        stats.completed + stats.failed + stats.abandoned,
        "{case:?}"
    );
    assert_eq!(
        (stats.taken_over, stats.refused_timed_out),
        (0, 0),
        "{case:?}: a wake-up was lost"
    );
    for (name, peer) in PEERS.iter().zip(&*peers) {
        assert!(!handle.is_processing(*name) && !peer.is_busy.load(SeqCst), "{case:?}");
        let processed = peer.processed.lock().unwrap().offers;
        assert!(processed > 20, "{case:?}: only {processed} were processed");
        handle.forget(*name);
        assert!(!handle.forget(*name), "{case:?}: {name} still has state");
    }
    let duplicates = stats.replayed + stats.refused_in_flight + stats.refused_processed;
    assert!(
        duplicates > 1000 && stats.failed > 20 && stats.abandoned > 20,
        "{case:?}: {stats:?}"
    );
    runtime.block_on(collectors::end());
    assert_eq!((handle.stats().memories, handle.stats().bytes), (0, 0));
    answered
}

fn offers() -> u64 {
    let default = if cfg!(debug_assertions) { 1_600_000 } else { 10_000_000 };
    let number = |value: String| {
        value
            .replace('_', "")
            .parse()
            .expect("THREADS_OFFERS should be a number")
    };
    env::var("THREADS_OFFERS").map_or(default, number)
}

#[test]
fn offers_never_overlap_or_repeat() {
    let wrong = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&wrong);
    // The inner service panics on purpose, and the clients catch it.
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
    let (offers, start) = (offers(), Instant::now());
    let mut sent = 0;
    for policy in Policy::ALL {
        for when_busy in [WhenBusy::Refuse, queue] {
            let case = |forgets, offers: u64| Case {
                policy,
                when_busy,
                forgets,
                offers_per_task: offers.div_ceil(CASES * TASKS),
            };
            sent += run(case(false, offers));
            run(case(true, offers / 5));
            assert!(wrong.lock().unwrap().is_empty(), "{policy:?}, {when_busy:?}: see above");
        }
    }
    assert!(sent >= offers, "{sent} offers");
    // Writes past the test harness, which captures the output of a test.
    let seconds = start.elapsed().as_secs_f64();
    let line = format!("threads: {sent} offers by {TASKS} tasks in {seconds:.0} s\n");
    stderr().write_all(line.as_bytes()).unwrap();
}
