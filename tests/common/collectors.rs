//! The threads that collect for layers. One ends when its layer has neither memories nor locks.

use std::{
    fs,
    time::{Duration, Instant},
};

/// Those of the whole process: other tests of the same file have theirs.
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
            "something is left in a layer"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
