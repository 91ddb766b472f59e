//! [`SharedClaim`]: the guard of a claim in the shared store.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::{
    Offer,
    fence::Fence,
    gate::{Claim, Gate, Revoked},
    quiet::quietly,
    session::SharedMemory,
    store::{
        ClaimToken, Claimed, Completed, Completion, Held, Lost, Renewed,
        client::{CallError, LEASE, Message, StoreClient, Watch},
    },
};

/// The time in which the processing of a displaced claim has to stop.
const STOP_TIME: Duration = Duration::from_millis(100);

/// The time for which a superseded claim is left to the newer one. Longer than the newer one takes: it waits for the
/// processing to stop, for earlier messages and for the store.
const TAKEOVER_TIME: Duration = Duration::from_secs(1);

/// A claim that this node holds in the shared store, or may hold: the reply to its last call may have been lost. Dropped,
/// it is released.
pub(crate) struct SharedClaim {
    client: Arc<StoreClient>,
    held: Held,
    fence: Fence,
    state: State,
    lost: Watch,
    /// `None` before the claim is granted, and for a claim that the node has granted alone.
    renewal: Option<Renewal>,
    /// The longest processing on this node.
    lease: Duration,
    /// The store's reason for ending the claim.
    ended: Option<Revoked>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The store does not have the claim.
    Absent,
    /// The store has the claim, or may have it.
    Held,
    /// The store has the claim, or may have it, and the offer that it displaced may still be processed. A newer claim that
    /// displaces this one waits for its release only.
    Displacing,
}

type RenewCall = Pin<Box<dyn Future<Output = Result<Renewed, CallError>> + Send>>;

struct Renewal {
    timer: Pin<Box<Sleep>>,
    /// Renewal stops then.
    end: Instant,
    /// `true` once the inner service has been called.
    has_begun: bool,
    call: Option<RenewCall>,
    is_abandoned: bool,
}

impl SharedClaim {
    /// Prepares the claim of an offer, under a token of its own.
    pub(super) fn new(client: Arc<StoreClient>, offer: &Offer, lease: Duration) -> Self {
        let token = client.token();
        Self {
            // Before the store is asked: it may take the claim away at once.
            lost: client.watch(token),
            client,
            held: Held {
                peer: offer.peer(),
                fingerprint: offer.fingerprint(),
                token,
            },
            fence: Fence::NONE,
            state: State::Absent,
            renewal: None,
            lease,
            ended: None,
        }
    }

    pub(super) fn held(&self) -> &Held {
        &self.held
    }

    /// The number that the store has granted. A node that decides alone has none.
    pub(crate) fn fence(&self) -> Option<Fence> {
        (self.fence != Fence::NONE).then_some(self.fence)
    }

    /// Notes that the store is being asked: from now on it may have the claim, and may have displaced another one for it. An
    /// earlier grant may be gone. Returns the state before.
    pub(super) fn asking(&mut self, supersedes: bool) -> State {
        self.fence = Fence::NONE;
        self.renewal = None;
        let state = if supersedes { State::Displacing } else { State::Held };
        std::mem::replace(&mut self.state, state)
    }

    /// Notes the store's reply. A claim that it has not granted is not released.
    pub(super) fn replied(&mut self, claimed: &Result<Claimed, CallError>, before: State, patience: Duration) {
        match claimed {
            Ok(Claimed::Admitted { fence, displaced }) => {
                if displaced.is_none() {
                    self.state = State::Held;
                }
                self.fence = *fence;
                let now = Instant::now();
                self.renewal = Some(Renewal {
                    timer: Box::pin(sleep_until(far(now, patience.min(LEASE / 3)))),
                    end: far(now, patience),
                    has_begun: false,
                    call: None,
                    is_abandoned: false,
                });
            }
            Ok(_) => self.state = State::Absent,
            Err(CallError::Unknown) => {}
            Err(CallError::NotSent) => self.state = before,
        }
    }

    /// Waits until the processing of a displaced claim has stopped, or has had its time. It waits even if this claim is lost
    /// meanwhile, as its release means that the peer is free. Returns why it was lost.
    pub(super) async fn await_stopped(&mut self, displaced: Option<ClaimToken>) -> Option<Revoked> {
        if let Some(displaced) = displaced {
            let _ = timeout(STOP_TIME, self.client.stopped(displaced)).await;
            self.state = State::Held;
        }
        self.ended = poll_fn(|cx| Poll::Ready(self.poll_lost(cx))).await;
        self.ended
    }

    /// Starts the local lease: the inner service is about to be called. Renewal stops when that lease ends.
    pub(super) fn start_lease(&mut self, claim: &Claim) {
        claim.start_lease();
        if let Some(renewal) = &mut self.renewal {
            renewal.end = far(Instant::now(), self.lease);
            renewal.has_begun = true;
        }
    }

    /// Renews the claim when that is due. Returns why it has ended, once it has.
    pub(super) fn poll_ended(&mut self, claim: &Claim, cx: &mut Context<'_>) -> Option<Revoked> {
        if self.ended.is_none() {
            self.ended = self.poll_lost(cx).or_else(|| self.poll_renewal(claim, cx));
            if let Some(Revoked::Elsewhere | Revoked::Superseded) = self.ended {
                self.client.note_claim_lost();
            }
        }
        self.ended
    }

    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Option<Revoked> {
        match Pin::new(&mut self.lost).poll(cx) {
            Poll::Ready(Lost::Superseded) => Some(Revoked::Superseded),
            Poll::Ready(Lost::TakenOver) => Some(Revoked::Elsewhere),
            Poll::Pending => None,
        }
    }

    fn poll_renewal(&mut self, claim: &Claim, cx: &mut Context<'_>) -> Option<Revoked> {
        let renewal = self.renewal.as_mut()?;
        loop {
            if let Some(call) = &mut renewal.call {
                let Poll::Ready(renewed) = call.as_mut().poll(cx) else {
                    return None;
                };
                renewal.call = None;
                if renewed == Ok(Renewed::Lost) {
                    return Some(Revoked::Elsewhere);
                }
                // Also after an error: the lease has room for another try.
                renewal
                    .timer
                    .as_mut()
                    .reset(renewal.end.min(Instant::now() + LEASE / 3));
            }
            let is_due = renewal.timer.as_mut().poll(cx).is_ready();
            if Instant::now() >= renewal.end {
                return (!renewal.has_begun).then_some(Revoked::Incapable);
            }
            let is_abandoned = claim.is_abandoned();
            if !is_due && is_abandoned == renewal.is_abandoned {
                return None;
            }
            renewal.is_abandoned = is_abandoned;
            let (client, held) = (Arc::clone(&self.client), self.held);
            renewal.call = Some(Box::pin(async move { client.renew(held, is_abandoned).await }));
        }
    }

    /// Returns what the store remembers of the offer, for its session.
    pub(crate) fn memory(&self, gate: &Arc<Gate>) -> Option<SharedMemory> {
        let fence = self.fence()?;
        Some(SharedMemory {
            client: Arc::clone(&self.client),
            gate: Arc::clone(gate),
            peer: self.held.peer,
            fingerprint: self.held.fingerprint,
            fence,
        })
    }

    /// Completes the claim. Returns the store's reply, or `None` if there is none that counts. An unacknowledged completion
    /// is repeated by the outbox.
    pub(super) async fn complete(mut self: Box<Self>, completion: Completion) -> Option<Completed> {
        if self.state == State::Absent {
            return None;
        }
        // Dropped from here on, the claim is completed by the outbox instead.
        let mut unsent = Unsent(Some((Arc::clone(&self.client), self.held, completion.clone())));
        self.state = State::Absent;
        let completed = self.client.complete(self.held, completion).await;
        unsent.0 = None;
        let is_lost = poll_fn(|cx| Poll::Ready(self.poll_lost(cx))).await.is_some();
        let completed = completed.ok().or(is_lost.then_some(Completed::Lost));
        // A claim that the node has granted itself may not have reached the store.
        let counts = |completed: &Completed| *completed == Completed::Done || self.fence != Fence::NONE;
        let completed = completed.filter(counts);
        if completed == Some(Completed::Lost) {
            self.client.note_claim_lost();
        }
        completed
    }

    /// Notes why this node has revoked the claim.
    ///
    /// A claim that a newer offer of this node supersedes is released late. Normally that offer has then taken it over in
    /// the store, which has marked the loser.
    pub(super) fn note_revoked(&mut self, cause: Revoked) {
        if cause == Revoked::Superseded && self.ended.is_none() && self.state != State::Absent {
            self.state = State::Absent;
            self.client.send_later(Message::Release(self.held), TAKEOVER_TIME);
        }
    }
}

/// Sends a completion that nobody waits for any more.
struct Unsent(Option<(Arc<StoreClient>, Held, Completion)>);

impl Drop for Unsent {
    fn drop(&mut self) {
        if let Some((client, held, completion)) = self.0.take() {
            quietly(|| client.send(Message::Complete(held, completion)));
        }
    }
}

impl Drop for SharedClaim {
    fn drop(&mut self) {
        let release = Message::Release(self.held);
        match self.state {
            State::Absent => {}
            State::Held => quietly(|| self.client.send(release)),
            State::Displacing => self.client.send_later(release, STOP_TIME),
        }
    }
}

/// Returns the instant `time` from `now`, or one that is far away.
pub(super) fn far(now: Instant, time: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(31_536_000);
    now + time.min(YEAR)
}
