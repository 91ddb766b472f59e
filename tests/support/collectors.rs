//! Waits for the collector threads. A collector ends when its layer holds no memories and no locks.

use std::{
    fs,
    time::{Duration, Instant},
};

/// Counts the collectors of the whole process, so those of other tests in the same file are included.
fn are_any() -> bool {
    let threads = fs::read_dir("/proc/self/task").expect("the threads of this process");
    let mut names = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    names.any(|name| name.trim() == "offer-dedup")
}

#[allow(unreachable_pub, reason = "a module of several test files")]
pub async fn end() {
    let start = Instant::now();
    while are_any() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "a collector thread is still running"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
