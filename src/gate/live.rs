//! [`Live`]: the claims and waiting requests that there are now, which `drain` waits for.

use std::{
    future::poll_fn,
    pin::pin,
    sync::atomic::Ordering::{AcqRel, Acquire, Relaxed},
    task::Poll,
};

use super::{
    clock::{Clock, Tick},
    sync::{AtomicU64, AtomicUsize, Notify, sleep_until},
};

/// Counts claims, waiting requests and bodies that are being read.
#[derive(Debug, Default)]
pub(super) struct Live {
    claims: AtomicUsize,
    waiters: AtomicUsize,
    /// Relaxed: nobody waits for it.
    body_reads: AtomicUsize,
    /// The latest deadline of any waiter so far, in nanoseconds of [`Tick`]. `drain` waits no longer for waiters.
    last_deadline: AtomicU64,
    idle: Notify,
}

impl Live {
    pub(super) fn claims(&self) -> u64 {
        self.claims.load(Relaxed) as u64
    }

    pub(super) fn waiters(&self) -> u64 {
        self.waiters.load(Relaxed) as u64
    }

    pub(super) fn body_reads(&self) -> u64 {
        self.body_reads.load(Relaxed) as u64
    }

    pub(super) fn body_read_started(&self) {
        self.body_reads.fetch_add(1, Relaxed);
    }

    pub(super) fn body_read_ended(&self) {
        self.body_reads.fetch_sub(1, Relaxed);
    }

    pub(super) fn claim_granted(&self) {
        // Relaxed: an increment publishes nothing. A waiter that becomes a claim publishes it in `waiter_gone`.
        self.claims.fetch_add(1, Relaxed);
    }

    pub(super) fn claim_gone(&self) {
        // Release publishes what the claim did to `drain`; acquire orders the notification after the count.
        if self.claims.fetch_sub(1, AcqRel) == 1 {
            self.idle.notify_waiters();
        }
    }

    /// Notes that a request waits until `deadline` at most.
    pub(super) fn waiter_accepted(&self, deadline: Tick) {
        // Release, and before the count: `drain` must not see the waiter without its deadline.
        self.last_deadline.fetch_max(deadline.as_nanos(), AcqRel);
        self.waiters.fetch_add(1, AcqRel);
    }

    /// Notes that a request waits no longer. If it was admitted, its claim has been counted already.
    pub(super) fn waiter_gone(&self) {
        // Release: `drain`, which reads the lower count, then sees the claim that the waiter has become.
        if self.waiters.fetch_sub(1, AcqRel) == 1 {
            self.idle.notify_waiters();
        }
    }

    /// Resolves when no claim is held and no request waits inside its deadline.
    pub(super) async fn drain(&self, clock: &Clock) {
        loop {
            // Subscribed before the counts are read: a count that drops to zero in between wakes it.
            let mut idle = pin!(self.idle.notified());
            // The waiters first: a waiter becomes a claim before it is gone, so this order overlooks nothing.
            let waiters = self.waiters.load(Acquire);
            if self.claims.load(Acquire) > 0 {
                idle.await;
                continue;
            }
            let last = Tick::from_nanos(self.last_deadline.load(Acquire));
            if waiters == 0 || last <= clock.now() {
                return;
            }
            // A future that nobody polls any more does not give up its place. Its deadline ends the wait.
            let mut timer = pin!(sleep_until(clock.instant(last)));
            poll_fn(|cx| match idle.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => timer.as_mut().poll(cx),
            })
            .await;
        }
    }
}
