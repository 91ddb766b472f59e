//! The original room manager against a layer with its settings: the defaults, `remember_failures(true)` and
//! `Fingerprint::prefix` of the first 100. A million steps in a release build, or `ORIGINAL_STEPS`.
//!
//! They do the same, but for what DESIGN.md says otherwise. Of each, a history below shows that the original differs, and that
//! the original so amended does not:
//!
//! - §3, rule 3 and 7: a panic is no completed failure: it frees the peer at once. The original's `finally` runs on whatever is
//!   thrown: locked for 2 s, remembered for 10 s.
//! - §3, rule 6: a dropped response future frees the peer at once and remembers nothing. A promise cannot be dropped: it goes
//!   on, as with `finish_abandoned`, where both do the same.
//! - §3, rule 8: after `forget` (`removePeer`) and `clear` (`destroy`), what was in flight neither remembers, nor cools down,
//!   nor releases a newer claim. The original's timers go off all the same.
//! - §3, rule 9: after 30 s the next offer takes over. The original waits for ever.
//! - §5: `Fingerprint::prefix` counts bytes, `substring` UTF-16 units: beyond ASCII, the original sees more of a message.
//!
//! And without a difference in what is processed: an offer is refused with a reason (rule 10), where the original drops it
//! without a word; the reason is the one that the original's state gives. A peer keeps at most 16 memories (rule 11): with one
//! offer in 2 s and a window of 10 s there are at most 6.

#[path = "../common/mod.rs"]
mod common;
mod histories;
mod manager;
#[path = "../walk/mod.rs"]
mod walk;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use common::{
    Desk, Message, Reply, is_answer, offer, refuse, settle,
    station::{Boxed, Pending},
};
use histories::{Ending, Op, PEERS, differences, histories, message};
use manager::{Manager, Peer, Ticket, Time, Verdict, Why};
use proptest::{prop_assert, prop_assert_eq, test_runner::TestCaseError};
use tokio::{runtime, time::advance};
use tokio_test::task::spawn;
use tower::{Layer, Service};
use tower_offer_dedup::{Fingerprint, Offer, OfferDedupHandle, OfferDedupLayer, Reason, Refuse};
use walk::walk;

const STEP: Duration = Duration::from_millis(500);

/// The layer and the original, side by side.
struct Pair {
    desk: Desk,
    service: Boxed,
    handle: OfferDedupHandle,
    original: Manager,
    is_amended: bool,
    detaches: bool,
    /// What is processed; `None` where nobody waits for the answer any more.
    open: Vec<(Ticket, Option<Pending>)>,
    now: Time,
    steps: u64,
}

impl Pair {
    fn new(is_amended: bool, detaches: bool) -> Self {
        let offers = |message: &Message| {
            let json = message.offer.as_ref()?;
            Some(Offer::new(message.peer, Fingerprint::prefix(json.as_bytes(), 100)))
        };
        let builder = OfferDedupLayer::builder()
            .offers(offers)
            .remember_failures(true)
            .answer(Refuse::with(refuse).success_if(is_answer));
        let desk = Desk::default();
        let (service, handle) = if detaches {
            let layer = builder.finish_abandoned().build();
            (Boxed::new(layer.layer(desk.clone())), layer.handle())
        } else {
            let layer = builder.build();
            (Boxed::new(layer.layer(desk.clone())), layer.handle())
        };
        Self {
            desk,
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
                if !self.detaches {
                    let (ticket, _) = self.open.remove(n);
                    self.original.abandon(ticket, self.now);
                }
            }
            Op::Remove(peer) => {
                self.handle.forget(peer);
                self.original.remove_peer(peer);
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
        let calls = self.desk.calls();
        let mut call = spawn(self.service.call(offer(peer, json)));
        let reply = call.poll();
        let verdict = self.original.offer(peer, json, self.now);
        let reason = match verdict {
            Verdict::Processed(ticket) => {
                prop_assert_eq!(ticket, calls);
                prop_assert_eq!(self.desk.calls(), calls + 1, "the original processes it: {:?}", reply);
                prop_assert!(reply.is_pending());
                self.open.push((ticket, Some(call)));
                if self.detaches {
                    // What it took over was aborted.
                    settle().await;
                    let desk = &self.desk;
                    self.open.retain(|(ticket, _)| desk.is_open(*ticket));
                }
                return Ok(());
            }
            Verdict::Ignored(Why::InFlight) => Reason::InFlight,
            Verdict::Ignored(Why::Processed) => Reason::Processed,
            Verdict::Ignored(Why::Busy) => Reason::Busy,
            Verdict::Ignored(Why::CoolingDown) => Reason::CoolingDown,
        };
        prop_assert_eq!(self.desk.calls(), calls, "the original ignores it");
        let is_refused = matches!(reply, std::task::Poll::Ready(Ok(Reply::Refused(is, _))) if is == reason);
        prop_assert!(is_refused, "{:?} instead of {:?}", reply, reason);
        Ok(())
    }

    async fn end(&mut self, ticket: Ticket, sender: Option<Pending>, ending: Ending) -> Result<(), TestCaseError> {
        let is_panic = ending == Ending::Panic;
        prop_assert!(self.desk.end_nth(ticket, ending.into()));
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

/// On the runtime from the start, whose clock the layer goes by.
async fn run(is_amended: bool, detaches: bool, ops: &[Op]) -> Result<u64, TestCaseError> {
    Pair::new(is_amended, detaches).run(ops).await
}

#[test]
fn the_layer_does_what_the_original_did() {
    walk("original", &histories(), |runtime, history| {
        runtime.block_on(run(history.is_amended, history.detaches, &history.ops))
    });
}

#[test]
fn the_original_differs_where_design_says_otherwise() {
    for (section, ops) in differences() {
        let same = |is_amended| {
            let runtime = runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(run(is_amended, false, &ops))
        };
        assert!(same(false).is_err(), "{section}: the original does the same");
        same(true).unwrap_or_else(|error| panic!("{section}: {error}"));
    }
}
