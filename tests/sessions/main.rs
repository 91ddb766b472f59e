//! Sessions: a replay must not outlive the session that it names.

#[path = "../support/collectors.rs"]
mod collectors;
mod end;
mod index;
mod location;
mod server;

/// Lets spawned tasks run until they all wait. Under paused time, that takes no time.
async fn settle() {
    for _ in 0..32 {
        tokio::task::yield_now().await;
    }
}
