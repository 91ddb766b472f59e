//! Nodes of a store, and calls that must succeed.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use tower_offer_dedup::{
    Fingerprint, PeerKey,
    answer::EncodedRecord,
    store::{
        Ask, ClaimToken, Claimed, Completed, Completion, Fence, Notice, Notices, RedisOptions, RedisStore, SharedStore,
    },
};

pub(crate) const SECRET: [u8; 32] = [7; 32];
pub(crate) const LEASE: Duration = Duration::from_secs(30);
/// The longest recovery.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Connects. A slow machine may need more than the default time for a call.
pub(crate) async fn node(options: RedisOptions) -> Arc<RedisStore> {
    let options = options.secret(SECRET).call_timeout(Duration::from_secs(2));
    Arc::new(options.connect().await.expect("the server should be reached"))
}

pub(crate) fn ask(store: &RedisStore, peer: &str, unique: u64) -> Ask {
    Ask {
        peer: PeerKey::from(peer),
        fingerprint: Fingerprint::exact(b"an offer"),
        token: ClaimToken::new(store.node(), unique),
        lease: LEASE,
        wants_record: true,
        supersede: None,
    }
}

pub(crate) fn completion() -> Completion {
    Completion {
        window: LEASE,
        cooldown: Duration::ZERO,
        record: Some(record()),
    }
}

pub(crate) fn record() -> EncodedRecord {
    EncodedRecord::new(1, b"a=ice-pwd:hunter2".to_vec())
}

/// Claims, and returns the number.
pub(crate) async fn admitted(store: &RedisStore, ask: Ask) -> Fence {
    match store.claim(ask).await {
        Ok(Claimed::Admitted { fence, .. }) => fence,
        other => panic!("the offer should be admitted, not {other:?}"),
    }
}

pub(crate) async fn complete(store: &RedisStore, ask: Ask) {
    let completed = store.complete(ask.held(), completion()).await;
    assert_eq!(completed.expect("the call should succeed"), Completed::Done);
}

pub(crate) async fn assert_processed(store: &RedisStore, ask: Ask) {
    match store.claim(ask).await {
        Ok(Claimed::Processed { record: found, .. }) => assert_eq!(found, Some(record())),
        other => panic!("the offer should be processed, not {other:?}"),
    }
}

/// Repeats a claim until the store answers.
pub(crate) async fn claim_when_back(store: &RedisStore, ask: Ask) -> Claimed {
    let start = Instant::now();
    loop {
        match store.claim(ask).await {
            Ok(claimed) => return claimed,
            Err(error) => assert!(start.elapsed() < PATIENCE, "the store does not come back: {error}"),
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Waits for a notice, and skips others.
pub(crate) async fn expect(notices: &mut Notices, expected: Notice) {
    let arrival = timeout(PATIENCE, async {
        while let Some(notice) = notices.next().await {
            if notice == expected {
                return;
            }
        }
        panic!("the notices should go on");
    });
    assert!(arrival.await.is_ok(), "{expected:?} should arrive");
}
