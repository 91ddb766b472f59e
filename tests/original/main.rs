//! The original room manager, compared with a layer that has its settings: the defaults, `remember_failures(true)` and
//! `Fingerprint::prefix` of the first 100 bytes. A release build runs a million steps, or `ORIGINAL_STEPS`.
//!
//! Both behave the same, except where `docs/design.md` says otherwise. For each difference, a history shows that the
//! original differs, and that the amended original does not:
//!
//! - Rules 3 and 7: a panic is not a completed failure, and frees the peer at once. The original's `finally` runs
//!   whatever is thrown: it locks the peer for 2 s and remembers the offer for 10 s.
//! - Rule 6: a dropped response future frees the peer at once and remembers nothing. With `finish_abandoned` it frees
//!   the peer for a different offer. A promise cannot be dropped: it runs on and keeps the lock.
//! - Rule 8: after `forget` (`removePeer`) and `clear` (`destroy`), an offer in flight neither remembers, nor cools
//!   down, nor releases a newer claim. The original's timers still fire, and it cannot forget one offer.
//! - Rule 9: after 30 s the next offer takes over. The original waits for ever.
//! - `Fingerprint::prefix` counts bytes, `substring` counts UTF-16 units. Beyond ASCII, the original sees more text.
//!
//! Two more rules make no difference here. An offer is refused with a reason (rule 10), where the original drops it
//! silently; the expected reason follows from the original's state. A peer keeps at most 16 memories (rule 11): with
//! one offer every 2 s and a window of 10 s there are at most 6.

mod histories;
mod manager;
#[path = "../support/random_walk.rs"]
mod random_walk;
#[path = "../support/mod.rs"]
mod support;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use histories::{Difference, Ending, Op, PEERS, differences, histories, message};
use manager::{Cause, Manager, Peer, Ticket, Time, Verdict};
use proptest::{prop_assert, prop_assert_eq, test_runner::TestCaseError};
use random_walk::random_walk;
use support::{
    ManualService, Message, Reply, is_answer,
    layered::{Boxed, Pending},
    offer, refuse, settle,
};
use tokio::{runtime, time::advance};
use tokio_test::task::spawn;
use tower::{Layer, Service};
use tower_offer_dedup::{Fingerprint, Offer, OfferDedupHandle, OfferDedupLayer, Reason, Refuse};

const STEP: Duration = Duration::from_millis(500);

/// The layer and the original, side by side.
struct Pair {
    manual: ManualService,
    service: Boxed,
    handle: OfferDedupHandle,
    original: Manager,
    is_amended: bool,
    detaches: bool,
    /// The offers being processed. The client is `None` once nobody waits for the answer.
    open: Vec<(Ticket, Option<Pending>)>,
    now: Time,
    steps: u64,
}

impl Pair {
    fn new(is_amended: bool, detaches: bool) -> Self {
        let offers = |message: &Message| {
            let json = message.offer.as_ref()?;
            Some(Offer::new(message.peer, fingerprint(json)))
        };
        let builder = OfferDedupLayer::builder()
            .offers(offers)
            .remember_failures(true)
            .answer(Refuse::with(refuse).success_if(is_answer));
        let manual = ManualService::default();
        let (service, handle) = if detaches {
            let layer = builder.finish_abandoned().build();
            (Boxed::new(layer.layer(manual.clone())), layer.handle())
        } else {
            let layer = builder.build();
            (Boxed::new(layer.layer(manual.clone())), layer.handle())
        };
        Self {
            manual,
            service,
            handle,
            original: Manager::new(is_amended),
            is_amended,
            detaches,
            open: Vec::new(),
            now: Time::ZERO,
            steps: 0,
        }
    }

    async fn run(&mut self, ops: &[Op]) -> Result<u64, TestCaseError> {
        for (n, op) in ops.iter().enumerate() {
            let result = self.step(*op).await;
            result.map_err(|error| TestCaseError::fail(format!("op {n}, {op:?}: {error}")))?;
        }
        Ok(self.steps)
    }

    async fn step(&mut self, op: Op) -> Result<(), TestCaseError> {
        match op {
            Op::Offer(peer, text) => self.offer(peer, &message(text)).await?,
            Op::End(n, ending) => {
                if self.open.is_empty() {
                    return Ok(());
                }
                let (ticket, sender) = self.open.remove(n % self.open.len());
                self.end(ticket, sender, ending).await?;
            }
            Op::Drop(n) => {
                if self.open.is_empty() {
                    return Ok(());
                }
                let n = n % self.open.len();
                self.open[n].1 = None;
                if self.detaches {
                    self.original.leave(self.open[n].0);
                } else {
                    let (ticket, _) = self.open.remove(n);
                    self.original.abandon(ticket, self.now);
                }
            }
            Op::Remove(peer) => {
                self.handle.forget(peer);
                self.original.remove_peer(peer);
            }
            Op::ForgetOffer(peer, text) => {
                let json = message(text);
                self.handle.forget_offer(peer, fingerprint(&json));
                self.original.forget_offer(peer, &json);
            }
            Op::Destroy => {
                self.handle.clear();
                self.original.destroy();
            }
            Op::Clock(steps) => {
                let time = STEP * steps;
                self.now += time;
                advance(time).await;
                self.original.advance(self.now);
            }
        }
        self.steps += 1;
        if self.is_amended {
            for peer in PEERS {
                let is_busy = self.original.is_busy(peer);
                prop_assert_eq!(self.handle.is_processing(peer), is_busy, "{}", peer);
            }
        }
        Ok(())
    }

    async fn offer(&mut self, peer: Peer, json: &str) -> Result<(), TestCaseError> {
        let calls = self.manual.calls();
        let mut call = spawn(self.service.call(offer(peer, json)));
        let reply = call.poll();
        let verdict = self.original.offer(peer, json, self.now);
        let reason = match verdict {
            Verdict::Processed(ticket) => {
                prop_assert_eq!(ticket, calls);
                prop_assert_eq!(
                    self.manual.calls(),
                    calls + 1,
                    "only the original processes the offer: {:?}",
                    reply
                );
                prop_assert!(reply.is_pending());
                self.open.push((ticket, Some(call)));
                if self.detaches {
                    // The overdue or abandoned task that lost the lock has ended.
                    settle().await;
                    let manual = &self.manual;
                    self.open.retain(|(ticket, _)| manual.is_open(*ticket));
                }
                return Ok(());
            }
            Verdict::Ignored(Cause::InFlight) => Reason::InFlight,
            Verdict::Ignored(Cause::Processed) => Reason::Processed,
            Verdict::Ignored(Cause::Busy) => Reason::Busy,
            Verdict::Ignored(Cause::CoolingDown) => Reason::CoolingDown,
        };
        prop_assert_eq!(self.manual.calls(), calls, "only the layer processes the offer");
        let is_refused = matches!(reply, std::task::Poll::Ready(Ok(Reply::Refused(is, _))) if is == reason);
        prop_assert!(is_refused, "{:?} instead of {:?}", reply, reason);
        Ok(())
    }

    async fn end(&mut self, ticket: Ticket, sender: Option<Pending>, ending: Ending) -> Result<(), TestCaseError> {
        let is_panic = ending == Ending::Panic;
        prop_assert!(self.manual.end_nth(ticket, ending.into()));
        if self.detaches {
            settle().await;
        }
        if let Some(mut sender) = sender {
            let answer = catch_unwind(AssertUnwindSafe(|| sender.poll().is_ready()));
            prop_assert_eq!(answer.ok(), (!is_panic).then_some(true));
        }
        if is_panic {
            self.original.abandon(ticket, self.now);
        } else {
            self.original.end(ticket, self.now);
        }
        Ok(())
    }
}

fn fingerprint(json: &str) -> Fingerprint {
    Fingerprint::prefix(json.as_bytes(), 100)
}

/// Builds the layer inside the runtime, whose clock it uses.
async fn run(is_amended: bool, detaches: bool, ops: &[Op]) -> Result<u64, TestCaseError> {
    Pair::new(is_amended, detaches).run(ops).await
}

#[test]
fn layer_behaves_like_the_original() {
    random_walk("original", &histories(), |runtime, history| {
        runtime.block_on(run(history.is_amended, history.detaches, &history.ops))
    });
}

#[test]
fn documented_differences_are_real() {
    for Difference { rule, detaches, ops } in differences() {
        let same = |is_amended| {
            let runtime = runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(run(is_amended, detaches, &ops))
        };
        assert!(same(false).is_err(), "{rule}: there is no difference");
        same(true).unwrap_or_else(|error| panic!("{rule}: {error}"));
    }
}
