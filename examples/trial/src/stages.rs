//! The stages: each under one network, with its arms side by side on the same machine.

use std::{collections::VecDeque, sync::Mutex, time::Duration};

use e2e::room_server::RoomServer;
use futures_util::future::join_all;

use crate::{
    args::Settings,
    chance::Chance,
    pair::{Outcome, Pair},
};

/// The delay of an ICE restart after the answer, in milliseconds.
const SOON: std::ops::RangeInclusive<u32> = 0..=500;

/// The faults of the network.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) name: &'static str,
    flags: &'static [&'static str],
}

/// A room server in one configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arm {
    Without,
    /// With the builder's defaults.
    Default,
    /// With the preset `OfferDedupLayer::room()`.
    Room,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Rejoin,
    Restart,
}

/// The outcomes of one arm.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) act: Act,
    pub(crate) network: &'static str,
    pub(crate) arm: Arm,
    pub(crate) outcomes: Vec<Outcome>,
}

const NETWORKS: [Network; 6] = [
    Network {
        name: "no fault",
        flags: &[],
    },
    Network {
        name: "1 repeat, at once",
        flags: &["--repeat", "1", "--repeat-delay-ms", "0"],
    },
    Network {
        name: "3 repeats, at once",
        flags: &["--repeat", "3", "--repeat-delay-ms", "0"],
    },
    Network {
        name: "1 repeat, 50–500 ms later",
        flags: &["--repeat", "1", "--repeat-delay-ms", "50..500"],
    },
    Network {
        name: "3 repeats, 50–500 ms later",
        flags: &["--repeat", "3", "--repeat-delay-ms", "50..500"],
    },
    Network {
        name: "the answer is lost",
        flags: &["--lose-answers", "1"],
    },
];

impl Arm {
    pub(crate) const ALL: [Self; 3] = [Self::Without, Self::Default, Self::Room];

    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Without => &["--no-dedup"],
            Self::Default => &[],
            Self::Room => &["--newest-wins"],
        }
    }
}

pub(crate) async fn run(settings: &Settings, pairs: &[Pair]) -> Vec<Measured> {
    let chance = Chance::new(settings.seed);
    let mut stages: Vec<_> = NETWORKS.iter().map(|network| (Act::Rejoin, network)).collect();
    if settings.short {
        stages.drain(1..4);
    }
    stages.push((Act::Restart, &NETWORKS[0]));
    let mut measured = Vec::new();
    for (act, network) in stages {
        let what = match act {
            Act::Rejoin => "rejoins",
            Act::Restart => "ICE restarts",
        };
        eprintln!("{what}, network: {}", network.name);
        measured.extend(stage(settings, &chance, act, network, pairs).await);
    }
    measured
}

async fn stage(settings: &Settings, chance: &Chance, act: Act, network: &Network, pairs: &[Pair]) -> Vec<Measured> {
    let seed = settings.seed.to_string();
    let servers =
        Arm::ALL.map(|arm| RoomServer::start(&[network.flags, arm.flags(), &["--repeat-seed", &seed]].concat()));
    // The shares of all arms take turns, so that as many pairs work for one arm as for another.
    let shares_each = (pairs.len() / servers.len()).max(1) as u32;
    let shares: VecDeque<_> = (0..shares_each)
        .flat_map(|share| (0..servers.len()).map(move |arm| (arm, share)))
        .collect();
    let shares = Mutex::new(shares);
    let outcomes = Arm::ALL.map(|_| Mutex::new(Vec::new()));

    let work = async |pair: &Pair| {
        loop {
            let next = shares.lock().expect("the lock should not be poisoned").pop_front();
            let Some((arm, share)) = next else { return };
            pair.join(&servers[arm], &format!("room-{share}")).await;
            // Waits until the first join is over, so that it does not count in the first rejoin.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let rejoins = settings.rejoins / shares_each + u32::from(share < settings.rejoins % shares_each);
            for _ in 0..rejoins {
                let outcome = match act {
                    Act::Rejoin => pair.rejoin(settings.within).await,
                    Act::Restart => pair.restart(chance.within(&SOON), settings.within).await,
                };
                outcomes[arm]
                    .lock()
                    .expect("the lock should not be poisoned")
                    .push(outcome);
            }
        }
    };
    join_all(pairs.iter().map(work)).await;

    Arm::ALL
        .into_iter()
        .zip(outcomes)
        .map(|(arm, outcomes)| Measured {
            act,
            network: network.name,
            arm,
            outcomes: outcomes.into_inner().expect("the lock should not be poisoned"),
        })
        .collect()
}
