//! A lease of zero makes no waiter spin.

mod support;

use std::time::Duration;

use support::{End, ManualService, SECOND, builder, offer, pending, refuse, through};
use tower::{Layer, limit::ConcurrencyLimit};
use tower_offer_dedup::{Replay, WhenBusy};

#[tokio::test(start_paused = true)]
async fn follower_sleeps_while_leader_awaits_capacity() {
    let layer = builder(Replay::with(refuse)).lease(Duration::ZERO).build();
    let mut service = layer.layer(ConcurrencyLimit::new(ManualService::default(), 1));
    let _saturating = pending(&mut service, offer("q", "f"));
    let _late = pending(&mut service, offer("p", "f"));
    let _duplicate = pending(&mut service, offer("p", "f"));
}

#[tokio::test(start_paused = true)]
async fn follower_sleeps_during_cooldown() {
    let manual = ManualService::default();
    let layer = builder(Replay::with(refuse))
        .lease(Duration::ZERO)
        .when_busy(WhenBusy::Queue {
            depth: 1,
            timeout: 10 * SECOND,
        })
        .build();
    let mut service = layer.layer(manual.clone());
    through(&mut service, &manual, offer("p", "f"), End::Answer).unwrap();
    let _queued = pending(&mut service, offer("p", "g"));
    let _duplicate = pending(&mut service, offer("p", "g"));
}
