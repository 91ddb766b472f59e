//! [`Plan`]: what happens in one schedule, all of it drawn from the seed.

use std::time::Duration;

use tower_offer_dedup::{WhenBusy, store::OnStoreError};

use crate::random::Random;

const SECOND: Duration = Duration::from_secs(1);

/// The events of one schedule.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: usize,
    pub(crate) settings: Settings,
    pub(crate) faults: Faults,
    /// By time.
    pub(crate) steps: Vec<(Duration, Step)>,
}

/// The settings of all nodes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) when_busy: WhenBusy,
    pub(crate) replays: bool,
    pub(crate) is_detached: bool,
    pub(crate) on_store_error: OnStoreError,
    pub(crate) window: Duration,
    pub(crate) cooldown: Duration,
    pub(crate) lease: Duration,
    pub(crate) wait_timeout: Duration,
}

/// The faults of the network, in percent of its messages.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// Delayed by a few milliseconds, so that messages overtake each other.
    pub(crate) delayed: u64,
    /// Delayed past the time-out of a call.
    pub(crate) late: u64,
    /// Delayed for up to 15 s, past a lease.
    pub(crate) stuck: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) notices_lost: u64,
    /// Seconds of the store's clock in 100 s of the nodes'.
    pub(crate) clock_rate: u32,
}

impl Faults {
    /// Returns how long `time` of the store's clock takes.
    pub(crate) fn on_node_clock(&self, time: Duration) -> Duration {
        time * 100 / self.clock_rate
    }

    /// Returns whether a call, or several in a row, may exceed the time-out.
    pub(crate) fn may_fail(&self) -> bool {
        self.delayed + self.late + self.stuck + self.lost > 0
    }

    pub(crate) fn on_store_clock(&self, time: Duration) -> Duration {
        time * self.clock_rate / 100
    }
}

/// One event from outside. Nodes are named by their place, which a restarted node takes over.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Send(Offer),
    /// The client of an earlier request goes away.
    Leave {
        back: usize,
    },
    Forget {
        node: usize,
        peer: u8,
    },
    ForgetOffer {
        node: usize,
        peer: u8,
        text: u8,
    },
    EndSession {
        back: usize,
    },
    Clear {
        node: usize,
    },
    Pause {
        node: usize,
        time: Duration,
    },
    Cut {
        node: usize,
        time: Duration,
    },
    /// The node dies, and a new one takes its place.
    Crash {
        node: usize,
    },
    /// The store loses all that it has, but not its last number.
    LoseData,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    pub(crate) node: usize,
    pub(crate) peer: u8,
    pub(crate) text: u8,
    /// The duration of the handler.
    pub(crate) work: Duration,
    pub(crate) end: End,
}

/// The end of an inner call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Success,
    Failure,
    Broken,
}

/// The events that a schedule may contain besides requests.
#[derive(Clone, Copy, Debug, Default)]
struct Events {
    pauses: bool,
    cuts: bool,
    crashes: bool,
    data_loss: bool,
    forgets: bool,
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let settings = settings(&mut random);
        let (faults, events) = troubles(&mut random);
        let nodes = 2 + random.index(2);
        Self {
            nodes,
            settings,
            faults,
            steps: steps(&mut random, nodes, events),
        }
    }
}

fn settings(random: &mut Random) -> Settings {
    let when_busy = match random.below(3) {
        0 => WhenBusy::Refuse,
        1 => WhenBusy::Queue {
            depth: 1 + random.index(3),
            timeout: SECOND * random.pick(&[2, 10]),
        },
        _ => WhenBusy::Supersede,
    };
    Settings {
        when_busy,
        replays: random.percent(60),
        is_detached: random.percent(40),
        on_store_error: random.pick(&[OnStoreError::FailOpen, OnStoreError::FailClosed]),
        window: SECOND * random.pick(&[5, 10, 30]),
        cooldown: SECOND * random.pick(&[0, 0, 2]),
        lease: SECOND * random.pick(&[12, 30]),
        wait_timeout: SECOND * random.pick(&[2, 10]),
    }
}

/// Draws a set of faults. A quarter of all schedules has none.
fn troubles(random: &mut Random) -> (Faults, Events) {
    let mut faults = Faults {
        clock_rate: 100,
        ..Faults::default()
    };
    let forgets = random.percent(40);
    let mut events = Events {
        forgets,
        ..Events::default()
    };
    if random.percent(25) {
        return (faults, events);
    }
    if random.percent(60) {
        faults.delayed = random.pick(&[20, 80]);
    }
    if random.percent(40) {
        faults.lost = random.pick(&[3, 20]);
        faults.late = random.pick(&[0, 5, 20]);
        faults.stuck = random.pick(&[0, 5]);
    }
    if random.percent(30) {
        faults.duplicated = 20;
    }
    if random.percent(30) {
        faults.notices_lost = 20;
    }
    if random.percent(30) {
        faults.clock_rate = random.pick(&[67, 90, 99, 101, 110, 150]);
    }
    events.pauses = random.percent(25);
    events.cuts = random.percent(25);
    events.crashes = random.percent(25);
    events.data_loss = random.percent(15);
    (faults, events)
}

fn steps(random: &mut Random, nodes: usize, events: Events) -> Vec<(Duration, Step)> {
    let mut now = Duration::ZERO;
    let (peers, texts) = (1 + random.below(2), 1 + random.below(3));
    let mut steps = Vec::new();
    for _ in 0..5 + random.below(20) {
        now += match random.below(10) {
            0..4 => Duration::ZERO,
            4..7 => random.millis(150),
            7..9 => random.millis(2500),
            _ => random.millis(15_000),
        };
        let step = step(random, nodes, peers, texts, events);
        // A burst: the offer is repeated at once on any node.
        let burst = if let (Step::Send(_), true) = (step, random.percent(30)) {
            1 + random.below(3)
        } else {
            0
        };
        steps.push((now, step));
        for _ in 0..burst {
            if let Step::Send(offer) = step {
                now += random.millis(20);
                let node = random.index(nodes);
                steps.push((now, Step::Send(Offer { node, ..offer })));
            }
        }
    }
    steps
}

fn step(random: &mut Random, nodes: usize, peers: u64, texts: u64, events: Events) -> Step {
    let (node, back) = (random.index(nodes), random.index(4));
    let (peer, text) = (random.below(peers) as u8, random.below(texts) as u8);
    let time = match random.below(3) {
        0 => random.millis(300),
        1 => random.millis(5000),
        _ => random.millis(25_000),
    };
    match random.below(100) {
        0..3 if events.pauses => Step::Pause { node, time },
        3..6 if events.cuts => Step::Cut { node, time },
        6..9 if events.crashes => Step::Crash { node },
        9..11 if events.data_loss => Step::LoseData,
        11..14 if events.forgets => Step::Forget { node, peer },
        14..18 if events.forgets => Step::ForgetOffer { node, peer, text },
        18..22 if events.forgets => Step::EndSession { back },
        22..24 if events.forgets => Step::Clear { node },
        24..34 => Step::Leave { back },
        _ => Step::Send(Offer {
            node,
            peer,
            text,
            work: match random.below(20) {
                0..5 => Duration::ZERO,
                5..10 => random.millis(100),
                10..17 => random.millis(3000),
                17..19 => random.millis(15_000),
                _ => random.millis(60_000),
            },
            end: match random.below(10) {
                0 => End::Failure,
                1 => End::Broken,
                _ => End::Success,
            },
        }),
    }
}
