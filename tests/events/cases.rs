//! One case per outcome: how it comes about, its counters and its events.

use tower_offer_dedup::{OfferDedupBuilder, Reason, WhenBusy};
use tracing::Level;

use super::Scene;
use crate::support::{End, SECOND, layered::Policy, other, settle};

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) policy: Policy,
    pub(crate) settings: fn(OfferDedupBuilder) -> OfferDedupBuilder,
    pub(crate) script: fn(&mut Scene),
    /// Counters that increase by one.
    pub(crate) counters: &'static [&'static str],
    pub(crate) says: &'static [Says],
}

pub(crate) struct Says {
    pub(crate) words: &'static str,
    pub(crate) level: Level,
    pub(crate) offer: Option<&'static str>,
    pub(crate) reason: Option<Reason>,
    pub(crate) age_ms: Option<&'static str>,
}

const fn says(words: &'static str, offer: &'static str) -> Says {
    Says {
        words,
        level: Level::DEBUG,
        offer: Some(offer),
        reason: None,
        age_ms: None,
    }
}

const fn refused(reason: Reason, words: &'static str, offer: &'static str, age_ms: Option<&'static str>) -> Says {
    Says {
        reason: Some(reason),
        age_ms,
        ..says(words, offer)
    }
}

fn defaults(builder: OfferDedupBuilder) -> OfferDedupBuilder {
    builder
}

fn queueing(builder: OfferDedupBuilder) -> OfferDedupBuilder {
    let timeout = 5 * SECOND;
    builder.when_busy(WhenBusy::Queue { depth: 1, timeout })
}

fn leasing(builder: OfferDedupBuilder) -> OfferDedupBuilder {
    builder.lease(3 * SECOND)
}

macro_rules! cases {
    ($($name:literal, $policy:ident, $settings:expr, $script:expr => $counters:expr, $says:expr;)*) => {
        vec![$(Case {
            name: $name,
            policy: Policy::$policy,
            settings: $settings,
            script: $script,
            counters: &$counters,
            says: const { &$says },
        },)*]
    };
}

pub(crate) fn cases() -> Vec<Case> {
    cases! {
        "admitted", Refuse, defaults, |scene| {
            scene.act().wait("f");
        } => ["admitted"], [];
        "passed", Refuse, defaults, |scene| {
            scene.act();
            drop(scene.layered.call(other("alice")));
        } => ["passed"], [];
        "completed", Replay, defaults, |scene| {
            scene.wait("f").act().layered.manual.end(End::Answer);
            scene.poll(0);
        } => ["completed"], [says("offer processed", "f")];
        "failed with a response", Replay, defaults, |scene| {
            scene.wait("f").act().layered.manual.end(End::Failure);
            scene.poll(0);
        } => ["failed"], [says("offer failed", "f")];
        "failed", Refuse, defaults, |scene| {
            scene.wait("f").act().layered.manual.end(End::Broken);
            scene.poll(0);
        } => ["failed"], [says("offer failed", "f")];
        "dropped", Refuse, defaults, |scene| {
            scene.wait("f").act().requests.clear();
        } => ["abandoned"], [says("offer abandoned", "f")];
        "in flight", Refuse, defaults, |scene| {
            scene.wait("f").pass(3).act().send("f");
        } => ["refused_in_flight"],
            [refused(Reason::InFlight, "offer ignored: the same offer is being processed", "f", Some("3000"))];
        "in flight, while queued", Refuse, queueing, |scene| {
            scene.wait("f").wait("g").pass(2).act().send("g");
        } => ["refused_in_flight"], [refused(Reason::InFlight, "offer ignored", "g", Some("2000"))];
        "processed", Refuse, defaults, |scene| {
            scene.through("f", End::Answer).pass(4).act().send("f");
        } => ["refused_processed"],
            [refused(Reason::Processed, "offer ignored: the same offer was processed", "f", Some("4000"))];
        "busy", Refuse, defaults, |scene| {
            scene.wait("f").pass(3).act().send("g");
        } => ["refused_busy"], [refused(Reason::Busy, "another offer of this peer", "g", Some("3000"))];
        "cooling down", Replay, defaults, |scene| {
            scene.through("f", End::Answer).pass(1).act().send("g");
        } => ["refused_cooling_down"], [refused(Reason::CoolingDown, "offer ignored", "g", None)];
        "queue full", Refuse, queueing, |scene| {
            scene.wait("f").wait("g").act().send("h");
        } => ["refused_queue_full"], [refused(Reason::QueueFull, "too many", "h", None)];
        "too many duplicates", Replay, defaults, |scene| {
            for _ in 0..65 {
                scene.wait("f");
            }
            scene.act().send("f");
        } => ["refused_queue_full"], [refused(Reason::QueueFull, "too many", "f", None)];
        "timed out in the queue", Refuse, queueing, |scene| {
            scene.wait("f").wait("g").act().pass(5).poll(1);
        } => ["refused_timed_out"], [refused(Reason::TimedOut, "took too long", "g", Some("5000"))];
        "timed out as a duplicate", Replay, defaults, |scene| {
            scene.wait("f").wait("f").act().pass(10).poll(1);
        } => ["refused_timed_out"], [refused(Reason::TimedOut, "took too long", "f", Some("10000"))];
        "replayed", Replay, defaults, |scene| {
            scene.through("f", End::Answer).pass(4).act().send("f");
        } => ["replayed"], [Says { age_ms: Some("4000"), ..says("answered again", "f") }];
        "replayed to a follower", Replay, defaults, |scene| {
            scene.wait("f").wait("f").pass(2).layered.manual.end(End::Answer);
            scene.poll(0).act().poll(1);
        } => ["replayed"], [Says { age_ms: Some("2000"), ..says("answered again", "f") }];
        "not recorded", Replay, |builder| builder.remember_failures(true), |scene| {
            scene.through("f", End::Broken).pass(4).act().send("f");
        } => ["refused_not_recorded"], [refused(Reason::NotRecorded, "its answer was not kept", "f", Some("4000"))];
        "dropped while following", Replay, defaults, |scene| {
            scene.wait("f").wait("f").act().requests.truncate(1);
        } => ["waits_abandoned"], [says("its client was gone while it waited", "f")];
        "dropped in the queue", Refuse, queueing, |scene| {
            scene.wait("f").wait("g").act().requests.truncate(1);
        } => ["waits_abandoned"], [says("its client was gone while it waited", "g")];
        "taken over", Refuse, leasing, |scene| {
            scene.wait("f").pass(4).act().wait("g");
        } => ["taken_over", "admitted"],
            [Says { level: Level::WARN, age_ms: Some("4000"), ..says("peer taken over", "g") }];
        "aborted", RefuseDetached, leasing, |scene| {
            scene.wait("f").pass(4).wait("g").act();
            scene.runtime.block_on(settle());
            scene.poll(0);
        } => ["abandoned"], [
            says("offer abandoned", "f"),
            Says { level: Level::WARN, ..says("offer aborted", "f") },
        ];
        "forgotten", Refuse, defaults, |scene| {
            scene.through("f", End::Answer).act().layered.handle.forget("alice");
        } => ["forgotten"], [Says { offer: None, ..says("peer forgotten", "") }];
        "unknown peer not forgotten", Refuse, defaults, |scene| {
            scene.act().layered.handle.forget("alice");
        } => [], [];
        "cleared", Refuse, defaults, |scene| {
            scene.through("f", End::Answer).act().layered.handle.clear();
        } => [], [Says { offer: None, ..says("all peers forgotten", "") }];
    }
}
