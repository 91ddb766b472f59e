//! Measures two ways of doing the same work in turns. Only neighbours in time are compared, so that a busy machine
//! slows both.

use std::{sync::Barrier, thread, time::Instant};

use tokio::runtime::Handle;

/// One thread's share of a round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) round: u32,
    pub(crate) thread: u32,
}

/// The work to compare. Each closure does the operations of a turn and returns their number. `tidy` is not timed.
pub(crate) struct Pair<'a> {
    pub(crate) layer: &'a (dyn Fn(Turn) -> u32 + Sync),
    pub(crate) reference: &'a (dyn Fn(Turn) -> u32 + Sync),
    pub(crate) tidy: &'a dyn Fn(Turn),
}

/// Medians over all rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) layer_nanos: f64,
    pub(crate) reference_nanos: f64,
    pub(crate) ratio: f64,
}

impl Pair<'_> {
    pub(crate) fn measure(&self, rounds: u32, threads: u32) -> Measured {
        let (mut layer, mut reference, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds {
            let (ours, theirs) = if round % 2 == 0 {
                let ours = time(self.layer, round, threads);
                (ours, time(self.reference, round, threads))
            } else {
                let theirs = time(self.reference, round, threads);
                (time(self.layer, round, threads), theirs)
            };
            for thread in 0..threads {
                (self.tidy)(Turn { round, thread });
            }
            layer.push(ours);
            reference.push(theirs);
            ratios.push(ours / theirs);
        }
        Measured {
            layer_nanos: median(layer),
            reference_nanos: median(reference),
            ratio: median(ratios),
        }
    }
}

/// Nanoseconds per operation, averaged over the threads.
fn time(work: &(dyn Fn(Turn) -> u32 + Sync), round: u32, threads: u32) -> f64 {
    let barrier = Barrier::new(threads as usize);
    let runtime = Handle::current();
    let timed = |thread| {
        let _runtime = runtime.enter();
        barrier.wait();
        let start = Instant::now();
        let done = work(Turn { round, thread });
        start.elapsed().as_nanos() as f64 / f64::from(done)
    };
    let sum: f64 = thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .map(|thread| {
                scope.spawn({
                    let timed = &timed;
                    move || timed(thread)
                })
            })
            .collect();
        let own = timed(0);
        own + others
            .into_iter()
            .map(|other| other.join().expect("the thread should not panic"))
            .sum::<f64>()
    });
    sum / f64::from(threads)
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}
