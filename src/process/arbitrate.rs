//! Arbitration: asks the shared store about an offer that this node has admitted.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use super::shared_claim::{SharedClaim, far};
use crate::{
    Reason, Refusal, WhenBusy,
    answer::{Duplicates, EncodedRecord},
    fence::Fence,
    gate::{Claim, Revoked},
    settings::Settings,
    store::{
        Ask, Claimed, OnStoreError,
        client::{CallError, LEASE, StoreClient},
    },
};

/// A waiting offer asks again at this interval, even if nothing wakes it.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The limit of waiting for the inner service's capacity, if there is no queue with a time-out.
const CAPACITY_TIMEOUT: Duration = Duration::from_secs(10);

/// The decision of the store on an offer.
pub(crate) enum Ruling {
    /// The offer may be processed.
    Granted(Claim, Box<SharedClaim>),
    /// Another node has processed the offer.
    Elsewhere(Claim, Processed),
    Refused(Claim, Refusal),
    /// The offer was forgotten while the store decided: this node may process the same offer by now. It decides again.
    Forgotten(Claim),
}

/// An offer that another node has processed.
pub(crate) struct Processed {
    pub(crate) record: Option<EncodedRecord>,
    /// The rest of its window.
    pub(crate) left: Duration,
    pub(crate) fence: Fence,
}

/// Arbitrates between this node's claim and those of other nodes.
pub(crate) type Arbitration = Pin<Box<dyn Future<Output = Ruling> + Send>>;

/// Asks the store until it decides. Dropped, it leaves nothing in the store.
pub(crate) fn arbitrate(
    client: Arc<StoreClient>,
    claim: Claim,
    settings: Settings,
    duplicates: Duplicates,
) -> Arbitration {
    // The claim's lease begins when the inner service is called.
    claim.await_capacity();
    let shared = SharedClaim::new(Arc::clone(&client), claim.offer(), settings.lease);
    let asking = Asking {
        client,
        settings,
        duplicates,
        shared: Box::new(shared),
        claim,
    };
    Box::pin(asking.run())
}

struct Asking {
    client: Arc<StoreClient>,
    settings: Settings,
    duplicates: Duplicates,
    /// Before the claim: released in the store before the peer is released here.
    shared: Box<SharedClaim>,
    claim: Claim,
}

/// The step after a reply.
enum Next {
    Rule(Reply),
    /// The offer waits for another one, at most until the deadline. It asks again after this time.
    Wait(Instant, Duration),
}

/// A ruling without the claim.
enum Reply {
    Granted,
    Elsewhere(Processed),
    Refused(Refusal),
}

impl Asking {
    async fn run(mut self) -> Ruling {
        let client = Arc::clone(&self.client);
        let subscription = client.subscribe(self.claim.offer().peer());
        let reply = loop {
            let mut woken = pin!(subscription.notified());
            // The store may already have the claim: an earlier reply may have been lost.
            let ask = self.ask();
            let before = self.shared.asking(ask.supersede.is_some());
            let asked = Instant::now();
            let claimed = match unless_revoked(&self.claim, client.claim(ask)).await {
                Ok(claimed) => claimed,
                Err(cause) => break self.revoked(cause),
            };
            self.shared.replied(&claimed, before, self.patience());
            let next = self.follow(claimed, asked).await;
            if let Next::Rule(Reply::Granted) = &next {
                // Before the check below: a forget that comes later finds the number.
                self.claim.set_fence(self.shared.fence().unwrap_or(Fence::NONE));
            }
            match next {
                // The offer may have been forgotten since the store replied: the claim is gone, or the answer must not be
                // remembered again.
                Next::Rule(Reply::Granted | Reply::Elsewhere(_)) if woken.as_mut().enable() => {}
                Next::Rule(reply) => break reply,
                Next::Wait(deadline, pause) => {
                    let wake = (Instant::now() + self.jittered(pause)).min(deadline);
                    let wait = async {
                        let mut timer = pin!(sleep_until(wake));
                        poll_fn(|cx| {
                            let is_woken = woken.as_mut().poll(cx).is_ready() || timer.as_mut().poll(cx).is_ready();
                            if is_woken { Poll::Ready(()) } else { Poll::Pending }
                        })
                        .await;
                    };
                    if let Err(cause) = unless_revoked(&self.claim, wait).await {
                        break self.revoked(cause);
                    }
                    if Instant::now() >= deadline {
                        break Reply::Refused(Refusal::new(Reason::TimedOut));
                    }
                }
            }
        };
        drop(subscription);
        let is_held = self.claim.is_held();
        if matches!(reply, Reply::Granted) && is_held && self.shared.fence().is_none() {
            self.client.note_admitted_alone(self.claim.offer());
        }
        let Self { shared, claim, .. } = self;
        match reply {
            Reply::Granted if !is_held => Ruling::Forgotten(claim),
            Reply::Granted => Ruling::Granted(claim, shared),
            Reply::Elsewhere(processed) => Ruling::Elsewhere(claim, processed),
            Reply::Refused(refusal) => Ruling::Refused(claim, refusal),
        }
    }

    fn ask(&self) -> Ask {
        let held = self.shared.held();
        Ask {
            peer: held.peer,
            fingerprint: held.fingerprint,
            token: held.token,
            lease: LEASE,
            wants_record: self.duplicates != Duplicates::Refuse,
            supersede: (self.settings.when_busy == WhenBusy::Supersede).then_some(self.settings.window),
        }
    }

    /// Spreads the times at which nodes ask again. It depends on nothing but the node and the offer, so that tests can
    /// repeat what happened.
    fn jittered(&self, pause: Duration) -> Duration {
        let held = self.shared.held();
        let [.., node] = held.token.node().to_bytes();
        let [.., offer] = held.fingerprint.to_bytes();
        pause.mul_f64(0.75 + f64::from(node ^ offer) / 512.0)
    }

    /// Returns the instant `time` after the offer first arrived.
    fn deadline(&self, time: Duration) -> Instant {
        far(Instant::now(), self.claim.time_left(time))
    }

    /// Returns the time for which the claim is renewed before the inner service has capacity.
    fn patience(&self) -> Duration {
        match self.settings.when_busy {
            WhenBusy::Queue { timeout, .. } => timeout,
            WhenBusy::Refuse | WhenBusy::Supersede => CAPACITY_TIMEOUT,
        }
    }

    /// Decides what follows a reply of the store, which was asked at `asked`.
    async fn follow(&mut self, claimed: Result<Claimed, CallError>, asked: Instant) -> Next {
        let refused = |reason| Next::Rule(Reply::Refused(Refusal::new(reason)));
        match claimed {
            Ok(Claimed::Admitted { displaced, .. }) => match self.shared.await_stopped(displaced).await {
                Some(cause) => refused(cause.reason()),
                None => Next::Rule(Reply::Granted),
            },
            Ok(Claimed::Processed { left, fence, record }) => Next::Rule(Reply::Elsewhere(Processed {
                record,
                // Not remembered for longer than in the store, however late the reply is read.
                left: left.saturating_sub(asked.elapsed()),
                fence,
            })),
            Ok(Claimed::Superseded { .. }) => refused(Reason::Superseded),
            Ok(Claimed::InFlight { left }) => match self.duplicates {
                Duplicates::Refuse => refused(Reason::InFlight),
                Duplicates::Wait { wait_timeout, .. } => {
                    Next::Wait(self.deadline(wait_timeout), left.min(POLL_INTERVAL))
                }
            },
            Ok(Claimed::Busy { left, .. }) => match self.settings.when_busy {
                WhenBusy::Refuse => refused(Reason::Busy),
                WhenBusy::Queue { depth: 0, .. } => refused(Reason::QueueFull),
                WhenBusy::Queue { timeout, .. } => Next::Wait(self.deadline(timeout), left.min(POLL_INTERVAL)),
                // A store grants the claim in this mode. One that does not is asked again.
                WhenBusy::Supersede => Next::Wait(self.deadline(CAPACITY_TIMEOUT), POLL_INTERVAL),
            },
            Ok(Claimed::CoolingDown { left }) => match self.settings.when_busy {
                WhenBusy::Queue { depth: 0, .. } => refused(Reason::QueueFull),
                WhenBusy::Queue { timeout, .. } => Next::Wait(self.deadline(timeout), left),
                WhenBusy::Refuse | WhenBusy::Supersede => {
                    Next::Rule(Reply::Refused(Refusal::with_retry_after(Reason::CoolingDown, left)))
                }
            },
            Err(_) => match self.client.on_error() {
                OnStoreError::FailOpen => Next::Rule(Reply::Granted),
                OnStoreError::FailClosed => refused(Reason::StoreUnavailable),
            },
        }
    }

    /// Refuses an offer whose local claim was lost while the store decided.
    fn revoked(&mut self, cause: Revoked) -> Reply {
        self.shared.note_revoked(cause);
        Reply::Refused(Refusal::new(cause.reason()))
    }
}

/// Runs `future` unless the local claim is revoked first.
async fn unless_revoked<T>(claim: &Claim, future: impl Future<Output = T>) -> Result<T, Revoked> {
    let mut future = pin!(future);
    poll_fn(|cx| match claim.poll_revoked(cx) {
        Some(cause) => Poll::Ready(Err(cause)),
        None => future.as_mut().poll(cx).map(Ok),
    })
    .await
}
