//! A panic anywhere releases the peer at once and reaches the caller.

mod support;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
};

use support::{
    End, ManualService, Message, Reply, SECOND,
    layered::{Layered, Policy, assert_released, queueing},
    offer, offers, refuse,
};
use tokio_test::{assert_pending, task::spawn};
use tower::{Layer, Service};
use tower_offer_dedup::{
    Offer, OfferDedupLayer, Refusal,
    answer::{Answer, Duplicates, Settled},
};

#[tokio::test(start_paused = true)]
async fn inner_panic_releases_and_reaches_caller() {
    for policy in Policy::INLINE {
        let mut layered = Layered::new(policy, queueing);
        layered.manual.panic_in_call();
        let service = &mut layered.service;
        let panic = catch_unwind(AssertUnwindSafe(|| drop(service.call(offer("p", "f")))));
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"call panics"));
        assert_eq!(layered.stats().abandoned, 1);
        assert_released(&mut layered, offer("p", "f"));

        let mut layered = Layered::new(policy, queueing);
        let mut first = layered.call(offer("p", "f"));
        assert_pending!(first.poll());
        let mut queued = layered.call(offer("p", "g"));
        assert_pending!(queued.poll());
        layered.manual.end(End::Panic);
        let panic = catch_unwind(AssertUnwindSafe(|| drop(first.poll())));
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"processing panics"));
        // The future that panicked has not been dropped yet.
        assert!(queued.is_woken());
        drop(queued);
        assert_released(&mut layered, offer("p", "f"));
        drop(first);
    }
}

#[tokio::test(start_paused = true)]
async fn panic_of_queued_call_wakes_next() {
    let mut layered = Layered::new(Policy::Replay, queueing);
    let first = layered.call(offer("p", "f"));
    let [mut front, mut next] = ["g", "h"].map(|text| layered.call(offer("p", text)));
    assert_pending!(front.poll());
    assert_pending!(next.poll());
    drop(first);
    layered.manual.panic_in_call();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(front.poll()))).is_err());
    assert!(next.is_woken());
    assert_pending!(next.poll());
    assert_eq!(layered.manual.call_text(2), "h");
}

/// An answer that panics at the chosen point.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Faulty {
    InSettle,
    Settling,
    Replay,
    Refuse,
}

impl<E> Answer<Reply, E> for Faulty {
    type Response = Reply;
    type Record = Reply;
    type Settle = Pin<Box<dyn Future<Output = Settled<Reply, Reply>> + Send>>;

    fn duplicates(&self) -> Duplicates {
        Duplicates::Wait {
            max_waiters: 1,
            wait_timeout: SECOND,
        }
    }

    fn pass(&self, reply: Reply) -> Reply {
        reply
    }

    fn settle(&self, reply: Reply, _: &Offer) -> Self::Settle {
        assert_ne!(*self, Self::InSettle);
        let faulty = *self;
        Box::pin(async move {
            assert_ne!(faulty, Self::Settling);
            Settled::success(reply.clone()).recorded(reply, 8)
        })
    }

    fn replay(&self, reply: &Reply) -> Reply {
        assert_ne!(*self, Self::Replay);
        reply.clone()
    }

    fn refuse(&self, refusal: &Refusal) -> Result<Reply, E> {
        assert_ne!(*self, Self::Refuse);
        Ok(refuse(refusal))
    }
}

#[tokio::test(start_paused = true)]
async fn answer_panic_leaves_nothing_held() {
    for faulty in [Faulty::InSettle, Faulty::Settling, Faulty::Replay, Faulty::Refuse] {
        let manual = ManualService::default();
        let layer = OfferDedupLayer::builder()
            .offers(offers as fn(&Message) -> _)
            .answer(faulty)
            .build();
        let mut service = layer.layer(manual.clone());
        let mut first = spawn(service.call(offer("p", "f")));
        assert_pending!(first.poll());
        let mut waits = spawn(service.call(offer("p", "f")));
        assert_pending!(waits.poll());
        let one_too_many = catch_unwind(AssertUnwindSafe(|| drop(service.call(offer("p", "f")))));
        assert_eq!(one_too_many.is_err(), faulty == Faulty::Refuse);

        manual.end(End::Answer);
        let fails = matches!(faulty, Faulty::InSettle | Faulty::Settling);
        assert_eq!(catch_unwind(AssertUnwindSafe(|| drop(first.poll()))).is_err(), fails);
        assert!(waits.is_woken());
        let woken = catch_unwind(AssertUnwindSafe(|| drop(waits.poll())));
        assert_eq!(woken.is_err(), faulty == Faulty::Replay, "{faulty:?}");
        assert_eq!(
            layer.handle().is_processing("p"),
            fails,
            "{faulty:?}: the follower leads after a panic"
        );
        drop(waits);
        let stats = layer.handle().stats();
        assert_eq!((stats.claims, stats.waiters), (0, 0), "{faulty:?}");
        assert_eq!(stats.memories, u64::from(!fails), "{faulty:?}");
    }
}
