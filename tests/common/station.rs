//! The layer around a [`Desk`], whatever its policy.

use tokio_test::{
    assert_pending,
    task::{Spawn, spawn},
};
use tower::{Layer, Service, util::BoxCloneService};
use tower_offer_dedup::{OfferDedupBuilder, OfferDedupHandle, Refuse, Replay, Stats, WhenBusy};

use super::{Broken, Desk, Message, Reply, SECOND, is_answer, offers, refuse};

/// How duplicates are answered, and where offers are processed.
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

/// A desk behind the layer.
pub struct Station {
    pub desk: Desk,
    pub service: Boxed,
    pub handle: OfferDedupHandle,
}

impl Station {
    /// Failures are [`Reply::Failure`]s; `settings` changes the layer's defaults.
    pub fn new(policy: Policy, settings: impl FnOnce(OfferDedupBuilder) -> OfferDedupBuilder) -> Self {
        let desk = Desk::default();
        let (service, handle) = around(desk.clone(), policy, settings);
        Self { desk, service, handle }
    }

    /// Calls with a message, without a poll.
    pub fn call(&mut self, message: Message) -> Pending {
        spawn(self.service.call(message))
    }

    pub fn stats(&self) -> Stats {
        self.handle.stats()
    }

    /// Fails unless nothing is held and nothing waits.
    #[track_caller]
    pub fn assert_idle(&self) {
        let Stats { claims, waiters, .. } = self.stats();
        assert_eq!((claims, waiters), (0, 0), "claims and waiters left behind");
    }
}

/// The layer around any service that answers like a desk.
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

/// Others wait: at most 8, at most 10 s.
pub fn queueing(builder: OfferDedupBuilder) -> OfferDedupBuilder {
    let timeout = 10 * SECOND;
    builder.when_busy(WhenBusy::Queue { depth: 8, timeout })
}

/// The peer is free, nothing is remembered, nothing waits: the next offer is processed.
#[track_caller]
pub fn assert_released(station: &mut Station, message: Message) {
    station.assert_idle();
    assert!(!station.handle.is_processing(message.peer));
    assert!(!station.handle.forget(message.peer), "something is left of the peer");
    assert_eq!(station.stats().memories, 0);
    let calls = station.desk.calls();
    let mut next = station.call(message);
    assert_pending!(next.poll());
    assert_eq!(station.desk.calls(), calls + 1);
}
