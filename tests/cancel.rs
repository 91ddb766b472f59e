//! A future dropped at any point and in any order, or a panic, releases the peer at once and leaves nothing behind.

mod support;

use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::Poll,
};

use support::{
    End, ManualService, Message, Reply, builder,
    layered::{Layered, Pending, Policy, around, assert_released, queueing},
    offer, offers,
    probe::{Probe, Readiness},
    reason, refuse,
};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task::spawn};
use tower::{Layer, Service, service_fn};
use tower_offer_dedup::{
    OfferDedupHandle, OfferDedupLayer, Reason,
    extract::{ExtractOffer, Found},
};

#[tokio::test(start_paused = true)]
async fn drop_while_processing_releases_peer() {
    for policy in Policy::INLINE {
        for is_polled in [false, true] {
            let mut layered = Layered::new(policy, queueing);
            let mut first = layered.call(offer("p", "f"));
            if is_polled {
                assert_pending!(first.poll());
            }
            drop(first);
            assert!(layered.manual.was_dropped());
            assert_released(&mut layered, offer("p", "f"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn drop_while_waiting_for_capacity_releases_peer() {
    for policy in Policy::INLINE {
        for is_polled in [false, true] {
            let manual = ManualService::default();
            let (probe, usage) = Probe::new(&manual, Readiness::Full);
            let (service, handle) = around(probe, policy, queueing);
            let mut layered = Layered {
                manual,
                service,
                handle,
            };
            let mut first = layered.call(offer("p", "f"));
            if is_polled {
                assert_pending!(first.poll());
            }
            drop(first);
            usage.set(Readiness::Ready);
            assert_released(&mut layered, offer("p", "f"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_queue_front_yields_to_next() {
    for policy in Policy::ALL {
        let mut layered = Layered::new(policy, queueing);
        let mut first = layered.call(offer("p", "f"));
        assert_pending!(first.poll());
        let mut queued = ["g", "h", "i"].map(|text| layered.call(offer("p", text)));
        queued.iter_mut().for_each(|queued| assert_pending!(queued.poll()));
        let [front, middle, mut last] = queued;
        drop(middle);
        drop(front);
        assert!(!last.is_woken());
        layered.manual.end(End::Failure);
        first.await.unwrap();
        assert!(last.is_woken(), "{policy:?}");
        assert_pending!(last.poll());
        assert_eq!(
            (layered.manual.calls(), layered.manual.call_text(1)),
            (2, "i".to_owned()),
            "{policy:?}"
        );
        layered.manual.end(End::Failure);
        last.await.unwrap();
        assert_released(&mut layered, offer("p", "f"));
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_granted_waiter_wakes_next() {
    for policy in Policy::INLINE {
        let mut layered = Layered::new(policy, queueing);
        let mut first = layered.call(offer("p", "f"));
        assert_pending!(first.poll());
        let [mut front, mut next] = ["g", "h"].map(|text| layered.call(offer("p", text)));
        assert_pending!(front.poll());
        assert_pending!(next.poll());
        drop(first);
        assert!(front.is_woken() && !next.is_woken());
        drop(front);
        assert!(next.is_woken());
        assert_pending!(next.poll());
        assert_eq!(layered.manual.call_text(1), "h");
    }
}

#[tokio::test(start_paused = true)]
async fn follower_inherits_dropped_queue_place() {
    let mut layered = Layered::new(Policy::Replay, queueing);
    let mut first = layered.call(offer("p", "f"));
    assert_pending!(first.poll());
    let mut queued = layered.call(offer("p", "g"));
    assert_pending!(queued.poll());
    let mut followers = [(); 3].map(|()| layered.call(offer("p", "g")));
    followers
        .iter_mut()
        .for_each(|follower| assert_pending!(follower.poll()));
    drop(queued);
    for follower in &mut followers {
        assert!(follower.is_woken());
        assert_pending!(follower.poll());
    }
    layered.manual.end(End::Failure);
    assert_ready_ok!(first.poll());
    let [mut leader, mut second, third] = followers;
    assert!(leader.is_woken() && !second.is_woken());
    assert_pending!(leader.poll());
    drop(third);
    layered.manual.end(End::Failure);
    assert_eq!(assert_ready_ok!(leader.poll()), Reply::Failure(1));
    assert_eq!(assert_ready_ok!(second.poll()), Reply::Failure(1));
    assert_released(&mut layered, offer("p", "f"));
}

/// All permutations of `0..n`.
fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![vec![]];
    }
    let shorter = permutations(n - 1);
    let inserted = |order: &Vec<usize>| -> Vec<Vec<usize>> {
        (0..n)
            .map(|at| {
                let mut order = order.clone();
                order.insert(at, n - 1);
                order
            })
            .collect()
    };
    shorter.iter().flat_map(inserted).collect()
}

#[tokio::test(start_paused = true)]
async fn every_drop_order_leaves_nothing() {
    // The leader, its follower, two queued offers, and a follower of the first queued offer.
    let texts = ["f", "f", "g", "h", "g"];
    for order in permutations(texts.len()) {
        for is_polled_between in [false, true] {
            let mut layered = Layered::new(Policy::Replay, queueing);
            let mut requests: Vec<Option<Pending>> = Vec::new();
            for text in texts {
                let mut request = layered.call(offer("p", text));
                assert_pending!(request.poll());
                requests.push(Some(request));
            }
            assert_eq!((layered.stats().claims, layered.stats().waiters), (1, 4));
            for dropped in &order {
                requests[*dropped] = None;
                if is_polled_between {
                    for request in requests.iter_mut().flatten().filter(|request| request.is_woken()) {
                        assert_pending!(request.poll());
                    }
                    let is_left = requests.iter().flatten().next().is_some();
                    assert_eq!(
                        layered.handle.is_processing("p"),
                        is_left,
                        "{order:?}: the lock does not match the live requests"
                    );
                }
            }
            let stats = layered.stats();
            assert_eq!(stats.admitted, stats.abandoned, "{order:?}");
            assert_eq!(stats.admitted + stats.waits_abandoned, 5, "{order:?}");
            assert_released(&mut layered, offer("p", "f"));
        }
    }
}

/// An extractor that waits until the flag is set, then finds an offer.
struct Reading(Arc<AtomicBool>);

impl ExtractOffer<Message> for Reading {
    type Request = Message;
    type Read = Pin<Box<dyn Future<Output = Found<Message, Infallible>> + Send>>;

    fn extract(&self, message: Message) -> Found<Message, Self::Read> {
        let is_read = Arc::clone(&self.0);
        let mut message = Some(message);
        Found::Read(Box::pin(std::future::poll_fn(move |_| {
            if !is_read.load(Relaxed) {
                return Poll::Pending;
            }
            let message = message.take().unwrap();
            let offer = offers(&message).unwrap();
            Poll::Ready(Found::Offer(message, offer))
        })))
    }
}

#[tokio::test]
async fn drop_while_reading_leaves_no_trace() {
    let (manual, is_read) = (ManualService::default(), Arc::new(AtomicBool::new(false)));
    let layer = OfferDedupLayer::builder().offers(Reading(Arc::clone(&is_read)));
    let layer = layer.answer(tower_offer_dedup::Refuse::with(refuse)).build();
    let mut service = layer.layer(manual.clone());
    let mut reading = [(); 2].map(|()| spawn(service.call(offer("p", "f"))));
    reading.iter_mut().for_each(|reading| assert_pending!(reading.poll()));
    assert!(
        !layer.handle().is_processing("p"),
        "no lock is held while a request is read"
    );
    let [dropped, mut read] = reading;
    drop(dropped);
    let traces: Vec<_> = layer.handle().stats().iter().filter(|(_, value)| *value > 0).collect();
    assert_eq!(traces, [("body_reads", 1), ("max_bytes", 64 * 1024 * 1024)]);

    is_read.store(true, Relaxed);
    assert_pending!(read.poll());
    assert!(layer.handle().is_processing("p"));
    let mut duplicate = spawn(service.call(offer("p", "f")));
    assert_eq!(reason(assert_ready!(duplicate.poll())), Reason::InFlight);
}

/// Records on drop whether its peer is still locked.
struct LockAtDrop(OfferDedupHandle, Arc<AtomicBool>);

impl Drop for LockAtDrop {
    fn drop(&mut self) {
        self.1.store(self.0.is_processing("p"), Relaxed);
    }
}

#[tokio::test]
async fn inner_future_drops_before_peer_release() {
    for panics in [false, true] {
        let was_locked = Arc::new(AtomicBool::new(false));
        let layer = builder(tower_offer_dedup::Refuse::with(refuse)).build();
        let (handle, answer) = (layer.handle(), Arc::clone(&was_locked));
        let mut service = layer.layer(service_fn(move |_: Message| {
            let lock_at_drop = LockAtDrop(handle.clone(), Arc::clone(&answer));
            async move {
                tokio::task::yield_now().await;
                assert!(!panics);
                drop(lock_at_drop);
                Ok::<_, Infallible>(Reply::Answer(0))
            }
        }));
        let mut first = spawn(service.call(offer("p", "f")));
        assert_pending!(first.poll());
        if panics {
            assert!(catch_unwind(AssertUnwindSafe(|| drop(first.poll()))).is_err());
        }
        drop(first);
        assert!(was_locked.load(Relaxed), "panics: {panics}");
        assert!(!layer.handle().is_processing("p"));
    }
}
