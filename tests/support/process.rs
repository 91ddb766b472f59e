//! Facts about this process, read from `/proc`.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

/// Counts the threads that collect for layers. They are named `offer-dedup`.
pub fn collectors() -> usize {
    let threads = fs::read_dir("/proc/self/task").expect("the threads of this process");
    // A thread that has just ended has no name.
    let names = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "offer-dedup").count()
}

pub fn open_files() -> usize {
    fs::read_dir("/proc/self/fd")
        .expect("the files of this process")
        .count()
}

/// Waits in real time. It blocks the thread, so that a paused clock stands still.
#[track_caller]
pub fn wait_until(what: &str, time: Duration, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < time, "not within {time:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
