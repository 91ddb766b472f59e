//! [`Signal`]: wakes one task, and says why if there is a reason that lasts.

use std::{
    mem,
    sync::PoisonError,
    task::{Context, Waker},
};

use super::sync::Mutex;

/// Shared by an entry of the lock table and the one task that waits: for its turn, or for the loss of its claim.
///
/// A task polls before it looks at the state that the signal is about. Whatever changes in between wakes it.
#[derive(Debug)]
pub(super) struct Signal<T>(Mutex<State<T>>);

#[derive(Debug)]
struct State<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

impl<T: Clone> Signal<T> {
    /// Wakes the task, and sets the value if there is one. Only the first value counts.
    pub(super) fn wake(&self, value: Option<T>) {
        let (waker, _unused) = self.with(|state| {
            let unused = match &state.value {
                Some(_) => value,
                None => mem::replace(&mut state.value, value),
            };
            (state.waker.take(), unused)
        });
        // Outside the mutex: a waker may run anything.
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Returns the value, or registers the task of `cx` to be woken by [`wake`](Self::wake).
    pub(super) fn poll(&self, cx: &Context<'_>) -> Option<T> {
        let (value, _old) = self.with(|state| match (&state.value, &state.waker) {
            (Some(value), _) => (Some(value.clone()), None),
            (None, Some(waker)) if waker.will_wake(cx.waker()) => (None, None),
            // The old waker is dropped outside the mutex, since that may run anything.
            (None, _) => (None, state.waker.replace(cx.waker().clone())),
        });
        value
    }

    fn with<U>(&self, act: impl FnOnce(&mut State<T>) -> U) -> U {
        // Poisoning is ignored: no operation leaves the state half changed.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T> Default for Signal<T> {
    fn default() -> Self {
        Self(Mutex::new(State {
            value: None,
            waker: None,
        }))
    }
}
