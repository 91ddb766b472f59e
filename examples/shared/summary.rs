//! A server's log about its layer: duplicates once a minute, and everything at the end.

use std::time::Duration;

use tokio::time::{Instant, interval_at};
use tower_offer_dedup::{OfferDedupHandle, Stats};
use tracing::info;

const MINUTE: Duration = Duration::from_secs(60);

/// Logs how many duplicates have come in, once a minute while there are any.
pub(crate) async fn log_duplicates(name: &str, layer: OfferDedupHandle) {
    let mut minute = interval_at(Instant::now() + MINUTE, MINUTE);
    let mut before = layer.stats();
    loop {
        minute.tick().await;
        let stats = layer.stats();
        if let Some(line) = duplicates(&before, &stats) {
            info!(layer = name, "{line} in the last minute");
        }
        before = stats;
    }
}

/// Logs what the layer has done since it was built.
pub(crate) fn log_total(name: &str, stats: &Stats) {
    let counted = stats.counters().filter(|(_, count)| *count > 0);
    let counted: Vec<_> = counted.map(|(name, count)| format!("{name} {count}")).collect();
    let summary = if counted.is_empty() {
        "no requests".to_owned()
    } else {
        counted.join(", ")
    };
    info!(layer = name, "stopped: {summary}");
}

fn duplicates(before: &Stats, after: &Stats) -> Option<String> {
    let new = after.duplicates() - before.duplicates();
    let offers = after.offers() - before.offers();
    (new > 0).then(|| format!("{new} duplicates among {offers} offers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_duplicates_are_reported() {
        let mut before = Stats::default();
        before.replayed = 7;
        before.admitted = 2;
        let mut after = before.clone();
        after.admitted = 5;
        assert_eq!(duplicates(&before, &after), None);
        after.replayed = 9;
        after.refused_in_flight = 1;
        let line = duplicates(&before, &after);
        assert_eq!(line.as_deref(), Some("3 duplicates among 6 offers"));
    }
}
