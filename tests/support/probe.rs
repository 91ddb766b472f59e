//! An inner service that counts its clones, and whose readiness the test controls.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use tower::Service;

use super::{Broken, ManualService, Message};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Readiness {
    Ready,
    Full,
    Broken,
}

/// The original is number 0. Each clone gets the next number.
#[derive(Debug)]
pub struct Probe {
    pub number: usize,
    manual: ManualService,
    usage: Arc<Usage>,
}

/// Records how a probe and its clones are used.
#[derive(Debug)]
pub struct Usage {
    pub made: AtomicUsize,
    pub asked: AtomicUsize,
    called: Mutex<Vec<usize>>,
    readiness: Mutex<Readiness>,
    wakers: Mutex<Vec<Waker>>,
}

impl Probe {
    pub fn new(manual: &ManualService, readiness: Readiness) -> (Self, Arc<Usage>) {
        let usage = Arc::new(Usage {
            made: AtomicUsize::new(1),
            asked: AtomicUsize::new(0),
            called: Mutex::default(),
            readiness: Mutex::new(readiness),
            wakers: Mutex::default(),
        });
        let probe = Self {
            number: 0,
            manual: manual.clone(),
            usage: Arc::clone(&usage),
        };
        (probe, usage)
    }
}

impl Usage {
    pub fn clones(&self) -> usize {
        self.made.load(Relaxed) - 1
    }

    /// The numbers of the called probes, in order.
    pub fn called(&self) -> Vec<usize> {
        self.called.lock().unwrap().clone()
    }

    pub fn set(&self, readiness: Readiness) {
        *self.readiness.lock().unwrap() = readiness;
        self.wakers.lock().unwrap().drain(..).for_each(Waker::wake);
    }
}

impl Clone for Probe {
    fn clone(&self) -> Self {
        Self {
            number: self.usage.made.fetch_add(1, Relaxed),
            manual: self.manual.clone(),
            usage: Arc::clone(&self.usage),
        }
    }
}

impl Service<Message> for Probe {
    type Response = <ManualService as Service<Message>>::Response;
    type Error = Broken;
    type Future = <ManualService as Service<Message>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.usage.asked.fetch_add(1, Relaxed);
        match *self.usage.readiness.lock().unwrap() {
            Readiness::Ready => self.manual.poll_ready(cx),
            Readiness::Broken => Poll::Ready(Err(Broken)),
            Readiness::Full => {
                self.usage.wakers.lock().unwrap().push(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn call(&mut self, message: Message) -> Self::Future {
        self.usage.called.lock().unwrap().push(self.number);
        self.manual.call(message)
    }
}
