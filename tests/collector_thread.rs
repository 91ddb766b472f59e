//! One thread collects for all layers of the process. It keeps no runtime alive, and ends when nothing is left.

mod common;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use common::{
    End, Reply, SECOND, at_once, offer, pending, process,
    station::{Policy, Station},
    through,
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
fn remember(station: &mut Station, peer: &'static str) {
    through(&mut station.service, &station.desk, offer(peer, "f"), End::Answer).unwrap();
}

#[test]
fn many_layers_share_one_thread() {
    let _alone = alone();
    let stations: Vec<_> = (0..200)
        .map(|_| {
            let mut station = Station::new(Policy::Refuse, lasting);
            remember(&mut station, "p");
            station
        })
        .collect();
    assert_one_collects();
    drop(stations);
    until_idle("no layer is left");
}

#[test]
fn layers_on_many_threads_share_one_thread() {
    let _alone = alone();
    let stations: Vec<_> = thread::scope(|threads| {
        let made: Vec<_> = (0..8)
            .map(|_| {
                threads.spawn(|| {
                    let mut station = Station::new(Policy::Refuse, lasting);
                    remember(&mut station, "p");
                    station
                })
            })
            .collect();
        made.into_iter().map(|station| station.join().unwrap()).collect()
    });
    assert_one_collects();
    drop(stations);
    until_idle("no layer is left");
}

#[test]
fn thread_ends_when_nothing_is_left() {
    let _alone = alone();
    let mut stations = [(); 3].map(|()| {
        Station::new(Policy::Refuse, |builder| {
            builder.window(SECOND / 20).cooldown(SECOND / 10)
        })
    });
    for _ in 0..3 {
        stations.iter_mut().for_each(|station| remember(station, "p"));
        let are_empty = || stations.iter().all(|station| station.stats().memories == 0);
        process::wait_until("all windows are over", 10 * SECOND, are_empty);
        until_idle("all cooldowns are over");
    }
}

/// The thread serves a layer that lasts, while others come and go.
#[test]
fn short_layers_leave_the_thread_running() {
    let _alone = alone();
    let mut lasting = Station::new(Policy::Refuse, lasting);
    remember(&mut lasting, "p");
    for _ in 0..50 {
        let mut short = Station::new(Policy::Refuse, |builder| builder.window(SECOND / 100));
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
    let stations: Vec<_> = (0..50)
        .map(|_| {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let mut station = Station::new(Policy::Refuse, lasting);
            runtime.block_on(async { remember(&mut station, "p") });
            station
        })
        .collect();
    let few = before + 8;
    let what = "the files of the runtimes are closed";
    process::wait_until(what, 3 * SECOND, || process::open_files() <= few);
    drop(stations);
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

fn is_cooling(station: &mut Station) -> bool {
    let refused = at_once(&mut station.service, offer("p", "g"));
    matches!(refused, Ok(Reply::Refused(Reason::CoolingDown, _)))
}

/// Real time passes, while the clock of the runtime stands still.
#[test]
fn paused_clock_is_honoured() {
    let _alone = alone();
    paused().block_on(async {
        let mut station = Station::new(Policy::Refuse, cooling);
        remember(&mut station, "p");
        thread::sleep(SECOND / 4);
        assert!(is_cooling(&mut station), "the cooldown has ended by another clock");
        advance(SECOND / 10).await;
        let _next = pending(&mut station.service, offer("p", "g"));
    });
    until_idle("no layer is left");
}

/// The clock of the runtime advances, while hardly any real time passes.
#[test]
fn advanced_clock_ends_collection() {
    let _alone = alone();
    paused().block_on(async {
        let mut station = Station::new(Policy::Refuse, |builder| cooling(builder).cooldown(3600 * SECOND));
        remember(&mut station, "p");
        advance(3600 * SECOND).await;
        until_idle("the cooldown is over");
    });
}

/// A paused clock is noticed after collection on other clocks.
#[test]
fn clock_is_checked_at_each_registration() {
    let _alone = alone();
    let mut station = Station::new(Policy::Refuse, cooling);
    remember(&mut station, "p");
    until_idle("the window and the cooldown are over");
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { remember(&mut station, "p") });
    until_idle("the window and the cooldown are over again");
    paused().block_on(async {
        let mut station = Station::new(Policy::Refuse, cooling);
        remember(&mut station, "p");
        thread::sleep(SECOND / 4);
        assert!(is_cooling(&mut station), "the cooldown has ended by another clock");
    });
    until_idle("no layer is left");
}
