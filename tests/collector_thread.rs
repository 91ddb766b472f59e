//! One thread collects for all layers of the process. It keeps no runtime alive, and ends when nothing is left.

mod support;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use support::{
    End, Reply, SECOND, at_once,
    layered::{Layered, Policy},
    offer, pending, process, through,
};
use tokio::{
    runtime::{Builder, Runtime},
    time::advance,
};
use tower_offer_dedup::{OfferDedupBuilder, Reason};

/// These tests look at the whole process, so one runs at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    until_idle("the collector of the last test ends");
    guard
}

#[track_caller]
fn until_idle(what: &str) {
    // A thread that has just begun has no name yet.
    thread::sleep(SECOND / 100);
    process::wait_until(what, 10 * SECOND, || process::collectors() == 0);
}

/// A thread that has just begun has no name yet.
#[track_caller]
fn assert_one_collects() {
    process::wait_until("a collector", 10 * SECOND, || process::collectors() > 0);
    for _ in 0..20 {
        assert_eq!(process::collectors(), 1);
        thread::sleep(SECOND / 100);
    }
}

fn lasting(builder: OfferDedupBuilder) -> OfferDedupBuilder {
    builder.window(3600 * SECOND).cooldown(Duration::ZERO)
}

/// Remembers one offer.
fn remember(layered: &mut Layered, peer: &'static str) {
    through(&mut layered.service, &layered.manual, offer(peer, "f"), End::Answer).unwrap();
}

#[test]
fn many_layers_share_one_thread() {
    let _alone = alone();
    let all_layered: Vec<_> = (0..200)
        .map(|_| {
            let mut layered = Layered::new(Policy::Refuse, lasting);
            remember(&mut layered, "p");
            layered
        })
        .collect();
    assert_one_collects();
    drop(all_layered);
    until_idle("no layer is left");
}

#[test]
fn layers_on_many_threads_share_one_thread() {
    let _alone = alone();
    let all_layered: Vec<_> = thread::scope(|threads| {
        let made: Vec<_> = (0..8)
            .map(|_| {
                threads.spawn(|| {
                    let mut layered = Layered::new(Policy::Refuse, lasting);
                    remember(&mut layered, "p");
                    layered
                })
            })
            .collect();
        made.into_iter().map(|layered| layered.join().unwrap()).collect()
    });
    assert_one_collects();
    drop(all_layered);
    until_idle("no layer is left");
}

#[test]
fn thread_ends_when_nothing_is_left() {
    let _alone = alone();
    let mut all_layered = [(); 3].map(|()| {
        Layered::new(Policy::Refuse, |builder| {
            builder.window(SECOND / 20).cooldown(SECOND / 10)
        })
    });
    for _ in 0..3 {
        all_layered.iter_mut().for_each(|layered| remember(layered, "p"));
        let are_empty = || all_layered.iter().all(|layered| layered.stats().memories == 0);
        process::wait_until("all windows are over", 10 * SECOND, are_empty);
        until_idle("all cooldowns are over");
    }
}

/// The thread serves a layer that lasts, while others come and go.
#[test]
fn short_layers_leave_the_thread_running() {
    let _alone = alone();
    let mut lasting = Layered::new(Policy::Refuse, lasting);
    remember(&mut lasting, "p");
    for _ in 0..50 {
        let mut short = Layered::new(Policy::Refuse, |builder| builder.window(SECOND / 100));
        remember(&mut short, "p");
    }
    thread::sleep(SECOND / 10);
    assert_one_collects();
    assert_eq!(lasting.stats().memories, 1);
    lasting.handle.clear();
    until_idle("everything is cleared");
}

#[test]
fn dead_runtimes_leave_no_files_open() {
    let _alone = alone();
    let before = process::open_files();
    let all_layered: Vec<_> = (0..50)
        .map(|_| {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let mut layered = Layered::new(Policy::Refuse, lasting);
            runtime.block_on(async { remember(&mut layered, "p") });
            layered
        })
        .collect();
    let few = before + 8;
    let what = "the files of the runtimes are closed";
    process::wait_until(what, 3 * SECOND, || process::open_files() <= few);
    drop(all_layered);
    until_idle("no layer is left");
}

fn paused() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

fn cooling(builder: OfferDedupBuilder) -> OfferDedupBuilder {
    builder.window(SECOND / 20).cooldown(SECOND / 10)
}

fn is_cooling(layered: &mut Layered) -> bool {
    let refused = at_once(&mut layered.service, offer("p", "g"));
    matches!(refused, Ok(Reply::Refused(Reason::CoolingDown, _)))
}

/// Real time passes, while the clock of the runtime stands still.
#[test]
fn paused_clock_is_honoured() {
    let _alone = alone();
    paused().block_on(async {
        let mut layered = Layered::new(Policy::Refuse, cooling);
        remember(&mut layered, "p");
        thread::sleep(SECOND / 4);
        assert!(is_cooling(&mut layered), "the cooldown has ended by another clock");
        advance(SECOND / 10).await;
        let _next = pending(&mut layered.service, offer("p", "g"));
    });
    until_idle("no layer is left");
}

/// The clock of the runtime advances, while hardly any real time passes.
#[test]
fn advanced_clock_ends_collection() {
    let _alone = alone();
    paused().block_on(async {
        let mut layered = Layered::new(Policy::Refuse, |builder| cooling(builder).cooldown(3600 * SECOND));
        remember(&mut layered, "p");
        advance(3600 * SECOND).await;
        until_idle("the cooldown is over");
    });
}

/// A paused clock is noticed after collection on other clocks.
#[test]
fn clock_is_checked_at_each_registration() {
    let _alone = alone();
    let mut layered = Layered::new(Policy::Refuse, cooling);
    remember(&mut layered, "p");
    until_idle("the window and the cooldown are over");
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { remember(&mut layered, "p") });
    until_idle("the window and the cooldown are over again");
    paused().block_on(async {
        let mut layered = Layered::new(Policy::Refuse, cooling);
        remember(&mut layered, "p");
        thread::sleep(SECOND / 4);
        assert!(is_cooling(&mut layered), "the cooldown has ended by another clock");
    });
    until_idle("no layer is left");
}
