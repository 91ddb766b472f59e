//! The rows: each path of an offer through the layer, and its reference.

use std::{convert::Infallible, future::pending, time::Duration};

use tower::{Layer as _, Service, service_fn};
use tower_offer_dedup::{Fingerprint, PeerKey};

use crate::{
    measure::{Measured, Pair, Turn},
    traffic::{
        Bare, Found, Layer, Reference, Request, Sample, layer, queueing_layer, replaying_layer, send, send_both,
    },
};

/// The largest number of operations in a turn.
const BATCH: u32 = 1000;
const MOST_THREADS: u32 = 2;

/// The number of live peers, and how to measure them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) peers: u32,
    pub(crate) threads: u32,
    pub(crate) rounds: u32,
}

/// A layer and a cache that know the same peers.
pub(crate) struct Field {
    scale: Scale,
    sample: Sample,
    fingerprint: Fingerprint,
    /// Keys of the known peers, then of the new ones, in the order of use.
    keys: Vec<PeerKey>,
    layer: Layer,
    reference: Reference,
}

impl Field {
    pub(crate) fn new(scale: Scale, sample: Sample, cooldown: Duration) -> Self {
        let peers = scale.peers + scale.rounds * BATCH * MOST_THREADS;
        let field = Self {
            scale,
            sample,
            fingerprint: Fingerprint::sdp(sample.sdp),
            keys: (0..peers)
                .map(|peer| Request::new(peer, Found::Nothing).peer())
                .collect(),
            layer: layer(cooldown),
            reference: Reference::new(),
        };
        let mut service = field.layer.layer(Bare);
        // Fills in another order than the turns use later.
        for peer in (0..scale.peers)
            .rev()
            .step_by(2)
            .chain((0..scale.peers).rev().skip(1).step_by(2))
        {
            let request = field.ready(peer);
            assert!(send(&mut service, request));
            field.reference.look_up_and_insert(&request);
        }
        field
    }

    pub(crate) fn with_threads(self, threads: u32) -> Self {
        let scale = Scale { threads, ..self.scale };
        Self { scale, ..self }
    }

    pub(crate) fn pass(&self) -> Measured {
        let request = |turn, n| Request::new(self.known(turn, n), Found::Nothing);
        self.pair(
            &|turn| self.send_to(self.layer.layer(Bare), true, |n| request(turn, n)),
            &|turn| self.send_to(Bare, true, |n| request(turn, n)),
            &|_| (),
        )
    }

    pub(crate) fn processed(&self, is_ready: bool) -> Measured {
        let request = |turn, n| self.request(self.known(turn, n), is_ready);
        self.pair(
            &|turn| self.send_to(self.layer.layer(Bare), false, |n| request(turn, n)),
            &|turn| self.each(|n| self.reference.look_up(&request(turn, n))),
            &|_| (),
        )
    }

    pub(crate) fn in_flight(&self) -> Measured {
        let layer = layer(Duration::ZERO);
        let service = layer.layer(service_fn(|_: Request| pending::<Result<bool, Infallible>>()));
        let held = (0..self.scale.peers).map(|peer| service.clone().call(self.ready(peer)));
        let held: Vec<_> = held.collect();
        let request = |turn, n| Request::new(self.known(turn, n), Found::Sdp(self.sample.sdp));
        let measured = self.pair(
            &|turn| self.send_to(service.clone(), false, |n| request(turn, n)),
            &|turn| self.each(|n| self.reference.look_up(&request(turn, n))),
            &|_| (),
        );
        drop(held);
        measured
    }

    /// Offers of peers that the layer does not know.
    pub(crate) fn new_peer(&self, is_ready: bool) -> Measured {
        let peer = |turn: Turn, n| self.scale.peers + (turn.round * self.scale.threads + turn.thread) * BATCH + n;
        let request = |turn, n| self.request(peer(turn, n), is_ready);
        self.pair(
            &|turn| self.send_to(self.layer.layer(Bare), true, |n| request(turn, n)),
            &|turn| self.each(|n| self.reference.look_up_and_insert(&request(turn, n))),
            &|turn| {
                self.each(|n| {
                    let peer = request(turn, n).peer();
                    self.layer.handle().forget(peer);
                    self.reference.forget(peer);
                });
                self.quiet(turn);
            },
        )
    }

    /// Other offers of peers that the layer knows.
    pub(crate) fn known_peer(&self) -> Measured {
        let request = |turn, n| Request::new(self.known(turn, n), Found::Sdp(self.sample.other));
        self.pair(
            &|turn| self.send_to(self.layer.layer(Bare), true, |n| request(turn, n)),
            &|turn| self.each(|n| self.reference.look_up_and_insert(&request(turn, n))),
            &|turn| {
                let mut service = self.layer.layer(Bare);
                self.each(|n| {
                    self.layer.handle().forget(request(turn, n).peer());
                    send(&mut service, self.ready(self.known(turn, n)));
                });
                self.quiet(turn);
            },
        )
    }

    /// Duplicates of a processed offer, which get its answer.
    pub(crate) fn replayed(&self) -> Measured {
        let mut service = replaying_layer().layer(Bare);
        for peer in 0..self.scale.peers {
            send(&mut service, self.ready(peer));
        }
        let request = |turn, n| Request::new(self.known(turn, n), Found::Sdp(self.sample.sdp));
        self.pair(
            &|turn| self.send_to(service.clone(), true, |n| request(turn, n)),
            &|turn| self.each(|n| self.reference.look_up(&request(turn, n))),
            &|_| (),
        )
    }

    /// Two offers of a peer, the second of which waits for the first, from the calls to the answers.
    pub(crate) fn queued(&self) -> Measured {
        let layer = queueing_layer();
        let request = |turn, n, sdp| Request::new(self.known(turn, n), Found::Sdp(sdp));
        let wait = |turn: Turn| {
            // Must not finish during its call, or nobody would wait.
            let mut service = layer.layer(service_fn(|_: Request| async { Ok(true) }));
            self.each(|n| {
                let both = [self.sample.sdp, self.sample.other];
                send_both(&mut service, both.map(|sdp| request(turn, n, sdp)));
            })
        };
        let look_up = |turn: Turn| {
            self.each(|n| {
                for sdp in [self.sample.sdp, self.sample.other] {
                    self.reference.look_up(&request(turn, n, sdp));
                }
            })
        };
        self.pair(&wait, &look_up, &|_| ())
    }

    fn pair(
        &self,
        layer: &(dyn Fn(Turn) -> u32 + Sync),
        reference: &(dyn Fn(Turn) -> u32 + Sync),
        tidy: &dyn Fn(Turn),
    ) -> Measured {
        let pair = Pair { layer, reference, tidy };
        pair.measure(self.scale.rounds, self.scale.threads)
    }

    fn request(&self, peer: u32, is_ready: bool) -> Request {
        if is_ready {
            self.ready(peer)
        } else {
            Request::new(peer, Found::Sdp(self.sample.sdp))
        }
    }

    /// A request with ready-made digest and fingerprint.
    fn ready(&self, peer: u32) -> Request {
        let found = Found::Ready(self.keys[peer as usize], self.fingerprint);
        Request::new(peer, found)
    }

    fn send_to<S>(&self, mut service: S, is_processed: bool, request: impl Fn(u32) -> Request) -> u32
    where
        S: Service<Request, Response = bool, Error = Infallible>,
    {
        self.each(|n| assert_eq!(send(&mut service, request(n)), is_processed))
    }

    /// A peer that the layer knows. No two in a round are the same.
    fn known(&self, turn: Turn, n: u32) -> u32 {
        ((turn.round * self.scale.threads + turn.thread) * self.batch() + n) % self.scale.peers
    }

    fn batch(&self) -> u32 {
        BATCH.min(self.scale.peers / self.scale.threads)
    }

    fn each(&self, act: impl FnMut(u32)) -> u32 {
        (0..self.batch()).for_each(act);
        self.batch()
    }

    /// Makes moka do its deferred maintenance.
    fn quiet(&self, turn: Turn) {
        let mut service = self.layer.layer(Bare);
        for n in 0..512 {
            let request = self.ready(self.known(turn, n));
            send(&mut service, request);
            self.reference.look_up(&request);
        }
    }
}
