//! Counts the instructions per offer with valgrind, whose count does not depend on other load. `run` next to this file
//! compares them with the baseline in the repository.

#![allow(missing_docs, clippy::exit, reason = "in what the macros of gungraun make")]

#[path = "../traffic/mod.rs"]
mod traffic;

use std::{convert::Infallible, future::pending, hint::black_box, pin::Pin, time::Duration};

use gungraun::{library_benchmark, library_benchmark_group, main};
use tokio::runtime;
use tower::{Layer as _, Service, service_fn};
use traffic::{
    Bare, Found, Layer, Reference, Request, layer, queueing_layer, replaying_layer, sample, send, send_both,
};

/// Number of peers known before, and of operations counted.
const PEERS: u32 = 512;

type Requests = Vec<Request>;

/// A layer and a cache that know the same peers, and the requests to send.
struct Known {
    layer: Layer,
    reference: Reference,
    requests: Requests,
}

/// Requests of `PEERS` peers, starting with peer `from`.
fn requests(from: u32, found: Found) -> Requests {
    (from..from + PEERS).map(|peer| Request::new(peer, found)).collect()
}

fn first() -> Found {
    Found::Sdp(sample(3500).sdp)
}

fn known(requests: Requests) -> Known {
    known_to(layer(Duration::ZERO), requests)
}

fn known_to(layer: Layer, requests: Requests) -> Known {
    let known = Known {
        layer,
        reference: Reference::new(),
        requests,
    };
    let mut service = known.layer.layer(Bare);
    for request in self::requests(0, first()) {
        assert!(send(&mut service, request));
        known.reference.look_up_and_insert(&request);
    }
    known
}

fn nothing() -> Known {
    known(requests(0, Found::Nothing))
}

fn duplicates() -> Known {
    known(requests(0, first()))
}

fn new_peers() -> Known {
    known(requests(PEERS, first()))
}

fn new_peers_that_cool() -> Known {
    known_to(layer(Duration::from_secs(2)), requests(PEERS, first()))
}

fn new_offers() -> Known {
    known(requests(0, Found::Sdp(sample(3500).other)))
}

fn ready_made(of: Known) -> Known {
    let ready = |request: &Request| {
        let offer = request.offer().expect("the request should be an offer");
        request.with(Found::Ready(offer.peer(), offer.fingerprint()))
    };
    let requests = of.requests.iter().map(ready).collect();
    Known { requests, ..of }
}

fn ready_duplicates() -> Known {
    ready_made(duplicates())
}

fn ready_new() -> Known {
    ready_made(new_peers())
}

#[library_benchmark]
#[bench::duplicate_processed(setup = duplicates)]
#[bench::new_offer_of_a_new_peer(setup = new_peers)]
#[bench::new_offer_of_a_new_peer_that_cools(setup = new_peers_that_cool)]
#[bench::new_offer_of_a_known_peer(setup = new_offers)]
#[bench::gate_alone_duplicate(setup = ready_duplicates)]
#[bench::gate_alone_new_offer(setup = ready_new)]
fn through_the_layer(known: Known) -> Known {
    let mut service = known.layer.layer(Bare);
    for request in &known.requests {
        black_box(send(&mut service, *request));
    }
    known
}

type Held = Vec<Pin<Box<dyn Future<Output = Result<bool, Infallible>>>>>;

fn in_flight() -> (Known, Held) {
    let known = Known {
        layer: layer(Duration::ZERO),
        ..duplicates()
    };
    let mut service = known
        .layer
        .layer(service_fn(|_: Request| pending::<Result<bool, Infallible>>()));
    let held = known
        .requests
        .iter()
        .map(|request| Box::pin(service.call(*request)) as _);
    let held = held.collect();
    (known, held)
}

#[library_benchmark]
#[bench::duplicate_in_flight(setup = in_flight)]
fn while_it_is_processed((known, held): (Known, Held)) -> (Known, Held) {
    let mut service = known.layer.layer(Bare);
    for request in &known.requests {
        black_box(send(&mut service, *request));
    }
    (known, held)
}

/// Sends all requests of a benchmark.
type Sending = Box<dyn FnMut()>;

fn replays() -> Sending {
    let mut service = replaying_layer().layer(Bare);
    let requests = requests(0, first());
    let mut send_all = move || {
        for request in &requests {
            assert!(black_box(send(&mut service, *request)));
        }
    };
    send_all();
    Box::new(send_all)
}

fn turns() -> Sending {
    let mut service = queueing_layer().layer(service_fn(|_: Request| async { Ok(true) }));
    let others = requests(0, Found::Sdp(sample(3500).other));
    let pairs: Vec<_> = requests(0, first()).into_iter().zip(others).collect();
    // A waiting request needs a timer.
    let runtime = runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("the runtime should start");
    Box::new(move || {
        let _inside = runtime.enter();
        for (first, second) in &pairs {
            send_both(&mut service, [*first, *second]);
        }
    })
}

#[library_benchmark]
#[bench::duplicate_replayed(setup = replays)]
#[bench::two_offers_one_queued(setup = turns)]
fn in_their_own_ways(mut sending: Sending) -> Sending {
    sending();
    sending
}

// Uses a trivial closure, because the closure is the user's code.
#[library_benchmark]
#[bench::through_the_layer(setup = nothing)]
fn not_an_offer(known: Known) -> Known {
    let mut service = known.layer.offers(|_: &Request| None).layer(Bare);
    for request in &known.requests {
        black_box(send(&mut service, *request));
    }
    known
}

#[library_benchmark]
#[bench::bare(setup = nothing)]
fn without_the_layer(known: Known) -> Known {
    let mut service = Bare;
    for request in &known.requests {
        black_box(send(&mut service, *request));
    }
    known
}

#[library_benchmark]
#[bench::known_peer(setup = duplicates)]
#[bench::known_peer_ready(setup = ready_duplicates)]
fn b(known: Known) -> Known {
    for request in &known.requests {
        known.reference.look_up(request);
    }
    known
}

#[library_benchmark]
#[bench::new_peer(setup = new_peers)]
#[bench::known_peer(setup = new_offers)]
#[bench::new_peer_ready(setup = ready_new)]
fn b_and_insert(known: Known) -> Known {
    for request in &known.requests {
        known.reference.look_up_and_insert(request);
    }
    known
}

library_benchmark_group!(
    name = offers,
    benchmarks = [
        not_an_offer,
        without_the_layer,
        through_the_layer,
        while_it_is_processed,
        in_their_own_ways,
        b,
        b_and_insert
    ]
);

main!(library_benchmark_groups = offers);
