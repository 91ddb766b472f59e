//! [`World`]: runs one schedule.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, atomic::Ordering::Relaxed},
    thread, time,
    time::Duration,
};

use tokio::{
    runtime,
    time::{Instant, sleep, sleep_until, timeout},
};
use tower::Service;
use tower_offer_dedup::store::{MemoryNode, MemoryStore, SharedStore};

use crate::{
    model::Model,
    node::{Message, Node, Reply, fingerprint, peer},
    plan::{End, Faults, Offer, Plan, Step},
    random::Random,
};

/// After so long every claim, queue place, window and lease is over.
const QUIET: Duration = Duration::from_secs(150);

/// State that the parts of one schedule share.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) store: MemoryStore,
    random: Mutex<Random>,
    model: Mutex<Model>,
    faults: Mutex<Faults>,
}

/// The outcome of a schedule.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) violation: Option<String>,
    pub(crate) runs: usize,
    pub(crate) trace: Vec<String>,
}

/// Plays the schedule of a seed.
pub(crate) fn play(seed: u64, is_traced: bool) -> Played {
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let world = runtime.block_on(async {
        let world = Arc::new(World::new(seed, is_traced));
        Cast::new(&world).play().await;
        world
    });
    drop(runtime);
    let model = world.model();
    let mut played = Played {
        violation: model.violation().map(ToOwned::to_owned),
        runs: model.runs.len(),
        trace: model.trace().to_vec(),
    };
    drop(model);
    // The sessions of the runs keep their layers, and those the world.
    let runs = mem::take(&mut world.model().runs.runs);
    drop(runs);
    if !is_freed(world) {
        played
            .violation
            .get_or_insert_with(|| "a node is kept for ever".to_owned());
    }
    played
}

/// Returns whether nothing keeps the world any more. The collector thread may do so for a moment.
fn is_freed(world: Arc<World>) -> bool {
    let weak = Arc::downgrade(&world);
    drop(world);
    let give_up = time::Instant::now() + Duration::from_secs(60);
    while weak.strong_count() > 0 {
        if time::Instant::now() > give_up {
            return false;
        }
        thread::yield_now();
    }
    true
}

impl World {
    fn new(seed: u64, is_traced: bool) -> Self {
        let plan = Plan::new(seed);
        Self {
            store: MemoryStore::new(),
            random: Mutex::new(Random::new(!seed)),
            model: Mutex::new(Model::new(&plan, is_traced)),
            faults: Mutex::new(plan.faults),
            plan,
        }
    }

    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }

    pub(crate) fn random(&self) -> MutexGuard<'_, Random> {
        self.random.lock().unwrap()
    }

    pub(crate) fn faults(&self) -> Faults {
        *self.faults.lock().unwrap()
    }
}

/// The nodes.
struct Cast {
    world: Arc<World>,
    nodes: Vec<Node>,
    /// The number of nodes so far, those that died included.
    made: usize,
    /// Makes the store lose its data.
    admin: MemoryNode,
}

impl Cast {
    fn new(world: &Arc<World>) -> Self {
        let mut cast = Self {
            world: Arc::clone(world),
            nodes: Vec::new(),
            made: 0,
            admin: world.store.node(),
        };
        for _ in 0..world.plan.nodes {
            let node = cast.start();
            cast.nodes.push(node);
        }
        cast
    }

    fn start(&mut self) -> Node {
        let node = Node::new(&self.world, &self.world.plan.settings, self.made);
        self.made += 1;
        node
    }

    async fn play(mut self) {
        let world = Arc::clone(&self.world);
        let start = Instant::now();
        for (at, step) in &world.plan.steps {
            sleep_until(start + *at).await;
            world.model().note(|| format!("{step:?}"));
            self.act(*step).await;
        }
        // From now on the network works. Pauses and cuts end by themselves.
        *world.faults.lock().unwrap() = Faults {
            clock_rate: world.plan.faults.clock_rate,
            ..Faults::default()
        };
        sleep(QUIET).await;
        self.check_nothing_is_left().await;
        self.check_peers_are_free().await;
    }

    async fn act(&mut self, step: Step) {
        match step {
            Step::Send(offer) => {
                self.send(offer);
            }
            Step::Leave { back } => self.leave(back),
            Step::Forget { node, peer: number } => self.command(node, Some(number), |node| {
                node.handle.forget(peer(number));
            }),
            Step::ForgetOffer {
                node,
                peer: number,
                text,
            } => self.command(node, Some(number), |node| {
                node.handle.forget_offer(peer(number), fingerprint(text));
            }),
            Step::Clear { node } => self.command(node, None, |node| node.handle.clear()),
            Step::EndSession { back } => {
                let session = self.world.model().session(back);
                if let Some((node, peer, session)) = session {
                    self.world.model().commanded(node, Some(peer));
                    session.forget();
                }
            }
            Step::Pause { node, time } => {
                let link = Arc::clone(&self.nodes[node].link);
                link.pause();
                tokio::spawn(async move {
                    sleep(time).await;
                    link.resume();
                });
            }
            Step::Cut { node, time } => {
                let link = Arc::clone(&self.nodes[node].link);
                link.cut();
                tokio::spawn(async move {
                    sleep(time).await;
                    link.heal().await;
                });
            }
            Step::Crash { node } => self.crash(node),
            Step::LoseData => {
                for node in &self.nodes {
                    node.link.hidden_clears.fetch_add(1, Relaxed);
                }
                self.admin.clear().await.expect("it never fails");
                self.world.model().lost_data();
            }
        }
    }

    /// Runs a command of the node's own, unless it is paused.
    fn command(&self, node: usize, number: Option<u8>, command: impl FnOnce(&Node)) {
        let node = &self.nodes[node];
        if node.link.is_running() {
            self.world.model().commanded(node.link.node, number.map(peer));
            command(node);
        }
    }

    fn send(&mut self, offer: Offer) -> usize {
        let node = &mut self.nodes[offer.node];
        let (world, link, mut service) = (Arc::clone(&self.world), Arc::clone(&node.link), node.service.clone());
        let request = world.model().request_sent(&link, offer);
        let message = Message {
            request,
            offer,
            session: None,
            fence: None,
        };
        let task = tokio::spawn(async move {
            let reply = link
                .run(async move {
                    // The request arrives when the node runs.
                    world.model().request_arrived(request);
                    let reply = service.call(message).await;
                    (world, reply)
                })
                .await;
            let (world, reply) = reply;
            world.model().answered(request, reply);
        });
        node.requests.push((request, task));
        request
    }

    /// Lets the client of an earlier request go away. Its node notices that when it runs.
    fn leave(&self, back: usize) {
        let Some(request) = self.world.model().open_request(back) else {
            return;
        };
        for node in &self.nodes {
            if let Some((_, task)) = node.requests.iter().find(|(other, _)| *other == request) {
                let (world, link, task) = (Arc::clone(&self.world), Arc::clone(&node.link), task.abort_handle());
                tokio::spawn(async move {
                    link.running().await;
                    world.model().left(request);
                    task.abort();
                });
            }
        }
    }

    fn crash(&mut self, place: usize) {
        let successor = self.start();
        let node = std::mem::replace(&mut self.nodes[place], successor);
        node.link.kill();
        self.world.model().crashed(node.link.node);
        for (_, task) in &node.requests {
            task.abort();
        }
    }

    async fn check_nothing_is_left(&self) {
        for node in &self.nodes {
            let number = node.link.node;
            let drained = timeout(Duration::from_secs(1), node.handle.drain()).await;
            let stats = node.handle.stats();
            let mut model = self.world.model();
            model.expect(drained.is_ok(), || format!("node {number} does not drain"));
            let left = (stats.claims, stats.waiters);
            model.expect(left == (0, 0), || {
                format!("node {number} holds (claims, waiters) {left:?}")
            });
            let started = model.runs.started_on(number) as u64;
            model.expect(stats.admitted == started, || {
                format!("node {number} counts {} admitted, not {started}", stats.admitted)
            });
            let shared = format!("{:?}", node.handle);
            model.expect(shared.contains("messages: 0, signals: 0"), || {
                format!("node {number} has signals or messages left: {shared}")
            });
        }
        self.world.model().check_end();
    }

    /// Checks that a new offer of each peer is processed on each node.
    async fn check_peers_are_free(&mut self) {
        for number in 0..2 {
            for node in 0..self.nodes.len() {
                // The last offer may cool down.
                sleep(Duration::from_secs(5)).await;
                let request = self.send(Offer {
                    node,
                    peer: number,
                    text: 100 + node as u8,
                    work: Duration::ZERO,
                    end: End::Success,
                });
                sleep(Duration::from_secs(1)).await;
                let mut model = self.world.model();
                let reply = model.runs.reply(request);
                let is_answer = matches!(reply, Some(Reply::Answer { is_replay: false, .. }));
                model.expect(is_answer, || format!("peer {number} is not free: {reply:?}"));
            }
        }
    }
}
