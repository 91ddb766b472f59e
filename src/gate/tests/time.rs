//! Time is read under the shard's mutex.

use super::*;

#[test]
fn tick_never_maps_to_far_future() {
    let clock = Clock::new();
    assert!(clock.instant(Tick::NEVER) > tokio::time::Instant::now() + 100_000 * SECOND);
    let now = clock.now();
    assert_eq!(clock.instant(now.after(SECOND)), clock.instant(now) + SECOND);
}

/// An entry that a sweep meets while its claim is held is removed when the claim ends.
#[test]
fn sweeps_and_drops_leave_no_entry() {
    let gate = gate_with(Settings {
        cooldown: Duration::from_micros(1),
        lease: Duration::from_micros(1),
        ..settings(WhenBusy::Queue {
            depth: 3,
            timeout: Duration::from_micros(50),
        })
    });
    std::thread::scope(|scope| {
        for thread in 0..3_u8 {
            let gate = &gate;
            scope.spawn(move || {
                for n in 0..20_000_u32 {
                    let offer = Offer::new("p", Fingerprint::exact(&[thread, n as u8, (n >> 8) as u8]));
                    match admit(gate, &offer) {
                        Verdict::Admitted(claim) => claim.complete(Outcome::Success, None, false),
                        Verdict::Wait(waiter) => drop(waiter),
                        _ => {}
                    }
                    if n % 4 == 0 {
                        gate.collect();
                    }
                }
            });
        }
    });
    std::thread::sleep(Duration::from_millis(1));
    gate.collect();
    assert!(is_empty(&gate), "{gate:?}");
}

/// With an older time, a lease of zero would seem to be ahead.
#[test]
fn lease_of_zero_never_refuses_as_busy() {
    let gate = gate_with(Settings {
        cooldown: Duration::ZERO,
        lease: Duration::ZERO,
        ..settings(WhenBusy::Refuse)
    });
    std::thread::scope(|scope| {
        for thread in 0..2_u8 {
            let gate = &gate;
            scope.spawn(move || {
                for n in 0..40_000_u32 {
                    let offer = Offer::new("p", Fingerprint::exact(&[thread, n as u8, (n >> 8) as u8]));
                    drop(claim(admit(gate, &offer)));
                }
            });
        }
    });
    assert_eq!(gate.stats().refused_busy, 0);
}

/// A detached claim that was taken over before its task started ends at its first poll. A forgotten one goes on.
#[tokio::test(start_paused = true)]
async fn claim_lost_before_its_task_starts_is_revoked() {
    let detached = |gate: &Arc<Gate>, text| gate.admit(Arrival::new(&offer("p", text), policy(Duplicates::WAIT), true));
    let poll_revoked = |claim: &Claim| {
        let mut poll = spawn(std::future::poll_fn(|cx| Poll::Ready(claim.poll_revoked(cx))));
        poll.poll()
    };
    let gate = gate_with(Settings {
        lease: Duration::ZERO,
        ..settings(WhenBusy::Refuse)
    });
    let overdue = claim(detached(&gate, "1"));
    let next = claim(detached(&gate, "2"));
    assert_eq!(poll_revoked(&overdue), Poll::Ready(Some(Revoked::Overdue)));
    assert_eq!(poll_revoked(&next), Poll::Ready(None));

    gate.forget("p".into(), Scope::Peer);
    assert_eq!(poll_revoked(&next), Poll::Ready(None));
}
