//! Every path of an offer, each in a few steps.

use std::time::Duration;

use tower_offer_dedup::{OfferDedupBuilder, WhenBusy};

use super::scene::Scene;
use crate::support::{
    End, SECOND,
    layered::Policy::{self, Refuse, RefuseDetached, Replay, ReplayDetached},
};

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) policy: Policy,
    pub(crate) settings: fn(OfferDedupBuilder) -> OfferDedupBuilder,
    pub(crate) script: fn(&mut Scene) -> &mut Scene,
}

const fn scenario(
    name: &'static str,
    policy: Policy,
    settings: fn(OfferDedupBuilder) -> OfferDedupBuilder,
    script: fn(&mut Scene) -> &mut Scene,
) -> Scenario {
    Scenario {
        name,
        policy,
        settings,
        script,
    }
}

/// No lease hides a claim that is left behind.
fn endless(builder: OfferDedupBuilder) -> OfferDedupBuilder {
    builder.cooldown(Duration::ZERO).lease(Duration::MAX)
}

fn cooling(builder: OfferDedupBuilder) -> OfferDedupBuilder {
    endless(builder).cooldown(SECOND)
}

fn queueing(builder: OfferDedupBuilder) -> OfferDedupBuilder {
    let timeout = 10 * SECOND;
    endless(builder).when_busy(WhenBusy::Queue { depth: 2, timeout })
}

fn leasing(builder: OfferDedupBuilder) -> OfferDedupBuilder {
    endless(builder).lease(3 * SECOND)
}

fn leasing_and_queueing(builder: OfferDedupBuilder) -> OfferDedupBuilder {
    queueing(builder).lease(3 * SECOND)
}

fn remembering_failures(builder: OfferDedupBuilder) -> OfferDedupBuilder {
    endless(builder).remember_failures(true)
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("passed", Refuse, endless, Scene::send_other),
    scenario("completed", Refuse, endless, |scene| scene.through("f", End::Answer)),
    scenario("failed by an error", Replay, endless, |scene| {
        scene.through("f", End::Broken)
    }),
    scenario("failed by an answer", Replay, endless, |scene| {
        scene.through("f", End::Failure)
    }),
    scenario("inner call panicked", Refuse, endless, |scene| {
        scene.panic_in_call().send("f")
    }),
    scenario("inner future panicked", Refuse, endless, |scene| {
        scene.through("f", End::Panic)
    }),
    scenario("dropped in flight", Refuse, endless, |scene| {
        scene.send("f").poll(0).drop(0)
    }),
    scenario("refused processed", Refuse, endless, |scene| {
        scene.through("f", End::Answer).send("f").poll(1)
    }),
    scenario("refused in flight", Refuse, endless, |scene| {
        scene.send("f").poll(0).send("f").poll(1).drop(0)
    }),
    scenario("refused busy", Refuse, endless, |scene| {
        scene.send("f").poll(0).send("g").poll(1).end(End::Answer).poll(0)
    }),
    scenario("refused cooling", Refuse, cooling, |scene| {
        scene.through("f", End::Answer).send("g").poll(1)
    }),
    scenario("refused not recorded", Replay, remembering_failures, |scene| {
        scene.through("f", End::Broken).send("f").poll(1)
    }),
    scenario("queue full", Refuse, queueing, |scene| {
        scene.send("f").send("g").send("h").send("i").poll(3)
    }),
    scenario("queued then granted", Refuse, queueing, |scene| {
        let scene = scene.send("f").send("g").poll(1).end(End::Answer).poll(0);
        scene.poll(1).end(End::Answer).poll(1)
    }),
    scenario(
        "queued behind a cooldown",
        Refuse,
        |builder| queueing(builder).cooldown(SECOND),
        |scene| {
            let scene = scene.through("f", End::Answer).send("g").poll(1);
            scene.pass(1).poll(1).end(End::Answer).poll(1)
        },
    ),
    scenario("queued then dropped", Refuse, queueing, |scene| {
        scene.send("f").send("g").send("h").poll(1).poll(2).drop(1).drop(2)
    }),
    scenario("queued then timed out", Refuse, queueing, |scene| {
        scene.send("f").send("g").poll(1).pass(10).poll(1)
    }),
    scenario("replayed", Replay, endless, |scene| {
        scene.through("f", End::Answer).send("f").poll(1)
    }),
    scenario("follower answered", Replay, endless, |scene| {
        scene.send("f").send("f").poll(1).end(End::Answer).poll(0).poll(1)
    }),
    scenario("follower dropped", Replay, endless, |scene| {
        scene.send("f").send("f").poll(1).drop(1)
    }),
    scenario("follower timed out", Replay, endless, |scene| {
        scene.send("f").send("f").poll(1).pass(10).poll(1)
    }),
    scenario("follower leads next", Replay, endless, |scene| {
        scene
            .send("f")
            .send("f")
            .poll(1)
            .drop(0)
            .poll(1)
            .end(End::Answer)
            .poll(1)
    }),
    scenario("taken over", Refuse, leasing, |scene| {
        scene
            .send("f")
            .poll(0)
            .pass(3)
            .send("g")
            .poll(1)
            .end(End::Answer)
            .poll(0)
    }),
    scenario("taken over by the queue", Refuse, leasing_and_queueing, |scene| {
        let scene = scene.send("f").send("g").send("h").poll(1).poll(2);
        scene.pass(3).poll(2).poll(1).end(End::Answer).poll(0)
    }),
    scenario("taken over past the queue", Refuse, leasing_and_queueing, |scene| {
        scene.send("f").poll(0).send("g").pass(3).send("h").poll(1).poll(2)
    }),
    scenario("taken over by a follower", Replay, leasing, |scene| {
        scene
            .send("f")
            .send("f")
            .poll(1)
            .pass(3)
            .poll(1)
            .end(End::Answer)
            .poll(0)
    }),
    scenario("detached and finished", ReplayDetached, endless, |scene| {
        scene
            .send("f")
            .drop(0)
            .settle()
            .end(End::Answer)
            .settle()
            .send("f")
            .poll(1)
    }),
    scenario("detached and answered", RefuseDetached, endless, |scene| {
        scene.send("f").poll(0).settle().end(End::Answer).settle().poll(0)
    }),
    scenario("detached and panicked", RefuseDetached, endless, |scene| {
        scene.send("f").poll(0).settle().end(End::Panic).settle().poll(0)
    }),
    scenario("detached and aborted", RefuseDetached, leasing, |scene| {
        let scene = scene.send("f").poll(0).settle().pass(3).send("g");
        scene.settle().poll(0).poll(1)
    }),
    scenario("detached and forgotten", RefuseDetached, endless, |scene| {
        scene
            .send("f")
            .drop(0)
            .settle()
            .forget()
            .send("f")
            .drop(1)
            .settle()
            .clear()
    }),
    scenario("forgotten", Replay, queueing, |scene| {
        let scene = scene.send("f").send("f").send("g").poll(1).poll(2).forget();
        scene.poll(1).poll(2).end(End::Answer).poll(0)
    }),
    scenario("cleared", Replay, queueing, |scene| {
        let scene = scene.send("f").send("f").send("g").poll(1).poll(2).clear();
        scene.poll(1).poll(2).end(End::Answer).poll(0)
    }),
    scenario("memory forgotten", Refuse, endless, |scene| {
        scene.through("f", End::Answer).forget().send("f").poll(1)
    }),
];
