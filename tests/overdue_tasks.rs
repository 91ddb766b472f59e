//! A claim may be lost before its detached task exists. After a takeover the task is aborted; after a `forget` it runs
//! on.

mod support;

use std::{
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use support::{
    Broken, End, ManualService, Message, Reply, is_answer,
    layered::{Boxed, Policy, around},
    offer, settle,
};
use tokio_test::{assert_pending, assert_ready, task::spawn};
use tower::Service;
use tower_offer_dedup::OfferDedupHandle;

type Act = Box<dyn FnOnce() + Send>;

/// Runs an action inside its `call`, before the layer has a task for the call.
#[derive(Clone, Default)]
struct Acting {
    manual: ManualService,
    act: Arc<Mutex<Option<Act>>>,
}

impl Service<Message> for Acting {
    type Response = Reply;
    type Error = Broken;
    type Future = <ManualService as Service<Message>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.manual.poll_ready(cx)
    }

    fn call(&mut self, message: Message) -> Self::Future {
        let act = self.act.lock().unwrap().take();
        let call = self.manual.call(message);
        if let Some(act) = act {
            act();
        }
        call
    }
}

/// Without a lease, the next offer takes over at once.
fn leaseless(policy: Policy) -> (Acting, Boxed, OfferDedupHandle) {
    let acting = Acting::default();
    let (service, handle) = around(acting.clone(), policy, |builder| {
        builder.lease(Duration::ZERO).cooldown(Duration::ZERO)
    });
    (acting, service, handle)
}

#[tokio::test(start_paused = true)]
async fn overdue_task_is_aborted_when_attached() {
    for policy in Policy::DETACHED {
        let (acting, mut service, handle) = leaseless(policy);
        let next = Arc::new(Mutex::new(None));
        let take_over = {
            let (mut service, next) = (service.clone(), Arc::clone(&next));
            move || *next.lock().unwrap() = Some(service.call(offer("p", "g")))
        };
        *acting.act.lock().unwrap() = Some(Box::new(take_over));
        let mut overdue = spawn(service.call(offer("p", "f")));
        let mut next = spawn(next.lock().unwrap().take().expect("it was called"));
        assert_pending!(next.poll());
        settle().await;
        assert_eq!((acting.manual.calls(), handle.stats().taken_over), (2, 1), "{policy:?}");
        assert!(!acting.manual.is_open(0), "{policy:?}: the overdue task goes on");
        assert!(acting.manual.is_open(1), "{policy:?}: the next one is processed");

        assert!(
            matches!(assert_ready!(overdue.poll()), Ok(Reply::Refused(..))),
            "{policy:?}"
        );
        assert!(acting.manual.end_nth(1, End::Answer));
        assert!(is_answer(&next.await.unwrap()), "{policy:?}");
        drop(overdue);
        let stats = handle.stats();
        assert_eq!(
            (stats.claims, stats.abandoned, stats.completed),
            (0, 1, 1),
            "{policy:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn forgotten_task_runs_when_attached() {
    for policy in Policy::DETACHED {
        for clears in [false, true] {
            let (acting, mut service, handle) = leaseless(policy);
            let forget = {
                let handle = handle.clone();
                move || {
                    if clears {
                        handle.clear();
                    } else {
                        assert!(handle.forget("p"));
                    }
                }
            };
            *acting.act.lock().unwrap() = Some(Box::new(forget));
            let forgotten = spawn(service.call(offer("p", "f")));
            settle().await;
            assert!(acting.manual.is_open(0), "{policy:?}: it goes on to its end");
            acting.manual.end(End::Answer);
            assert!(is_answer(&forgotten.await.unwrap()), "{policy:?}");
        }
    }
}

/// Two threads take over from each other as fast as they can.
#[test]
fn no_overdue_task_is_left_running() {
    const OFFERS: usize = 20_000;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let (acting, service, handle) = leaseless(Policy::RefuseDetached);
    let callers = [0, 1].map(|part| {
        let mut service = service.clone();
        runtime.spawn(async move {
            for n in 0..OFFERS {
                drop(service.call(offer("p", format!("{part} {n}"))));
                if n % 16 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        })
    });
    runtime.block_on(async {
        for caller in callers {
            caller.await.unwrap();
        }
    });
    let start = std::time::Instant::now();
    // Nobody has taken over the last claim.
    while handle.stats().claims > 1 {
        let running = handle.stats().claims;
        assert!(start.elapsed() < 3 * support::SECOND, "{running} tasks are left");
        std::thread::sleep(Duration::from_millis(10));
    }
    let stats = handle.stats();
    assert_eq!((stats.refused_busy, stats.admitted), (0, 2 * OFFERS as u64));
    assert_eq!(acting.manual.calls(), 2 * OFFERS);
}
