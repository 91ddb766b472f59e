//! [`Revocation`]: the sign to the processing of an offer that its claim is lost.

use std::{
    sync::PoisonError,
    task::{Context, Waker},
};

use super::sync::Mutex;
use crate::{Reason, outcome::Outcome};

/// The cause for which a claim was revoked while its offer was being processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revoked {
    /// It outlived its lease, and the next offer took over.
    Overdue,
    /// No response future waited for it any more, and a different offer took over.
    Abandoned,
    /// A newer offer arrived under [`WhenBusy::Supersede`](crate::WhenBusy::Supersede).
    Superseded,
    /// A shared store gave the peer to another node.
    Elsewhere,
    /// The inner service had no capacity in time, while a shared store held the peer for it.
    Incapable,
}

impl Revoked {
    /// Returns how processing ends that was revoked.
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::Superseded => Outcome::Superseded,
            Self::Overdue | Self::Abandoned | Self::Elsewhere | Self::Incapable => Outcome::Abandoned,
        }
    }

    /// Returns the reason that the sender of the offer is refused with.
    pub(crate) fn reason(self) -> Reason {
        match self {
            Self::Superseded => Reason::Superseded,
            Self::Overdue | Self::Incapable => Reason::TimedOut,
            Self::Abandoned | Self::Elsewhere => Reason::Aborted,
        }
    }
}

/// Shared by a claim and its entry in the lock table. Only claims that must end early have one: those of detached tasks,
/// and all of them with a shared store or under [`WhenBusy::Supersede`](crate::WhenBusy::Supersede).
///
/// Revocation is cooperative: the processing checks it before each poll of the inner future and drops that future. So a
/// claim may be revoked at any time, even before its task was spawned.
#[derive(Debug, Default)]
pub(super) struct Revocation(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    revoked: Option<Revoked>,
    waker: Option<Waker>,
}

impl Revocation {
    /// Wakes the processing, and revokes its claim if there is a cause. Only the first cause counts.
    pub(super) fn wake(&self, cause: Option<Revoked>) {
        let waker = self.with(|state| {
            state.revoked = state.revoked.or(cause);
            state.waker.take()
        });
        // Outside the mutex: a waker may run anything.
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Returns the cause, or registers the task of `cx` to be woken by [`wake`](Self::wake).
    pub(super) fn poll(&self, cx: &Context<'_>) -> Option<Revoked> {
        let (revoked, _old) = self.with(|state| {
            let old = match &state.waker {
                _ if state.revoked.is_some() => None,
                Some(waker) if waker.will_wake(cx.waker()) => None,
                _ => state.waker.replace(cx.waker().clone()),
            };
            // The old waker is dropped outside the mutex, since that may run anything.
            (state.revoked, old)
        });
        revoked
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        // Poisoning is ignored: no operation leaves the state half changed.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
