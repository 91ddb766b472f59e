//! A panic in a subscriber or a recorder leaves nothing behind, whatever the layer was doing.

mod faulty;
mod scenarios;
mod scene;
#[path = "../support/mod.rs"]
mod support;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::{Duration, Instant},
};

use faulty::{Fault, Faulty, ObserverPanic};
use scenarios::{SCENARIOS, Scenario};
use scene::Scene;
use support::{
    End, SECOND, child,
    layered::{Layered, Policy},
    offer, pending,
};
use tokio_test::assert_pending;
use tower::Service;

/// Plays each scenario, with a store and without, in a process of its own, because a panic in a `Drop` can abort the process.
#[track_caller]
fn play_all(test: &str, fault: fn(usize) -> Fault) {
    let Some(name) = child::task() else {
        let mut problems = Vec::new();
        for scenario in SCENARIOS {
            let ended = child::run_test(test, scenario.name);
            let mut lines = ended.lines;
            if !ended.status.success() {
                lines.push(format!("{}: {}", scenario.name, ended.status));
            }
            if let [first, others @ ..] = &*lines {
                problems.push(format!("{first} (and {} more)", others.len()));
            }
        }
        assert!(
            problems.is_empty(),
            "{} scenarios fail:\n{}",
            problems.len(),
            problems.join("\n")
        );
        return;
    };
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name).unwrap();
    for has_store in [false, true] {
        play_each(scenario, fault, has_store);
    }
}

/// Plays a scenario once for each of its observations, which then panics.
fn play_each(scenario: &Scenario, fault: fn(usize) -> Fault, has_store: bool) {
    for n in 1.. {
        let (has_panicked, problems) = Scene::play(scenario, fault(n), has_store);
        if !problems.is_empty() {
            let (name, store) = (scenario.name, if has_store { " with a store" } else { "" });
            child::report(&format!("{name}{store}, observation {n}: {}", problems.join("; ")));
        }
        if !has_panicked {
            assert!(n > 1 || matches!(fault(n), Fault::Event(_)), "nothing is observed");
            return;
        }
    }
}

#[test]
fn one_observer_panic_leaves_no_trace() {
    play_all("one_observer_panic_leaves_no_trace", Fault::Only);
}

#[test]
fn repeated_observer_panics_leave_no_trace() {
    play_all("repeated_observer_panics_leave_no_trace", Fault::From);
}

#[test]
fn gauges_are_right_after_subscriber_panics() {
    play_all("gauges_are_right_after_subscriber_panics", Fault::Event);
}

fn with_fault<T>(fault: Fault, act: impl FnOnce(&Faulty) -> T) -> T {
    let observer = Faulty::new(fault);
    let _subscriber = tracing::subscriber::set_default(observer.clone());
    let _recorder = metrics::set_default_local_recorder(&observer);
    act(&observer)
}

#[test]
fn refusal_panics_reach_the_caller() {
    with_fault(Fault::From(1), |observer| {
        let mut layered = Layered::new(Policy::Refuse, |builder| builder);
        let _first = pending(&mut layered.service, offer("p", "f"));
        observer.arm(true);
        for text in ["f", "g"] {
            let service = &mut layered.service;
            let refused = catch_unwind(AssertUnwindSafe(|| drop(service.call(offer("p", text)))));
            assert!(refused.is_err_and(|payload| payload.is::<ObserverPanic>()), "{text}");
        }
        observer.arm(false);
        let stats = layered.stats();
        assert_eq!((stats.refused_in_flight, stats.refused_busy), (1, 1));
    });
}

/// A caller may keep a future that panicked. It holds nothing.
#[test]
fn panicked_completion_frees_the_peer() {
    for end in [|| End::Answer, || End::Broken] {
        for n in 1.. {
            let has_panicked = with_fault(Fault::Only(n), |observer| {
                let mut layered = Layered::new(Policy::Refuse, |builder| builder.cooldown(Duration::ZERO));
                let mut first = pending(&mut layered.service, offer("p", "f"));
                observer.arm(true);
                layered.manual.end(end());
                let _ = catch_unwind(AssertUnwindSafe(|| drop(first.poll())));
                observer.arm(false);
                let mut next = layered.call(offer("p", "g"));
                assert_pending!(next.poll(), "observation {n}");
                assert_eq!(layered.stats().admitted, 2, "observation {n}");
                observer.has_panicked()
            });
            if !has_panicked {
                assert!(n > 1, "nothing is observed");
                break;
            }
        }
    }
}

/// The collector has no caller that a panic could reach.
#[test]
fn collection_outlives_recorder_panics() {
    let observer = Faulty::new(Fault::From(1));
    observer.arm(true);
    // The other tests of this file set recorders for their threads.
    metrics::set_global_recorder(observer).unwrap();
    let layered = thread::spawn(|| {
        let quiet = metrics::NoopRecorder;
        let _recorder = metrics::set_default_local_recorder(&quiet);
        let mut layered = Layered::new(Policy::Refuse, |builder| builder.window(SECOND / 20));
        support::through(&mut layered.service, &layered.manual, offer("p", "f"), End::Answer).unwrap();
        assert_eq!(layered.stats().memories, 1);
        layered
    });
    let layered = layered.join().unwrap();
    let start = Instant::now();
    while layered.stats().memories > 0 {
        assert!(start.elapsed() < 10 * SECOND, "collection has ended");
        thread::sleep(Duration::from_millis(5));
    }
}
