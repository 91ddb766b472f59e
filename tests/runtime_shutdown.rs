//! A runtime that shuts down aborts detached processing. The response and the event report that.

mod support;

use std::{sync::mpsc, thread};

use support::{
    End, Reply, SECOND, at_once,
    captured_events::CapturedEvents,
    is_answer,
    layered::{Layered, Pending, Policy},
    offer, pending, settle,
};
use tokio::runtime::{Builder, Runtime};
use tokio_test::{assert_pending, assert_ready};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

/// Sends an offer on a runtime, and shuts the runtime down.
fn shut_down(policy: Policy, is_polled: bool) -> (Layered, Pending) {
    let mut layered = Layered::new(policy, |builder| builder);
    let runtime = runtime();
    let entered = runtime.enter();
    let mut call = layered.call(offer("p", "f"));
    drop(entered);
    if is_polled {
        assert_pending!(call.poll());
    }
    runtime.block_on(settle());
    drop(runtime);
    (layered, call)
}

fn assert_aborted(reply: &Reply) {
    let Reply::Refused(reason, retry_after) = reply else {
        panic!("not refused: {reply:?}")
    };
    assert_eq!((reason.as_str(), *retry_after), ("aborted", Some(SECOND)));
}

#[test]
fn sender_learns_of_the_abort() {
    for policy in Policy::DETACHED {
        for is_polled in [false, true] {
            let (layered, mut call) = shut_down(policy, is_polled);
            assert_eq!(is_polled, call.is_woken());
            assert_aborted(&assert_ready!(call.poll()).unwrap());
            drop(call);
            layered.assert_idle();
            let stats = layered.stats();
            assert_eq!((stats.abandoned, stats.taken_over), (1, 0));
        }
    }
}

#[test]
fn event_names_the_runtime() {
    for policy in Policy::DETACHED {
        let (captured, _guard) = CapturedEvents::capture();
        let (_layered, mut call) = shut_down(policy, true);
        let _ = assert_ready!(call.poll());
        let messages: Vec<_> = captured.take().into_iter().map(|entry| entry.message).collect();
        let told = messages.join("\n");
        assert!(told.contains("runtime"), "{told}");
        for untrue in ["lease", "took over", "taken over"] {
            assert!(!told.contains(untrue), "{told}");
        }
    }
}

/// Another runtime may await the response.
#[test]
fn response_on_another_runtime_ends() {
    let mut layered = Layered::new(Policy::RefuseDetached, |builder| builder);
    let dying = runtime();
    let entered = dying.enter();
    let call = layered.call(offer("p", "f"));
    drop(entered);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(runtime().block_on(call)));
    assert!(receiver.recv_timeout(SECOND / 20).is_err());
    drop(dying);
    let reply = receiver.recv_timeout(10 * SECOND).expect("the response ends");
    assert_aborted(&reply.unwrap());
}

#[test]
fn follower_elsewhere_processes_the_offer() {
    let mut layered = Layered::new(Policy::ReplayDetached, |builder| builder);
    let (dying, living) = (runtime(), runtime());
    let entered = dying.enter();
    let call = layered.call(offer("p", "f"));
    drop(entered);
    let _entered = living.enter();
    let mut follower = pending(&mut layered.service, offer("p", "f"));
    drop(dying);
    assert!(follower.is_woken());
    assert_pending!(follower.poll());
    living.block_on(settle());
    assert_eq!(layered.manual.calls(), 2);
    assert!(layered.manual.end_nth(1, End::Answer));
    assert!(is_answer(&living.block_on(follower).unwrap()));
    drop(call);
    let replayed = at_once(&mut layered.service, offer("p", "f"));
    assert_eq!(replayed, Ok(Reply::Answer(1)));
}
