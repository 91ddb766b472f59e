//! The layer around the controlled inner service, under any policy.

use tokio_test::{
    assert_pending,
    task::{Spawn, spawn},
};
use tower::{Layer, Service, util::BoxCloneService};
use tower_offer_dedup::{OfferDedupBuilder, OfferDedupHandle, Refuse, Replay, Stats, WhenBusy};

use super::{Broken, ManualService, Message, Reply, SECOND, is_answer, offers, refuse};

/// The policy on duplicates, and whether processing is detached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Refuse,
    Replay,
    RefuseDetached,
    ReplayDetached,
}

impl Policy {
    pub const ALL: [Self; 4] = [Self::Refuse, Self::Replay, Self::RefuseDetached, Self::ReplayDetached];
    pub const INLINE: [Self; 2] = [Self::Refuse, Self::Replay];
    pub const DETACHED: [Self; 2] = [Self::RefuseDetached, Self::ReplayDetached];

    pub fn replays(self) -> bool {
        matches!(self, Self::Replay | Self::ReplayDetached)
    }
}

pub type Boxed = BoxCloneService<Message, Reply, Broken>;

pub type Pending = Spawn<<Boxed as Service<Message>>::Future>;

/// The layer around a controlled inner service.
pub struct Layered {
    pub manual: ManualService,
    pub service: Boxed,
    pub handle: OfferDedupHandle,
}

impl Layered {
    /// `settings` changes the defaults of the builder. A [`Reply::Failure`] counts as a failure.
    pub fn new(policy: Policy, settings: impl FnOnce(OfferDedupBuilder) -> OfferDedupBuilder) -> Self {
        let manual = ManualService::default();
        let (service, handle) = around(manual.clone(), policy, settings);
        Self {
            manual,
            service,
            handle,
        }
    }

    /// Calls the service without polling the future.
    pub fn call(&mut self, message: Message) -> Pending {
        spawn(self.service.call(message))
    }

    pub fn stats(&self) -> Stats {
        self.handle.stats()
    }

    /// Asserts that no claim is held and no request waits.
    #[track_caller]
    pub fn assert_idle(&self) {
        let Stats { claims, waiters, .. } = self.stats();
        assert_eq!((claims, waiters), (0, 0), "claims and waiters left behind");
    }
}

/// Wraps the layer around any service with these request and response types.
pub fn around<S>(
    inner: S,
    policy: Policy,
    settings: impl FnOnce(OfferDedupBuilder) -> OfferDedupBuilder,
) -> (Boxed, OfferDedupHandle)
where
    S: Service<Message, Response = Reply, Error = Broken> + Clone + Send + 'static,
    S::Future: Send,
{
    let builder = settings(tower_offer_dedup::OfferDedupLayer::builder()).offers(offers as fn(&Message) -> _);
    macro_rules! built {
        ($layer:expr) => {{
            let layer = $layer;
            (Boxed::new(layer.layer(inner)), layer.handle())
        }};
    }
    let refusing = Refuse::with(refuse as fn(&_) -> _).success_if(is_answer);
    let replaying = Replay::with(refuse as fn(&_) -> _).success_if(is_answer);
    match policy {
        Policy::Refuse => built!(builder.answer(refusing).build()),
        Policy::Replay => built!(builder.answer(replaying).build()),
        Policy::RefuseDetached => built!(builder.answer(refusing).finish_abandoned().build()),
        Policy::ReplayDetached => built!(builder.answer(replaying).finish_abandoned().build()),
    }
}

/// Queues other offers: at most 8, for at most 10 s.
pub fn queueing(builder: OfferDedupBuilder) -> OfferDedupBuilder {
    let timeout = 10 * SECOND;
    builder.when_busy(WhenBusy::Queue { depth: 8, timeout })
}

/// Asserts that nothing is left of the peer, and that the next offer is processed.
#[track_caller]
pub fn assert_released(layered: &mut Layered, message: Message) {
    layered.assert_idle();
    assert!(!layered.handle.is_processing(message.peer));
    assert!(!layered.handle.forget(message.peer), "the peer still has state");
    assert_eq!(layered.stats().memories, 0);
    let calls = layered.manual.calls();
    let mut next = layered.call(message);
    assert_pending!(next.poll());
    assert_eq!(layered.manual.calls(), calls + 1);
}
