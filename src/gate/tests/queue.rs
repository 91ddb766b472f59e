//! When a queued offer gets its turn.

use tokio::time::Instant;

use super::*;
use crate::fence::Fence;

const QUEUE: WhenBusy = WhenBusy::Queue {
    depth: 8,
    timeout: Duration::from_secs(10),
};

/// The end of a queued offer: admitted or refused, and the milliseconds from its arrival.
type Ended = (Option<Reason>, u128);

/// Queues an offer behind another one, does `before`, and then polls the queued one until it ends.
async fn queued(lease: Duration, before: impl AsyncFnOnce(&Arc<Gate>, &mut Option<Claim>)) -> Ended {
    let gate = gate_with(Settings {
        lease,
        ..settings(QUEUE)
    });
    let arrived = Instant::now();
    let mut holder = Some(claim(admit(&gate, &offer("p", "1"))));
    let queued = waiter(admit(&gate, &offer("p", "2")));
    before(&gate, &mut holder).await;
    let reason = match queued.await {
        Verdict::Admitted(_) => None,
        Verdict::Refused { refusal, .. } => Some(refusal.reason()),
        other => panic!("neither admitted nor refused: {other:?}"),
    };
    (reason, arrived.elapsed().as_millis())
}

#[tokio::test(start_paused = true)]
async fn turn_before_first_poll_is_kept() {
    let dropped = queued(60 * SECOND, async |_, holder| drop(holder.take())).await;
    assert_eq!(dropped, (None, 0));
    let completed = queued(60 * SECOND, async |_, holder| {
        let holder = holder.take().expect("the lock is held");
        holder.complete(Outcome::Success, None, false);
    });
    assert_eq!(completed.await, (None, 1_000), "after the cooldown");
    let forgotten = queued(60 * SECOND, async |gate, _| {
        assert!(gate.forget("p".into(), Scope::Peer));
    });
    assert_eq!(forgotten.await, (None, 0));
    let cleared = queued(60 * SECOND, async |gate, _| gate.clear()).await;
    assert_eq!(cleared, (None, 0));
    // A timer that is due already fires with the next millisecond.
    let (reason, millis) = queued(3 * SECOND, async |_, _| advance(4 * SECOND).await).await;
    assert!(
        reason.is_none() && (4_000..=4_001).contains(&millis),
        "{reason:?} {millis}"
    );
    let (reason, millis) = queued(60 * SECOND, async |_, _| advance(11 * SECOND).await).await;
    assert!(
        reason == Some(Reason::TimedOut) && (11_000..=11_001).contains(&millis),
        "{reason:?} {millis}"
    );
}

#[tokio::test(start_paused = true)]
async fn turn_comes_when_the_lease_ends() {
    assert_eq!(queued(3 * SECOND, async |_, _| ()).await, (None, 3_000));
    let never = queued(60 * SECOND, async |_, _| ()).await;
    assert_eq!(never, (Some(Reason::TimedOut), 10_000));
}

/// An end of all sessions on another node ends the cooldown here.
#[tokio::test(start_paused = true)]
async fn forgotten_cooldown_wakes_the_queue() {
    for fingerprint in [None, Some(Fingerprint::exact(b"1"))] {
        let gate = gate(QUEUE);
        claim(admit(&gate, &offer("p", "1"))).complete(Outcome::Success, None, false);
        let mut queued = spawn(waiter(admit(&gate, &offer("p", "2"))));
        assert!(queued.poll().is_pending(), "the peer cools down");
        let fence = Fence::new(7);
        gate.forget("p".into(), Scope::Older { fingerprint, fence });
        assert_eq!(queued.is_woken(), fingerprint.is_none());
        let is_admitted = matches!(queued.poll(), Poll::Ready(Verdict::Admitted(_)));
        assert_eq!(is_admitted, fingerprint.is_none());
    }
}
