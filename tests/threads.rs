//! Many tasks on real threads: no two offers of a peer run at once, no offer runs twice, and nothing is left at the
//! end. A release build sends ten million offers. A debug build is slow and sends 1.6 million. `THREADS_OFFERS` sets
//! another number. A fifth as many come on top while peers and offers are forgotten.
//!
//! A claim that lost its lock may run on for a moment: it was taken over or forgotten. So the first promise is that no
//! more inner futures than that were alive when the next one of their peer began. Claims are taken over only where
//! processing is detached, or where the newest offer wins and the loser was not dropped in time.

mod support;

use std::{
    collections::{BTreeMap, VecDeque},
    env,
    io::{Write, stderr},
    panic::{AssertUnwindSafe, set_hook},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use support::{
    Broken, Message, Reply, collectors,
    layered::{Boxed, Policy, around},
    offer,
};
use tokio::{runtime, task::yield_now, time::timeout};
use tower::Service;
use tower_offer_dedup::{Fingerprint, OfferDedupHandle, WhenBusy};

const PEERS: [&str; 4] = ["a", "b", "c", "d"];
const TASKS: u64 = 64;

/// Four policies, each with three ways to meet other offers.
const CASES: u64 = 12;

/// The number of offers remembered per peer.
const REMEMBERED: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Case {
    policy: Policy,
    when_busy: WhenBusy,
    /// Forgets peers and offers meanwhile.
    forgets: bool,
    offers_per_task: u64,
}

impl Case {
    fn is_detached(self) -> bool {
        Policy::DETACHED.contains(&self.policy)
    }

    /// The number of losers that may end too late, of `superseded` in all. A busy machine may not poll them within
    /// their 100 ms, and the inner service of some has answered already.
    fn late_losers(self, superseded: u64) -> u64 {
        let has_losers = self.when_busy == WhenBusy::Supersede;
        u64::from(has_losers) * (10 + superseded / 20)
    }
}

/// The inner service's view of one peer.
#[derive(Debug, Default)]
struct Peer {
    /// The inner futures that are alive, and whether a later one began meanwhile.
    alive: Mutex<BTreeMap<u64, bool>>,
    processed: Mutex<Processed>,
    /// The text that clients send now.
    text: AtomicU64,
}

/// The offers that were processed with success.
#[derive(Debug, Default)]
struct Processed {
    offers: u64,
    repeated: u64,
    /// The latest of them in order, at least as many as the layer remembers.
    lately: VecDeque<String>,
}

#[derive(Clone, Debug)]
struct Inner {
    peers: Arc<[Peer; PEERS.len()]>,
    chance: Arc<AtomicU64>,
    /// The number of inner futures that were alive when a later one of their peer began.
    overtaken: Arc<AtomicU64>,
}

impl Service<Message> for Inner {
    type Response = Reply;
    type Error = Broken;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, Broken>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, message: Message) -> Self::Future {
        let n = PEERS.iter().position(|peer| *peer == message.peer).unwrap();
        let seed = self.chance.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed);
        let busy = Busy::new(Arc::clone(&self.peers), n, seed, &self.overtaken);
        let mut chance = Chance(seed | 1);
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

/// An inner future that is alive until this is dropped.
struct Busy {
    peers: Arc<[Peer; PEERS.len()]>,
    n: usize,
    id: u64,
}

impl Busy {
    fn new(peers: Arc<[Peer; PEERS.len()]>, n: usize, id: u64, overtaken: &AtomicU64) -> Self {
        let mut alive = peers[n].alive.lock().unwrap();
        for is_overtaken in alive.values_mut().filter(|is_overtaken| !**is_overtaken) {
            *is_overtaken = true;
            overtaken.fetch_add(1, Relaxed);
        }
        alive.insert(id, false);
        drop(alive);
        Self { peers, n, id }
    }

    fn processed(&self, text: String) {
        let mut processed = self.peers[self.n].processed.lock().unwrap();
        processed.repeated += u64::from(processed.lately.contains(&text));
        processed.offers += 1;
        processed.lately.push_back(text);
        if processed.lately.len() > REMEMBERED {
            processed.lately.pop_front();
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.peers[self.n].alive.lock().unwrap().remove(&self.id);
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

/// Sends offers, gives up on some, and forgets a peer or an offer now and then. Returns how often it forgot everything.
async fn send(
    mut service: Boxed,
    handle: OfferDedupHandle,
    peers: Arc<[Peer; PEERS.len()]>,
    case: Case,
    seed: u64,
) -> u64 {
    let (mut chance, mut cleared) = (Chance(seed), 0);
    for _ in 0..case.offers_per_task {
        let n = chance.below(PEERS.len() as u64) as usize;
        let text = match chance.below(60) {
            0 => peers[n].text.fetch_add(1, Relaxed) + 1,
            // An offer that other tasks may have replaced already.
            1..6 => peers[n].text.load(Relaxed).saturating_sub(chance.below(8)),
            _ => peers[n].text.load(Relaxed),
        };
        let fingerprint = Fingerprint::exact(text.to_string().as_bytes());
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
        if case.forgets && chance.one_in(40) {
            handle.forget_offer(PEERS[n], fingerprint);
        }
        if case.forgets && chance.one_in(2000) {
            handle.clear();
            cleared += 1;
        }
        if chance.one_in(8) {
            yield_now().await;
        }
    }
    cleared
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
        overtaken: Arc::default(),
    };
    let (peers, overtaken) = (Arc::clone(&inner.peers), Arc::clone(&inner.overtaken));
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
        let mut cleared = 0;
        for task in tasks {
            cleared += task.await.unwrap();
        }
        handle.drain().await;
        cleared
    };
    let done = runtime.block_on(async { timeout(Duration::from_secs(600), work).await });
    let stats = handle.stats();
    let cleared = done.unwrap_or_else(|_| panic!("{case:?}: stuck with {stats:?}"));

    assert_eq!((stats.claims, stats.waiters), (0, 0), "{case:?}");
    let answered = stats.admitted + stats.replayed + stats.refused() + stats.waits_abandoned;
    assert_eq!(answered, TASKS * case.offers_per_task, "{case:?}: {stats:?}");
    let ended = stats.completed + stats.failed + stats.abandoned + stats.superseded;
    assert_eq!(stats.admitted, ended, "{case:?}: {stats:?}");
    assert_eq!(stats.refused_timed_out, 0, "{case:?}: a wake-up was lost");
    let overtaken = overtaken.load(Relaxed);
    // Each of them ends one claim of each peer at most.
    let lost = stats.taken_over + stats.forgotten + cleared * PEERS.len() as u64;
    assert!(overtaken <= lost, "{case:?}: {overtaken} overlaps, but {stats:?}");
    let late_losers = case.late_losers(stats.superseded);
    let is_slow = !case.is_detached() && stats.taken_over > late_losers;
    assert!(!is_slow, "{case:?}: {stats:?}");
    let has_losers = stats.superseded > 0 && stats.refused_superseded > 0;
    assert_eq!(has_losers, case.when_busy == WhenBusy::Supersede, "{case:?}: {stats:?}");
    // Followers attend most claims whose client has gone.
    if case.is_detached() && !case.policy.replays() {
        assert!(stats.taken_over > 0, "{case:?}: no work was abandoned");
    }
    for (name, peer) in PEERS.iter().zip(&*peers) {
        let is_idle = !handle.is_processing(*name) && peer.alive.lock().unwrap().is_empty();
        assert!(is_idle, "{case:?}: {name} is still processed");
        let processed = peer.processed.lock().unwrap();
        let (offers, repeated) = (processed.offers, processed.repeated);
        assert!(offers > 20, "{case:?}: only {offers} were processed");
        // The result of a claim without the lock counts for nothing.
        let is_repeated = !case.forgets && repeated > stats.taken_over + late_losers;
        assert!(!is_repeated, "{case:?}: {repeated} offers were processed twice");
        drop(processed);
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
        for when_busy in [WhenBusy::Refuse, queue, WhenBusy::Supersede] {
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
