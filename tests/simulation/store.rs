//! [`SimStore`]: a node's connection to the store, through a network that misbehaves.

use std::{
    fmt,
    future::{pending, ready},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};
use tower_offer_dedup::{
    PeerKey,
    extract::SessionUri,
    store::{
        Ask, Claimed, Completed, Completion, Held, MemoryNode, NodeId, Notice, Notices, Renewed, Scope, SharedStore,
        StoreError, StoreFuture, notices,
    },
};

use crate::{link::Link, plan::Faults, random::Random, world::World};

/// A node's connection to the store, through a network that misbehaves.
#[derive(Clone)]
pub(crate) struct SimStore {
    world: Arc<World>,
    link: Arc<Link>,
    store: MemoryNode,
}

/// The network's effect on one message, or on a call and its reply.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    request: Duration,
    reply: Duration,
    duplicate: Option<Duration>,
    is_request_lost: bool,
    is_reply_lost: bool,
    fails_at_once: bool,
}

impl Fate {
    fn new(random: &mut Random, faults: &Faults, is_cut: bool) -> Self {
        let is_lost = is_cut || random.percent(faults.lost);
        let how = if is_lost { 1 + random.below(3) } else { 0 };
        Self {
            request: delay(random, faults),
            reply: delay(random, faults),
            duplicate: random
                .percent(faults.duplicated)
                .then(|| delay(random, faults) + random.millis(50)),
            // A message sent before the cut may still arrive.
            is_request_lost: how == 1 || (is_cut && how != 2),
            is_reply_lost: how == 2,
            fails_at_once: how == 3,
        }
    }

    fn is_undisturbed(&self) -> bool {
        self.request.is_zero() && self.reply.is_zero() && self.duplicate.is_none() && !self.loses_reply()
    }

    fn loses_reply(&self) -> bool {
        self.is_request_lost || self.is_reply_lost || self.fails_at_once
    }

    /// Returns whether the caller may see an error.
    fn may_fail(&self) -> bool {
        self.loses_reply() || self.request + self.reply >= Duration::from_millis(240)
    }
}

fn delay(random: &mut Random, faults: &Faults) -> Duration {
    if random.percent(faults.stuck) {
        random.millis(15_000)
    } else if random.percent(faults.late) {
        random.millis(600)
    } else if random.percent(faults.delayed) {
        random.millis(60)
    } else {
        Duration::ZERO
    }
}

impl SimStore {
    pub(crate) fn new(world: &Arc<World>, link: &Arc<Link>, store: MemoryNode) -> Self {
        Self {
            world: Arc::clone(world),
            link: Arc::clone(link),
            store,
        }
    }

    fn fate(&self) -> Fate {
        let mut random = self.world.random();
        Fate::new(&mut random, &self.world.faults(), self.link.is_cut())
    }

    /// Makes a call. `act` has its effect in the store.
    fn call<T: Send + 'static>(&self, act: impl Fn(&Self) -> T + Send + 'static) -> StoreFuture<T> {
        let fate = self.fate();
        if fate.is_undisturbed() && self.link.is_running() {
            return Box::pin(ready(Ok(act(self))));
        }
        if fate.may_fail() {
            self.link.note_trouble();
        }
        let (sender, receiver) = oneshot::channel();
        tokio::spawn(self.clone().carry(act, fate, sender));
        Box::pin(async move {
            match receiver.await {
                Ok(reply) => reply,
                Err(_lost) => pending().await,
            }
        })
    }

    /// Carries a call to the store and its reply back. It is not a part of the node, which may drop the call or die.
    async fn carry<T>(
        self,
        act: impl Fn(&Self) -> T + Send + 'static,
        fate: Fate,
        reply: oneshot::Sender<Result<T, StoreError>>,
    ) {
        let sent = Instant::now();
        self.link.running().await;
        sleep(fate.request).await;
        let mut replied = Err(StoreError::new("refused"));
        if !fate.is_request_lost && !fate.fails_at_once {
            self.world.model().is_stray = sent.elapsed() >= Duration::from_millis(250);
            replied = Ok(act(&self));
            self.world.model().is_stray = false;
        }
        if let Some(delay) = fate.duplicate.filter(|_| replied.is_ok()) {
            let this = self.clone();
            tokio::spawn(async move {
                sleep(delay).await;
                this.world.model().is_stray = true;
                drop(act(&this));
                this.world.model().is_stray = false;
            });
        }
        sleep(fate.reply).await;
        if !fate.is_request_lost && !fate.is_reply_lost {
            self.link.running().await;
            // The caller may have gone.
            let _ = reply.send(replied);
        }
    }

    /// Carries the notices to the node.
    async fn carry_notices(self, mut notices: Notices) {
        while let Some(notice) = notices.next().await {
            let is_hidden = notice == Notice::Cleared && self.hides_clear();
            if !is_hidden {
                self.carry_notice(notice);
            }
        }
    }

    fn hides_clear(&self) -> bool {
        let less = |hidden: usize| hidden.checked_sub(1);
        self.link.hidden_clears.fetch_update(Relaxed, Relaxed, less).is_ok()
    }

    fn carry_notice(&self, notice: Notice) {
        let (faults, is_cut) = (self.world.faults(), self.link.is_cut());
        let mut random = self.world.random();
        let is_lost = !is_cut && random.percent(faults.notices_lost);
        let is_double = random.percent(faults.duplicated);
        let delays = [delay(&mut random, &faults), delay(&mut random, &faults)];
        drop(random);
        if is_cut {
            self.link.note_missed();
        } else if is_lost {
            // The connection broke, and is there again.
            self.link.note_trouble();
            self.deliver(Notice::Missed, delays[0]);
        } else {
            if delays[0] >= Duration::from_millis(90) {
                self.link.note_trouble();
            }
            self.deliver(notice, delays[0]);
            if is_double {
                self.deliver(notice, delays[1]);
            }
        }
    }

    fn deliver(&self, notice: Notice, delay: Duration) {
        if delay.is_zero() && self.link.is_running() {
            self.world.model().noticed(self.link.node, &notice);
            self.link.notify(notice);
            return;
        }
        let store = self.clone();
        tokio::spawn(async move {
            sleep(delay).await;
            store.link.running().await;
            if store.link.is_cut() {
                store.link.note_missed();
                return;
            }
            store.world.model().noticed(store.link.node, &notice);
            store.link.notify(notice);
        });
    }

    /// Lets the store act. It decides at once.
    fn act<T>(&self, call: impl FnOnce(&MemoryNode) -> StoreFuture<T>) -> T {
        let replied = call(&self.store).now_or_never().expect("it is ready at once");
        replied.expect("it never fails")
    }
}

impl SharedStore for SimStore {
    fn node(&self) -> NodeId {
        self.store.node()
    }

    fn claim(&self, ask: Ask) -> StoreFuture<Claimed> {
        let faults = self.world.plan.faults;
        let ask = Ask {
            lease: faults.on_node_clock(ask.lease),
            supersede: ask.supersede.map(|window| faults.on_node_clock(window)),
            ..ask
        };
        self.call(move |this| {
            let claimed = this.act(|store| store.claim(ask));
            this.world.model().claimed(this.link.node, &ask, &claimed);
            let scaled = |left| faults.on_store_clock(left);
            match claimed {
                Claimed::Processed { left, fence, record } => Claimed::Processed {
                    left: scaled(left),
                    fence,
                    record,
                },
                Claimed::Superseded { left } => Claimed::Superseded { left: scaled(left) },
                Claimed::InFlight { left } => Claimed::InFlight { left: scaled(left) },
                Claimed::Busy { left, age } => Claimed::Busy {
                    left: scaled(left),
                    age: scaled(age),
                },
                Claimed::CoolingDown { left } => Claimed::CoolingDown { left: scaled(left) },
                admitted @ Claimed::Admitted { .. } => admitted,
            }
        })
    }

    fn renew(&self, held: Held, lease: Duration, is_abandoned: bool) -> StoreFuture<Renewed> {
        let lease = self.world.plan.faults.on_node_clock(lease);
        self.call(move |this| {
            let renewed = this.act(|store| store.renew(held, lease, is_abandoned));
            this.world.model().renewed(&held, lease, is_abandoned, renewed);
            renewed
        })
    }

    fn complete(&self, held: Held, completion: Completion) -> StoreFuture<Completed> {
        let faults = self.world.plan.faults;
        let completion = Completion {
            window: faults.on_node_clock(completion.window),
            cooldown: faults.on_node_clock(completion.cooldown),
            ..completion
        };
        self.call(move |this| {
            let completed = this.act(|store| store.complete(held, completion.clone()));
            this.world.model().completed(&held, &completion, completed);
            completed
        })
    }

    fn release(&self, held: Held) -> StoreFuture<()> {
        self.call(move |this| {
            this.act(|store| store.release(held));
            this.world.model().released(&held);
        })
    }

    fn forget(&self, peer: PeerKey, scope: Scope) -> StoreFuture<bool> {
        self.call(move |this| {
            let was_known = this.act(|store| store.forget(peer, scope));
            this.world.model().forgotten(this.link.node, Some(peer), scope);
            was_known
        })
    }

    fn announce(&self, uri: SessionUri) -> StoreFuture<()> {
        self.call(move |this| this.act(|store| store.announce(uri)))
    }

    fn clear(&self) -> StoreFuture<()> {
        self.call(|this| {
            this.act(SharedStore::clear);
            this.world.model().forgotten(this.link.node, None, Scope::Peer);
        })
    }

    fn ping(&self) -> StoreFuture<()> {
        // The breaker is open: until a ping succeeds, the node is cut off by itself.
        self.link.note_outage();
        self.call(|_| ())
    }

    fn listen(&self) -> Notices {
        let (notifier, notices) = notices();
        self.link.listen(notifier);
        tokio::spawn(self.clone().carry_notices(self.store.listen()));
        notices
    }
}

impl fmt::Debug for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimStore")
            .field("node", &self.link.node)
            .finish_non_exhaustive()
    }
}
