//! The signals that stop an example.

use tokio::signal;

/// Resolves at Ctrl-C, and on Unix also at SIGTERM, which service managers and containers send.
pub(crate) async fn requested() {
    #[cfg(unix)]
    {
        let terminate = signal::unix::signal(signal::unix::SignalKind::terminate());
        let mut terminate = terminate.expect("the signal handler should install");
        tokio::select! {
            _ = signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    let _ = signal::ctrl_c().await;
}
