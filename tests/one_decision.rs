//! No offer slips through between the check of the memory and that of the lock.

mod support;

use std::{convert::Infallible, future::ready, time::Duration};

use futures_util::FutureExt;
use support::{SECOND, together};
use tower::{Layer, Service, service_fn};
use tower_offer_dedup::{Fingerprint, Offer, OfferDedupLayer, Refuse};

/// A duplicate finds its offer either in flight or processed.
#[test]
fn duplicate_during_completion_is_refused() {
    const ROUNDS: u64 = 10_000;
    let layer = OfferDedupLayer::builder()
        .offers(|n: &u64| Some(Offer::new("p", Fingerprint::exact(&n.to_le_bytes()))))
        .answer(Refuse::with(|_| false))
        .window(3600 * SECOND)
        .cooldown(Duration::ZERO)
        .build();
    let mut service = layer.layer(service_fn(|_: u64| ready(Ok::<_, Infallible>(true))));
    let mut duplicates = service.clone();

    for n in 0..ROUNDS {
        let first = service.call(n);
        let (answer, passed) = together(
            || first.now_or_never(),
            || {
                (0..8)
                    .filter(|_| duplicates.call(n).now_or_never() == Some(Ok(true)))
                    .count()
            },
        );
        assert_eq!((answer, passed), (Some(Ok(true)), 0), "offer {n}");
    }
    assert_eq!(layer.handle().stats().admitted, ROUNDS);
}
